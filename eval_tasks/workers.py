"""Worker processes that end with the process that began them, however that ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import joblib

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


def in_processes(
    function: Callable[..., Result], calls: Iterable[tuple[Any, ...]], jobs: int
) -> Iterator[Result]:
    """Results of ``function(*arguments)`` for each of ``calls``, as they come.

    Args:
        jobs: processes; 1 works in this one, -1 stands for one for each core.

    Raises:
        UserError: a worker was killed, most often for want of memory.
    """
    parallel = joblib.Parallel(
        n_jobs=jobs,
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
