"""One progress display for all tasks of a run, read from their logs."""

from __future__ import annotations

import re
import shlex
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from eval_tasks.metrics import metric_name

if TYPE_CHECKING:
    from eval_tasks.runs.run_task import TaskJob, TaskResult

PERCENT = re.compile(rb"(\d+)%\|")
GRID_POINT = re.compile(rb"Grid point (\d+) of (\d+)")
FOLD = re.compile(rb"Training split (\d+) of (\d+)")
SPLIT = re.compile(rb"Getting embeddings for split: (\w+)")


def last(pattern: re.Pattern[bytes], text: bytes) -> re.Match[bytes] | None:
    return next(reversed(list(pattern.finditer(text))), None)


def progress_of(stage: str, log: Path) -> tuple[float, str]:
    """Per cent of this stage, or of its present part, and what it is doing, from a runner's output."""
    text = log.read_bytes()
    if stage == "embeddings":
        split, percent = last(SPLIT, text), last(PERCENT, text)
        return (
            float(percent[1]) if percent else 0.0,
            f"embeddings {split[1].decode()}" if split else "embeddings: loading",
        )
    for pattern, what in ((FOLD, "fold"), (GRID_POINT, "grid point")):
        if number := last(pattern, text):
            done, total = int(number[1]), int(number[2])
            return 100.0 * (done - 1) / total, f"predictions {what} {done}/{total}"
    return 0.0, "predictions: loading"


def one_line(result: TaskResult) -> str:
    if result.status == "failed":
        return f"{result.task}: failed: {result.error.splitlines()[0]}"
    scores = ", ".join(f"{metric_name(name)} {score.mean_text}" for name, score in result.scores.items())
    times = f"embeddings {result.embeddings_s:.0f} s, predictions {result.predictions_s:.0f} s"
    return f"{result.task}: {scores} ({'was done before' if result.status == 'skipped' else times})"


class RunDisplay:
    """A bar a task on a terminal; elsewhere a line for each task that ends."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.jobs: dict[str, TaskJob] = {}
        self.rows: dict[str, TaskID] = {}
        self.begun_s = time.time()
        self.closing = threading.Event()
        self.poller = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> RunDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        if self.poller.is_alive():
            self.poller.join()
        self.progress.stop()

    def start(self, jobs: list[TaskJob]) -> None:
        self.jobs = {job.task: job for job in jobs}
        if self.console.is_terminal:
            for task in self.jobs:
                self.rows[task] = self.progress.add_task(task, total=100.0, state="waiting", start=False)
            self.progress.start()
            self.poller.start()

    def finished(self, result: TaskResult) -> None:
        self.jobs.pop(result.task, None)
        if result.task in self.rows:
            state = result.status if result.status == "failed" else one_line(result).split(": ", 1)[1]
            self.progress.update(self.rows[result.task], completed=100.0, state=state)
            self.progress.stop_task(self.rows[result.task])
        else:
            self.console.print(one_line(result), markup=False, highlight=False, soft_wrap=True)

    def _poll(self) -> None:
        while not self.closing.wait(0.5):
            for task, job in list(self.jobs.items()):
                for stage, log in reversed(job.logs.items()):
                    if log.exists() and log.stat().st_mtime >= self.begun_s:
                        percent, state = progress_of(stage, log)
                        self.progress.start_task(self.rows[task])
                        if task in self.jobs:
                            self.progress.update(self.rows[task], completed=percent, state=state)
                        break

    def summary(self, results: Iterable[TaskResult], out: Path) -> None:
        """Scores of all tasks in one table, what failed and why, where results are, what to type next."""
        results = sorted(results, key=lambda result: result.task)
        table = Table("task", "status", "score", title=escape(results[0].model) if results else None)
        for result in results:
            scores = [f"{metric_name(name)} {score.mean_text}" for name, score in result.scores.items()]
            table.add_row(escape(result.task), result.status, escape("\n".join(scores)))
        self.console.print(table)
        for result in results:
            if result.status == "failed":
                self.console.rule(escape(f"{result.task} failed"), align="left")
                self.console.print(result.error, markup=False, highlight=False, soft_wrap=True)
        if results:
            self.console.print(f"results: {out / results[0].model}", markup=False, soft_wrap=True)
        if any(result.status == "failed" for result in results):
            self.console.print("next: mend what failed, and repeat the command: it does only what is left")
        elif results:
            next_step = f"next: python -m eval_tasks report {shlex.quote(str(out))} --out report"
            self.console.print(next_step, markup=False, soft_wrap=True)
