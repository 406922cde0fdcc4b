"""Markdown tables of measured rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def rate(row: dict[str, Any], name: str) -> str:
    """The median of a row with its lowest and highest."""
    return f"{row[name]:.3g} ({row['lowest']:.3g} to {row['highest']:.3g})"


def ratios(pairs: Iterable[tuple[dict[str, Any] | None, dict[str, Any] | None]], name: str) -> str:
    """Range of the ratios of rows to their references; empty where none has both."""
    found = [row[name] / reference[name] for row, reference in pairs if row and reference]
    return f"{min(found):.2g} to {max(found):.2g}" if found else ""


def table(header: list[str], body: list[list[Any]]) -> list[str]:
    """Lines of a Markdown table."""
    return [
        "| " + " | ".join(header) + " |",
        "|" + " --- |" * len(header),
        *("| " + " | ".join(map(str, row)) + " |" for row in body),
    ]
