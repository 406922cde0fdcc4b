"""Disks in memory, which a test can fill up or make read-only; only root may mount them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOMY = "size=256m"


def can_mount() -> bool:
    """Whether this process may mount a disk in memory."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with mounted(Path(folder)):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", *arguments], check=True, capture_output=True)


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A disk in memory at a folder."""
    folder.mkdir(exist_ok=True)
    mount(ROOMY, "tmpfs", folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def bytes_in(folder: Path) -> int:
    """What the files below a folder take, in whole pages, with a page for each name."""
    pages = (-(-path.lstat().st_size // 4096) + 1 for path in folder.rglob("*"))
    return 4096 * sum(pages)
