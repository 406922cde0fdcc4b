"""How `run` runs a module on tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eval_tasks.errors import UserError
from eval_tasks.runs import harness

CHANGED = ("refuse", "keep", "redo")


@dataclass(frozen=True)
class RunSettings:
    """
    Attributes:
        tasks: names of task folders; all by default.
        model: weights file; the module's default if empty.
        model_options: keyword arguments of ``load_model``.
        grid: heareval's ``default``, which is the leaderboard's, ``fast`` or ``faster``.
        grid_points: models tried of that grid; heareval's 8 by default.
        jobs: tasks at once. A ``joblib.parallel_config`` around ``run_tasks`` chooses another backend.
        threads: threads of each process; by default OMP_NUM_THREADS, else the cores divided by ``jobs``.
        gpus: numbers of GPUs, as torch counts them, one for each task in turn; ``["all"]``, or
            ``["none"]`` for the CPU. By default the first one, where there is one.
        name: name of the model's folder; from module, options and weights by default.
        changed: where results come from other weights or code, or another state of a task:
            ``refuse``, ``keep`` or ``redo``.

    Raises:
        UserError: a ``grid`` or ``changed`` that does not exist, or ``jobs`` below 1.
    """

    tasks: Sequence[str] | None = None
    model: str = ""
    model_options: Mapping[str, Any] = field(default_factory=dict)
    grid: str = "default"
    grid_points: int | None = None
    jobs: int = 1
    threads: int | None = None
    gpus: Sequence[str] | None = None
    name: str = ""
    changed: str = "refuse"

    def __post_init__(self) -> None:
        if self.grid not in harness.GRIDS:
            raise UserError(f"grid {self.grid!r}: expected one of {', '.join(harness.GRIDS)}")
        if self.changed not in CHANGED:
            raise UserError(f"changed {self.changed!r}: expected one of {', '.join(CHANGED)}")
        if self.jobs < 1:
            raise UserError(f"jobs={self.jobs}: expected 1 or more")
