"""One lock for every command that writes: no two processes work on one folder at the same time."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".lock"
LOOK_EVERY_S = 0.2


@contextmanager
def locked(folder: Path, name: str = LOCK, shared: bool = False) -> Iterator[None]:
    """Hold a folder, which is made if need be, waiting while another process holds it.

    With another ``name``, only a part of the folder is held, and other parts can be held at the same time.
    Several processes can hold it together if all of them hold it ``shared``.

    A process that waits says so once, with the process that it waits for. The lock ends with the process that
    holds it, however that process ends; the lock file stays. On Windows nothing is locked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / name, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o644)
    told = False
    try:
        while not take(descriptor, shared):
            if not told:
                print(f"waiting for {holder(descriptor)}, which holds {folder}", file=sys.stderr, flush=True)
                told = True
            time.sleep(LOOK_EVERY_S)
        sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def take(descriptor: int, shared: bool = False) -> bool:
    """Lock an open file without waiting; False where another process has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sign(descriptor: int) -> None:
    """Write into a lock file who holds it. On a full disk it stays as it is: the lock holds all the same."""
    with suppress(OSError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())


def holder(descriptor: int) -> str:
    """What the holder of a lock file wrote of itself."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, 200).decode("utf-8", "replace").strip() or "another process"
