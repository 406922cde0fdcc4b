"""Jobs for processes of their own, which must be able to import them."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hear_msss.workers import map_unordered


def square_or_die(number: int) -> int:
    """The square; 3 is killed, 5 ends by itself."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 5:
        os._exit(7)
    return number * number


def kills(group: Any) -> bool:
    """Whether a file that is to be embedded asks for the end of the process, by its name."""
    return any("kill" in Path(job.source.name).name for job in group.jobs if job.place not in group.bad)


def embed_or_die(group: Any) -> Any:
    """Embed files, but for one whose name asks for the end of the process."""
    from hear_msss.cli.work import embed_alone

    if kills(group):
        os.kill(os.getpid(), signal.SIGKILL)
    return embed_alone(group)


def pack_or_die(job: Any) -> Any:
    """Convert a file for the corpus, but for one whose name asks for the end of the process."""
    from pretrain.corpus.pack import file_entry

    if "kill" in job[0].name:
        os.kill(os.getpid(), signal.SIGKILL)
    return file_entry(job)


def slow_if_even(number: int) -> int:
    time.sleep(0.2 * (number % 2 == 0))
    return number


def wait_for_ever(path: str) -> None:
    """Say in a file that the process is there."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


def two_that_wait(folder: str) -> None:
    list(map_unordered(wait_for_ever, [f"{folder}/0", f"{folder}/1"], 2))


def embed_numbered_but_die_once(number: int, group: Any) -> Any:
    """Embed a group on a cluster; the first worker that comes here is killed, and leaves its id."""
    from hear_msss.cli.work import embed_alone

    try:
        file = os.open(os.environ["HEAR_MSSS_KILL_ONCE"], os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return number, embed_alone(group)
    os.write(file, str(os.getpid()).encode())
    os.kill(os.getpid(), signal.SIGKILL)
    return None


@contextmanager
def nothing(*arguments: Any) -> Any:
    """In the place of a connection."""
    yield
