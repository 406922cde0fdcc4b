"""What a run tells: a JSON line and TensorBoard every few steps, and a progress bar."""

from __future__ import annotations

import json
import sys
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from pretrain.budget import Budget
from pretrain.distributed import average_over_processes
from pretrain.files import open_replacing

LOG = "log.jsonl"
SHORT_NAMES = {
    "loss": "loss",
    "clip": "clip",
    "frame": "frame",
    "pitch": "pitch",
    "clip_accuracy": "acc",
    "spectrum_unexplained": "spectrum",
    "pitch_error_semitones": "semitones",
    "segments_per_s": "seg/s",
}


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The records of a run's log in order; a line cut off by a kill is left out.

    Raises:
        FileNotFoundError: the run has no log.
    """
    path = folder / LOG
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give the folder of a training run")
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def open_board(folder: Path, first_step: int) -> Any:
    """A TensorBoard writer that forgets what an earlier process wrote from ``first_step`` on."""
    # TensorBoard imports TensorFlow where it is installed, which takes many seconds and is not
    # needed to write scalars; a module of this name tells it not to.
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)


class RunLog:
    """Log of one run, by one process.

    Args:
        folder: of the run; made if need be.
        step: where the run continues; what an earlier process logged after it is dropped, since those
            steps are taken again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / LOG
        kept = [r for r in read_log(folder) if r["step"] <= step] if step and path.is_file() else []
        with open_replacing(path) as file:
            file.writelines(json.dumps(record) + "\n" for record in kept)
        self._file = path.open("a", encoding="utf-8")
        self._board = open_board(folder, step + 1)
        self._bar = tqdm(total=100, unit="%", disable=None, bar_format="{percentage:3.0f}%|{bar}| {postfix}")

    def write(self, phase: str, step: int, values: dict[str, float]) -> None:
        """Append one record; ``phase`` is ``train`` or ``validation``."""
        record = {"step": step, "phase": phase} | {name: float(f"{v:.6g}") for name, v in values.items()}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{phase}/{name}", value, step)
        if phase == "validation":
            self.say(f"step {step} validation: {self._brief(values)}")

    def show(self, step: int, progress: float, left_s: float, values: dict[str, float]) -> None:
        """Move the bar, or print a line where there is none."""
        left = f"{left_s // 3600:.0f}:{left_s // 60 % 60:02.0f}:{left_s % 60:02.0f} to go"
        if self._bar.disable:
            self.say(f"step {step}, {min(1.0, progress):.1%}, {left}: {self._brief(values)}")
        self._bar.n = min(100.0, 100 * progress)
        self._bar.set_postfix_str(f"step {step}, {left}, {self._brief(values)}")

    def say(self, text: str) -> None:
        """Print a line above the progress bar."""
        tqdm.write(text)

    def close(self) -> None:
        self._bar.close()
        self._board.close()
        self._file.close()

    @staticmethod
    def _brief(values: dict[str, float]) -> str:
        return ", ".join(
            f"{short} {values[name]:.3g}" for name, short in SHORT_NAMES.items() if name in values
        )


class Meter:
    """Means of the metrics over steps and processes, speed, and the clock of the run.

    Args:
        log: where to tell them; None on all processes but one.
        budget: of the run, for the time left.
        segments_per_step: of all processes together.
        spent_s: seconds of earlier processes of the same run.
    """

    def __init__(self, log: RunLog | None, budget: Budget, segments_per_step: int, spent_s: float) -> None:
        self._log, self._budget = log, budget
        self._window: list[dict[str, Tensor]] = []
        self._shown = False
        self._segments_per_step = segments_per_step
        self._begun = time.monotonic() - spent_s
        self._told = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began, over all resumes."""
        return time.monotonic() - self._begun

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done meanwhile does not count against the speed of steps."""
        begun = time.monotonic()
        yield
        self._told += time.monotonic() - begun

    def add(self, step: int, metrics: dict[str, Tensor]) -> None:
        """Take in one step; its metrics stay where they are until ``tell``. The first is shown at once."""
        self._window.append(metrics)
        if not self._shown and self._log is not None:
            self._show(step, {name: float(value) for name, value in metrics.items()})
        self._shown = True

    def _show(self, step: int, values: dict[str, float]) -> None:
        assert self._log is not None
        s_per_step = (time.monotonic() - self._told) / len(self._window)
        left_s = self._budget.left_s(step, self.elapsed_s, s_per_step)
        self._log.show(step, self._budget.progress(step, self.elapsed_s), left_s, values)

    def tell(self, step: int, more: dict[str, float]) -> None:
        """Log the means since the last time, and ``more``. All processes must call it together."""
        means = {name: torch.stack([m[name] for m in self._window]).mean() for name in self._window[0]}
        average_over_processes(list(means.values()))
        values = {name: float(mean) for name, mean in means.items()} | more
        duration_s = time.monotonic() - self._told
        values["segments_per_s"] = len(self._window) * self._segments_per_step / duration_s
        values["elapsed_s"] = self.elapsed_s
        if self._log is not None:
            self._log.write("train", step, values)
            self._show(step, values)
        self._window.clear()
        self._told = time.monotonic()

    def tell_validation(self, step: int, values: dict[str, float]) -> None:
        """Log what ``validate`` found."""
        if not values:
            self.say(f"step {step}: no validation, the corpus holds out fewer than two clips")
        elif self._log is not None:
            self._log.write("validation", step, values)

    def say(self, text: str) -> None:
        """A line for whoever watches, if this process logs."""
        if self._log is not None:
            self._log.say(text)

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._log is not None:
            self._log.close()
