"""One task of a run: what is left of it is done, and nothing that goes wrong reaches the other tasks."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eval_tasks.errors import UserError
from eval_tasks.locks import Stopped, locked
from eval_tasks.runs import harness
from eval_tasks.runs.pickles import read_labels
from eval_tasks.runs.results import ModelFolder
from eval_tasks.runs.scores import Score, heareval_scores
from eval_tasks.tasks.task_folder import TaskFolder


@dataclass(frozen=True)
class TaskResult:
    """What became of one task.

    Attributes:
        status: ``done``, ``skipped`` (was done before), ``failed`` or ``stopped``.
        scores: metric to test score, over folds where the task has folds.
        embeddings_s, predictions_s: wall time of this run's processes.
        error: what went wrong, with the last lines of the log.
    """

    task: str
    model: str
    status: str
    scores: dict[str, Score] = field(default_factory=dict)
    embeddings_s: float = 0.0
    predictions_s: float = 0.0
    error: str = ""


class TaskError(Exception):
    """This task cannot go on; the others can."""


@dataclass(frozen=True)
class TaskJob:
    """All that one task needs, so that any process on any machine can do it."""

    task_path: Path
    model_dir: Path
    module: str
    model: str
    model_options: dict[str, Any]
    grid: str
    grid_points: int | None
    changed: str
    threads: int
    gpu: str | None

    @property
    def task(self) -> str:
        return self.task_path.name

    @property
    def grid_name(self) -> str:
        return self.grid if self.grid_points is None else f"{self.grid}-{self.grid_points}points"

    @property
    def predictions_dir(self) -> Path:
        return self.model_dir / "predictions" / self.grid_name / self.task

    def log(self, stage: str) -> Path:
        return self.model_dir / "logs" / f"{self.task}.{stage}.log"

    @property
    def logs(self) -> dict[str, Path]:
        return {
            "embeddings": self.log("embeddings"),
            "predictions": self.log(f"predictions-{self.grid_name}"),
        }


def log_tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, of a progress bar only its last state."""
    text = log.read_text(errors="replace") if log.exists() else ""
    shown = [line.rsplit("\r", 1)[-1].rstrip() for line in text.rstrip().split("\n")]
    return "\n".join(shown[-lines:])


def run_stage(
    job: TaskJob, stage: str, command: Sequence[str], lock_fd: int, done: Callable[[], bool]
) -> float:
    """Run one process and return its wall time in seconds; TaskError where it did not do its work."""
    log = job.logs[stage]
    start = time.monotonic()
    status = harness.run_process(command, harness.environment(job.threads, job.gpu), log, lock_fd)
    if status or not done():
        raise TaskError(f"{stage} {how_it_ended(status)}; the end of {log}:\n{log_tail(log)}")
    return time.monotonic() - start


def how_it_ended(status: int) -> str:
    """In words; a negative status is that of a process ended by a signal."""
    if status != -signal.SIGKILL:
        return f"ended with status {status}"
    return (
        "was killed from outside, most often because memory ran out (give fewer --jobs; the same command "
        "continues where this one stopped)"
    )


def forget(job: TaskJob) -> None:
    """Delete all results of a task, whatever grid or protocol they came from."""
    for folder in [
        f for kind in ("embeddings", "predictions", "probe") for f in job.model_dir.glob(f"{kind}/*")
    ]:
        shutil.rmtree(folder / job.task, ignore_errors=True)


def finished_embeddings(job: TaskJob) -> Path | None:
    """The folder of this task's finished embeddings; stale ones are refused, kept or deleted."""
    folder = ModelFolder(job.model_dir).embeddings().get(job.task)
    if folder is None or job.changed == "keep":
        return folder
    described = [file for file in folder.glob("*.json") if (job.task_path / file.name).is_file()]
    described += [folder / "labelvocabulary.csv"]
    differing = [f.name for f in described if f.read_bytes() != (job.task_path / f.name).read_bytes()]
    if not differing:
        return folder
    if job.changed == "redo":
        forget(job)
        return None
    raise TaskError(
        f"{', '.join(differing)} of {job.task_path} changed since its embeddings were made: give another "
        "--out, or --changed redo to make them again, or --changed keep to score the old ones"
    )


def refuse_unsafe(embeddings: Path) -> None:
    """Read, without running code, what heareval will unpickle: these embeddings may come from others.

    Raises:
        UserError: labels that are more than plain values, or a description that leads elsewhere.
    """
    for split in TaskFolder.open(embeddings).splits:
        read_labels(embeddings / f"{split}.target-labels.pkl")


def link_embeddings(embeddings: Path, predictions: Path) -> None:
    """A fresh folder of relative links to what the predictions runner reads: results can be moved.

    The runner writes into the folder that it reads, and skips a task that has scores, whichever grid made
    them: with a folder of its own for each grid, embeddings are made once and no grid hides another.
    """
    shutil.rmtree(predictions, ignore_errors=True)
    predictions.mkdir(parents=True)
    for file in embeddings.iterdir():
        if file.is_file() and not file.name.startswith(".") and file.name != "profile.embeddings.json":
            (predictions / file.name).symlink_to(os.path.relpath(file, predictions))


def run_task(job: TaskJob) -> TaskResult:
    """Do what is left of one task. Never raises: what goes wrong is in the result."""
    result = TaskResult(job.task, job.model_dir.name, "skipped")
    try:
        with locked(job.model_dir / "logs" / f".{job.task}.lock", harness.stopping) as lock_fd:
            embeddings = finished_embeddings(job)
            received = embeddings is not None
            if embeddings is None:
                out = job.model_dir / "embeddings"
                command = harness.embeddings_command(
                    job.module, job.task_path, out, job.model, job.model_options
                )
                mark = f"*/{job.task}/.done.embeddings"
                seconds = run_stage(job, "embeddings", command, lock_fd, lambda: any(out.glob(mark)))
                result = replace(result, status="done", embeddings_s=seconds)
                embeddings = next(out.glob(mark)).parent
            folder = job.predictions_dir
            done = folder / "prediction-done.json"
            if not done.exists():
                if received:
                    refuse_unsafe(embeddings)
                link_embeddings(embeddings, folder)
                command = harness.predictions_command(folder, job.grid, job.grid_points)
                seconds = run_stage(job, "predictions", command, lock_fd, done.exists)
                result = replace(result, status="done", predictions_s=seconds)
                shutil.rmtree(folder / "lightning_logs", ignore_errors=True)  # a checkpoint a grid point
            return replace(result, scores=heareval_scores(folder))
    except Stopped:
        return replace(result, status="stopped")
    except Exception as error:
        message = (
            str(error) if isinstance(error, (TaskError, UserError)) else f"{type(error).__name__}: {error}"
        )
        return replace(result, status="failed", error=message)
