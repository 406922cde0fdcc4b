"""Jobs in processes, each answer with its job. If a process dies, only its own job is lost.

When a process is killed, for example because memory is short, a pool of joblib or of the standard library
ends as a whole, and does not say which job that process had.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from types import TracebackType
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
    with Workers(function) as workers:
        for job in islice(waiting, processes):
            workers.give(job)
        while workers.busy:
            for job, answer in workers.take():
                for following in islice(waiting, 1):
                    workers.give(following)
                yield job, answer


def map_in_order(
    function: Callable[[Job], Answer], jobs: Iterable[Job], processes: int, ahead: int
) -> Iterator[tuple[Job, Answer | Died]]:
    """As :func:`map_unordered`, but in the order of ``jobs``.

    Args:
        ahead: jobs that may be begun, or done, before the one whose turn it is.
    """
    waiting = iter(jobs)
    begun = turn = 0
    done: dict[int, tuple[Job, Answer | Died]] = {}
    with Workers(function) as workers:
        while True:
            for job in islice(waiting, max(0, min(processes - len(workers.busy), turn + ahead - begun))):
                workers.give(job, begun)
                begun += 1
            if turn in done:
                yield done.pop(turn)
                turn += 1
            elif workers.busy:
                for (job, number), answer in workers.take_numbered():
                    done[number] = job, answer
            else:
                return


class Workers:
    """Processes that take one job after the other; they end with the ``with`` block.

    Attributes:
        busy: the pipe of each process that has a job, with the process, its job and the job's number.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.busy: dict[Connection, tuple[Any, Any, int]] = {}
        self.idle: list[tuple[Any, Connection]] = []

    def __enter__(self) -> Workers:
        return self

    def give(self, job: Any, number: int = 0) -> None:
        """A job to an idle process, or to a new one."""
        process, pipe = self.idle.pop() if self.idle else _start(self.function)
        self.busy[pipe] = (process, job, number)
        with suppress(OSError):  # it died meanwhile, which shows when its answer is waited for
            pipe.send(job)

    def take_numbered(self) -> Iterator[tuple[tuple[Any, int], Any]]:
        """Wait for answers; each comes with its job and the job's number."""
        for pipe in wait(list(self.busy)):
            assert isinstance(pipe, Connection)
            process, job, number = self.busy.pop(pipe)
            try:
                answer = pipe.recv()
                self.idle.append((process, pipe))
            except (EOFError, OSError):
                process.join()
                answer = Died(process.exitcode)
            yield (job, number), answer

    def take(self) -> Iterator[tuple[Any, Any]]:
        """Wait for answers; each comes with its job."""
        for (job, _), answer in self.take_numbered():
            yield job, answer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, *_ in self.busy.values():
            process.kill()
        for process, pipe in self.idle:
            pipe.close()  # which tells it that there is nothing more to do
            process.join()
        for process, *_ in self.busy.values():
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
        except (EOFError, ConnectionError):
            return
        answer = function(job)
        try:
            pipe.send(answer)
        except ConnectionError:  # the parent has been killed meanwhile
            return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
