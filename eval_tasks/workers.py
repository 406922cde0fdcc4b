"""Work in several processes, which end with the process that began them, however that ends."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import joblib
from tqdm import tqdm

from eval_tasks.errors import UserError

Result = TypeVar("Result")
LOOK_EVERY_S = 0.5


def end_with_parent(parent: int) -> None:
    """Watch, in a worker, for the end of its parent process."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
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


def in_processes(
    function: Callable[..., Result], calls: Iterable[tuple[Any, ...]], jobs: int
) -> Iterator[Result]:
    """Results of ``function(*arguments)`` for each of ``calls``, as they come.

    Args:
        jobs: processes, at most one for each call; 1 works in this one, -1 stands for one for each core.

    Raises:
        UserError: a worker was killed, most often for want of memory; or no such number of processes.
    """
    calls = list(calls)
    parallel = joblib.Parallel(
        n_jobs=at_once(jobs, len(calls)),
        return_as="generator_unordered",
        initializer=end_with_parent,
        initargs=(os.getpid(),),
    )
    delayed = joblib.delayed(function)
    try:
        yield from parallel(delayed(*arguments) for arguments in calls)
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed from outside, most often because memory ran out: give fewer --jobs; "
            "the same command continues where this one stopped"
        ) from None


def for_each_clip(
    function: Callable[..., tuple[str | None, list[str]]],
    calls: Sequence[tuple[Any, ...]],
    jobs: int,
    title: str,
    progress: bool = True,
) -> None:
    """Call ``function`` for every clip, whatever goes wrong with some of them; then print the warnings.

    Args:
        function: returns what went wrong, or None, and warnings.
        calls: its arguments for each clip.
        jobs: processes, as of ``in_processes``.
        title: of the progress bar and the error.
        progress: show a bar.

    Raises:
        UserError: what went wrong, clip by clip; or a worker was killed.
    """
    outcomes = list(tqdm(in_processes(function, calls, jobs), title, len(calls), disable=not progress))
    for warning in sorted({warning for _, warnings in outcomes for warning in warnings}):
        print(f"WARNING {warning}", file=sys.stderr)
    problems = sorted(problem for problem, _ in outcomes if problem)
    if problems:
        listed = "\n  ".join(problems)
        raise UserError(f"{title}: {len(problems)} of {len(calls)} clips could not be made:\n  {listed}")
