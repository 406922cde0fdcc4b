"""Names from files as text: in Markdown, CSV and figures, as ``html.escape`` does it for HTML."""

from __future__ import annotations

import re

MARKDOWN = re.compile(r"([\\`*\[\]<>|])")
FORMULA = ("=", "+", "-", "@")  # what a spreadsheet would compute when it opens a CSV file


def one_line(text: str) -> str:
    """Control characters and bytes that are not UTF-8 are replaced; all else stays."""
    sound = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in sound)


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, in a table's cell, too."""
    return MARKDOWN.sub(r"\\\1", one_line(text))


def csv_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    text = one_line(text)
    return f"'{text}" if text.startswith(FORMULA) else text


def figure(text: str) -> str:
    """Text that matplotlib draws as it is: no formula between dollars, no name left out of a legend."""
    text = one_line(text).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
