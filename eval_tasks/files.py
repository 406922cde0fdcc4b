"""Files that are whole or not there: written beside their place, then renamed into it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eval_tasks.errors import UserError


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A path in the same folder that takes ``path``'s place when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left of ``beside`` anywhere under ``folder``."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def free_bytes(folder: Path) -> int:
    """Free space on the file system that holds ``folder``, which need not exist yet."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_space(folder: Path, needed_bytes: float, purpose: str) -> None:
    """
    Raises:
        UserError: fewer than ``needed_bytes`` are free where ``folder`` is.
    """
    free = free_bytes(folder)
    if free < needed_bytes:
        raise UserError(
            f"{purpose} needs about {needed_bytes / 1e9:.2f} GB under {folder}, {free / 1e9:.2f} GB are "
            "free: make room or choose another folder"
        )
