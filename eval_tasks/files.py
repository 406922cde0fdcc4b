"""Files and folders that are whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eval_tasks.errors import UserError

LONGEST_NAME_BYTES = 240  # of the 255 that file systems take, the rest is for the temporary name


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of ``path``, which takes its place after a block without errors."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder, which takes the place of ``path`` if the block ends without an error.

    What killed processes left of earlier ones is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in leftovers(path):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def leftovers(path: Path) -> list[Path]:
    """What killed processes left of ``path`` under temporary names."""
    found = []
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        process = leftover.name.split(".")[-2]
        if process.isdecimal() and not is_running(int(process)):
            found.append(leftover)
    return found


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # someone else's
        return True
    return not _is_zombie(process)


def _is_zombie(process: int) -> bool:
    """Whether a process has ended and its parent has not asked for its status; known on Linux only."""
    try:
        return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except (OSError, IndexError):
        return False


def unsafe_name(name: str) -> str:
    """Why a name from a file cannot be that of a file in a folder; '' if it can.

    ``..``, absolute paths and separators would lead out of the folder.
    """
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        return f"{name!r}: expected a file name without a folder"
    if not name.isprintable():
        return f"{name!r}: expected a file name without control characters"
    if len(os.fsencode(name)) > LONGEST_NAME_BYTES:
        return (
            f"{name[:40]!r}...: the name has {len(os.fsencode(name))} bytes, at most {LONGEST_NAME_BYTES} fit"
        )
    return ""


def refuse_links_outside(folder: Path, paths: Iterable[Path]) -> None:
    """Paths in ``folder`` are about to be written to, and ``folder`` may come from someone else.

    Raises:
        UserError: one of them is a link that leads out of ``folder``.
    """
    for path in paths:
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(
                f"{path} is a link to {path.resolve()}, outside {folder}: nothing was written; delete the "
                "link, or put the files themselves in its place"
            )


def refuse_pipe(path: Path) -> None:
    """
    Raises:
        UserError: a pipe or a device, from which reading could wait for ever.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{path} is a pipe or a device: expected a file; write its content into one")


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left of ``replacing`` anywhere under ``folder``."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole file, and remove what killed processes left of earlier ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in leftovers(path):
        leftover.unlink(missing_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        UserError: no such file, a pipe, not JSON, or JSON of another kind.
    """
    refuse_pipe(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: make or download what it belongs to again") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested too deep
        raise UserError(f"{path} is not JSON ({error}): make or download it again") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a JSON {type(value).__name__}: expected an object")
    return value


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
