"""Files that are whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import glob
import os
import re
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART = re.compile(r"\..+\.([0-9a-f]{8})-([0-9]+)\.part")


def _machine() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


@contextmanager
def replacing(path: Path, tidy: bool = True) -> Iterator[Path]:
    """A temporary path in the folder of ``path``, which takes its place at the end of the ``with`` block.

    The folder is made if it is missing. After an error in the block, ``path`` is as it was before. Each
    process has a temporary name of its own, so that several may write the same file at the same time.

    Args:
        path: of the whole file.
        tidy: delete what killed processes left of this file. The folder is read for it, which is too much
            where one file of thousands is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for part in path.parent.glob(f".{glob.escape(path.name)}.*-*.part") if tidy else ():
        _remove_if_left(part)
    temporary = path.with_name(f".{path.name}.{_machine()}-{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes of this machine left of ``replacing`` anywhere under a folder."""
    for part in folder.rglob(".*.part"):
        _remove_if_left(part)


def _remove_if_left(part: Path) -> None:
    match = PART.fullmatch(part.name)
    if match and match[1] == _machine() and not _is_running(int(match[2])):
        with suppress(OSError):
            part.unlink()


def _is_running(process: int) -> bool:
    if os.name != "posix":  # there, the signal 0 is no question
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return not _is_zombie(process)


def _is_zombie(process: int) -> bool:
    """Whether a process has ended and its parent has not asked for its status; known on Linux only."""
    try:
        return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except (OSError, IndexError):
        return False
