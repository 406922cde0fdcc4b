"""Jobs in processes, each answer with its job: a process that dies costs the job that it had, and no other.

When a process is killed, for want of memory for example, a pool of joblib or of the standard library ends
as a whole, and does not say which job that process had.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

Job = TypeVar("Job")
Answer = TypeVar("Answer")
CONTEXT = multiprocessing.get_context("spawn")  # a fork would inherit the locks of torch's threads


@dataclass(frozen=True)
class Died:
    """What stands for the answer of a process that ended without one."""

    exit_code: int

    def __str__(self) -> str:
        if self.exit_code >= 0:
            return f"its process ended with exit code {self.exit_code}"
        name = signal.Signals(-self.exit_code).name
        memory = ": out of memory?" if -self.exit_code == signal.SIGKILL else ""
        return f"its process was ended by {name}{memory}"


def map_unordered(
    function: Callable[[Job], Answer], jobs: Iterable[Job], processes: int
) -> Iterator[tuple[Job, Answer | Died]]:
    """Each job with what ``function`` makes of it, as they are done; ``Died`` where its process ended.

    Args:
        function: of a module, as are jobs and answers: they are pickled. What it raises ends its process.
        processes: how many at once. They end with this process, however it ends.
    """
    waiting = iter(jobs)
    busy: dict[Connection, tuple[Any, Job]] = {}

    def give(worker: tuple[Any, Connection] | None) -> None:
        """The next job to a worker, or to a new one; a worker without a job ends."""
        for job in waiting:
            process, pipe = worker or _start(function)
            busy[pipe] = (process, job)
            with suppress(OSError):  # it died meanwhile, which shows when its answer is waited for
                pipe.send(job)
            return
        if worker:
            worker[1].close()

    try:
        for _ in range(processes):
            give(None)
        while busy:
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                process, job = busy.pop(pipe)
                worker: tuple[Any, Connection] | None = (process, pipe)
                try:
                    answer = pipe.recv()
                except (EOFError, OSError):
                    process.join()
                    answer, worker = Died(process.exitcode), None
                yield job, answer
                give(worker)
    finally:
        for process, _ in busy.values():
            process.kill()
            process.join()


def _start(function: Callable[[Any], Any]) -> tuple[Any, Connection]:
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_work, args=(function, theirs), daemon=True)
    process.start()
    theirs.close()  # so that its end shows at ours
    return process, ours


def _work(function: Callable[[Any], Any], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, too, and ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(function(job))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
