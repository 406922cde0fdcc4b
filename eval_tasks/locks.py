"""One lock for every verb that writes: no two processes work on one folder at the same time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Stopped(Exception):
    """The run is being stopped, and with it this process; what is done stays done."""


def lock_of(folder: Path) -> Path:
    """The lock file of a folder, which need not exist yet: it lies in the folder's parent."""
    folder = folder.resolve()
    return folder.with_name(f".{folder.name}.lock")


@contextmanager
def locked(path: Path, stopping: Callable[[], bool] = lambda: False) -> Iterator[int]:
    """Hold ``path`` as a lock, waiting while another process, or its orphan, holds it.

    A process that waits says so once, with the process that it waits for. The lock goes with the process
    that holds it, however that ends; its file stays.

    Args:
        path: the lock file; its folder is made where it is not there.
        stopping: asked while waiting; True ends the wait.

    Yields:
        The file descriptor, to be inherited by the processes that work under the lock.

    Raises:
        Stopped: ``stopping`` said so.
    """
    import fcntl  # not on Windows, where heareval does not run either

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o644)
    told = False
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if stopping():
                    raise Stopped from None
                if not told:
                    holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace") or "another process"
                    print(f"waiting for {holder}, which holds {path}", file=sys.stderr, flush=True)
                    told = True
                time.sleep(0.2)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)
