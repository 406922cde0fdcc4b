"""Work in several processes, which end with the process that began them, however that ends."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import joblib
from tqdm import tqdm

from eval_tasks.errors import UserError

Result = TypeVar("Result")
LOOK_EVERY_S = 0.5
_notes: set[str] = set()  # in a worker: folders that ``noted`` has written to


def end_with_parent(parent: int) -> None:
    """Watch, in a worker, for the end of its parent process, and then remove its folders of notes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        for notes in list(_notes):
            shutil.rmtree(notes, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def at_once(jobs: int, count: int) -> int:
    """How many of ``count`` pieces of work are done at the same time, at least 1.

    Args:
        jobs: what the user asks for; -1 stands for one for each core.

    Raises:
        UserError: 0, or less than -1.
    """
    if jobs == 0 or jobs < -1:
        raise UserError(f"--jobs {jobs}: expected 1 or more, or -1 for one for each core")
    return max(1, min(joblib.cpu_count() if jobs == -1 else jobs, count))


def noted(notes: str, name: str, function: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
    """Call ``function``; until it ends, a file in ``notes`` says that this process works on ``name``."""
    note = Path(notes) / str(os.getpid())
    _notes.add(notes)
    with suppress(OSError):  # a full disk, say: the work itself may have room elsewhere
        note.parent.mkdir(mode=0o700, exist_ok=True)
        note.write_bytes(os.fsencode(name))
    try:
        return function(*arguments)
    finally:
        note.unlink(missing_ok=True)


def noted_names(notes: Path) -> list[str]:
    """What the workers had in hand, sorted. The note of a worker that was killed while it wrote is empty."""
    found = []
    for note in notes.glob("*"):
        with suppress(FileNotFoundError):  # its work has ended meanwhile
            found.append(os.fsdecode(note.read_bytes()))
    return sorted(filter(None, found))


def first(*arguments: Any) -> str:
    """The name of a call whose first argument is a file."""
    return str(arguments[0])


def in_processes(
    function: Callable[..., Result],
    calls: Iterable[tuple[Any, ...]],
    jobs: int,
    name: Callable[..., str] = first,
) -> Iterator[Result]:
    """Results of ``function(*arguments)`` for each of ``calls``, as they come.

    Args:
        jobs: processes, at most one for each call; 1 works in this one, -1 stands for one for each core.
        name: what the arguments of a call stand for, such as a file; by default the first of them.

    Raises:
        UserError: a worker was killed, most often for want of memory, with the names of what the workers
            had in hand; or no such number of processes.
    """
    calls = list(calls)
    number, return_as = at_once(jobs, len(calls)), "generator_unordered"
    backend, _ = joblib.parallel.get_active_backend()
    # Within a worker of another pool joblib takes threads, of which none is killed alone.
    if number == 1 or getattr(backend, "supports_sharedmem", False):
        plain = joblib.Parallel(n_jobs=number, return_as=return_as)
        yield from plain(joblib.delayed(function)(*arguments) for arguments in calls)
        return
    # Made by the workers: if this process is killed, those who are left remove it.
    notes = Path(tempfile.gettempdir()) / f"eval_tasks-{uuid.uuid4().hex}"
    parallel = joblib.Parallel(
        n_jobs=number, return_as=return_as, initializer=end_with_parent, initargs=(os.getpid(),)
    )
    try:
        yield from parallel(joblib.delayed(noted)(str(notes), name(*each), function, each) for each in calls)
    except BrokenProcessPool:
        in_work = noted_names(notes)
        during = f" during work on {' and '.join(in_work)}" if in_work else ""
        raise UserError(
            f"a worker process was killed from outside{during}, most often because memory ran out: give "
            "fewer --jobs; the same command continues where this one stopped"
        ) from None
    finally:
        shutil.rmtree(notes, ignore_errors=True)


def for_each_clip(
    function: Callable[..., tuple[str | None, list[str]]],
    calls: Sequence[tuple[Any, ...]],
    jobs: int,
    title: str,
    progress: bool = True,
    name: Callable[..., str] = first,
) -> None:
    """Call ``function`` for every clip, whatever goes wrong with some of them; then print the warnings.

    Args:
        function: returns what went wrong, or None, and warnings.
        calls: its arguments for each clip.
        jobs: processes, as of ``in_processes``.
        title: of the progress bar and the error.
        progress: show a bar.
        name: of a clip, as of ``in_processes``.

    Raises:
        UserError: what went wrong, clip by clip; or a worker was killed.
    """
    done = in_processes(function, calls, jobs, name)
    try:
        outcomes = list(tqdm(done, title, len(calls), disable=not progress))
    except UserError as error:
        raise UserError(f"{title}: {error}") from None
    for warning in sorted({warning for _, warnings in outcomes for warning in warnings}):
        print(f"WARNING {warning}", file=sys.stderr)
    problems = sorted(problem for problem, _ in outcomes if problem)
    if problems:
        listed = "\n  ".join(problems)
        raise UserError(f"{title}: {len(problems)} of {len(calls)} clips could not be made:\n  {listed}")
