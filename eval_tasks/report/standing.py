"""A model's standing among the systems of the HEAR leaderboard, by the leaderboard's normalised score.

The score is that of https://github.com/hearbenchmark/hear-leaderboard (its README and leaderboard.py): each
task's scores are standardised to mean 0 and deviation 1 over the systems, limited to [-1, 1], and averaged
over the tasks. Blanks are filled in from the other tasks beforehand, by scikit-learn's IterativeImputer.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean

import pandas as pd

from eval_tasks.report.leaderboard import clip_count, leaderboard, published_task
from eval_tasks.runs.results import ModelFolder
from eval_tasks.runs.scores import Score, heareval_scores
from eval_tasks.tasks.registry import HearTask, hear_tasks
from eval_tasks.tasks.task_folder import TaskFolder

GRID = "default"  # with which the leaderboard was made
TIE = 1e-9  # sums of the same numbers may differ by rounding


@dataclass(frozen=True)
class Standing:
    """
    Attributes:
        normalised: mean over the tasks of the standardised and limited score, in [-1, 1].
        rank: 1 where no system has a higher normalised score over the same tasks.
        systems: of the leaderboard, which the model itself is not one of.
        tasks: columns of the leaderboard that were compared.
    """

    normalised: float
    rank: int
    systems: int
    tasks: tuple[str, ...]


@cache
def filled_leaderboard() -> pd.DataFrame:
    """A row a system, a column a task, as on the leaderboard; blanks filled in."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    scores = leaderboard().T
    with warnings.catch_warnings():  # the leaderboard's ten rounds do not converge
        warnings.simplefilter("ignore", ConvergenceWarning)
        full = IterativeImputer(max_iter=10, random_state=0).fit_transform(scores.to_numpy())
    return pd.DataFrame(full, scores.index, scores.columns)


def standing(scores: Mapping[str, float]) -> Standing:
    """Compare a model with the leaderboard's systems over the tasks that the model has.

    Args:
        scores: column of the leaderboard to the model's score; at least one.
    """
    systems = filled_leaderboard()[list(scores)]
    mean, deviation = systems.mean(), systems.std(ddof=0)
    others = ((systems - mean) / deviation).clip(-1, 1).mean(axis=1)
    own = float(((pd.Series(scores) - mean) / deviation).clip(-1, 1).mean())
    higher = int((others > own + TIE).sum())
    return Standing(own, 1 + higher, len(systems), tuple(scores))


def task_score(done: Mapping[str, Path], grid: str, entry: HearTask) -> tuple[float, str]:
    """The main score of one of the 19 tasks, the mean over its folders; or what is wrong with it.

    Args:
        done: task name to the folder of its predictions with ``grid``.
    """
    scores = []
    for name in entry.folders:
        if name not in done:
            return math.nan, f"{entry.title}: {name} has no score with the {grid} grid"
        task = TaskFolder.open(done[name])
        if published_task(task) is not entry:
            clips = clip_count(task)
            problem = f"{name} is not the published task ({clips} clips, not {entry.clips})"
            return math.nan, f"{entry.title}: {problem}"
        score = heareval_scores(done[name]).get(entry.score, Score.of([math.nan]))
        if score.undefined or not math.isfinite(score.mean):
            problem = f"{entry.score} of {name} is {score}: expected a finite score in each fold"
            return math.nan, f"{entry.title}: {problem}"
        scores.append(score.mean)
    return fmean(scores), ""


def published_scores(model: ModelFolder, grid: str = GRID) -> tuple[dict[str, float], list[str]]:
    """Leaderboard column to score of the published tasks that are done; what is wrong with the others."""
    done = model.predictions().get(grid, {})
    found = {entry.leaderboard: task_score(done, grid, entry) for entry in hear_tasks()}
    scores = {column: found[column][0] for column in leaderboard().index if not found[column][1]}
    return scores, [problem for _, problem in found.values() if problem]
