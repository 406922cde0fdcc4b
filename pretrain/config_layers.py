"""Layers of settings: shipped configurations, YAML files and ``--set``, one over the other."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from pretrain.settings import BUDGETS, Settings


def shipped_configs() -> dict[str, str]:
    """Names of the configurations that come with the package, and the folder of each.

    Folders: ``base`` (whole recipes), ``paper`` (rows of the paper's tables), ``recipes`` (beyond the
    paper) and ``corpus`` (weights of sources).
    """
    folders = sorted((resources.files("pretrain") / "configs").iterdir(), key=lambda folder: folder.name)
    return {
        name.removesuffix(".yaml"): folder.name
        for folder in folders
        if folder.is_dir()
        for name in sorted(entry.name for entry in folder.iterdir())
        if name.endswith(".yaml")
    }


def read_config(name: str | Path) -> dict[str, Any]:
    """One layer: a shipped configuration by name, or a YAML file by path.

    Raises:
        ValueError: neither exists, or the file is no YAML or holds no mapping.
    """
    shipped = shipped_configs()
    if str(name) in shipped:
        file = resources.files("pretrain") / "configs" / shipped[str(name)] / f"{name}.yaml"
        text = file.read_text(encoding="utf-8")
    elif Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    else:
        raise ValueError(f"config {str(name)!r}: expected one of {', '.join(shipped)}, or a YAML file")
    values = parse_yaml(text, f"config {str(name)!r}")
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"config {str(name)!r}: expected lines of 'key: value'")
    return values


def parse_yaml(text: str, origin: str) -> Any:
    """A YAML document.

    Args:
        text: the document.
        origin: where the text comes from, for the error.

    Raises:
        ValueError: the text is no YAML.
    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{origin}: not valid YAML ({' '.join(str(error).split())})") from error


def parse_assignment(text: str) -> dict[str, Any]:
    """``key=value`` of ``--set``; the value is YAML.

    Raises:
        ValueError: there is no ``=``, or the value is no YAML.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set {text!r}: expected key=value")
    return {name.strip(): parse_yaml(value, f"--set {text!r}")}


def layered(layers: Iterable[dict[str, Any]]) -> Settings:
    """Later layers override earlier ones; a budget of any kind replaces the budget before it."""
    values: dict[str, Any] = {}
    for layer in layers:
        if any(layer.get(name) is not None for name in BUDGETS):
            for name in BUDGETS:
                values.pop(name, None)
        values.update(layer)
    return Settings.from_dict(values)
