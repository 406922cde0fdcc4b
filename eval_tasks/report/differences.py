"""Is one model better than another, or were the test clips kind to it? A paired bootstrap says.

Both models' answers to the same resampled test clips are scored again and again; the interval holds the
middle 95 % of the differences (Efron and Tibshirani 1993, chapter 13). Of a task with folds, clips are
resampled within each fold, and the score is the mean over folds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval_tasks.errors import UserError
from eval_tasks.metrics import LOW_IS_GOOD
from eval_tasks.report.resampled import RANKINGS, Answers, answers_of, read_answers
from eval_tasks.report.table import Scores, ranked
from eval_tasks.runs.scores import Score
from eval_tasks.tasks.task_folder import TaskFolder

RESAMPLES = 1000
FEWEST = 200  # for rankings over many clips and classes, which take long
LARGEST = 1e8  # resamples times clips times classes
INTERVAL = (2.5, 97.5)  # percentiles
AT_ONCE = 100  # resamples


@dataclass(frozen=True)
class Difference:
    """Score of ``first`` minus that of ``second``, with its 95 % interval.

    Attributes:
        why_none: why there is no interval; low and high are then not a number.
    """

    first: str
    second: str
    value: float
    low: float = np.nan
    high: float = np.nan
    why_none: str = ""

    @property
    def clear(self) -> bool:
        """The interval leaves out 0."""
        return self.low > 0 or self.high < 0


Key = tuple[str, str, str]  # protocol, task, metric


def differences(scores: Scores, pair: tuple[str, str] | None = None) -> dict[Key, Difference]:
    """Of each score, the best model less the next best; or the first of ``pair`` less the second.

    Scores that only one model has are left out, and those of the probe, which keeps no answers.
    """
    found = {}
    for protocol in scores.protocols:
        for (task, metric), by_model in scores.of(protocol).items():
            two = pair or tuple(ranked(metric, by_model)[:2])
            folders = scores.predictions.get((protocol, task), {})
            if len(two) == 2 and all(model in by_model and model in folders for model in two):
                found[protocol, task, metric] = _difference(scores, task, metric, by_model, two, folders)
    return found


def _difference(
    scores: Scores,
    task: str,
    metric: str,
    by_model: Mapping[str, Score],
    pair: tuple[str, ...],
    folders: Mapping[str, Path],
) -> Difference:
    first, second = pair
    value = by_model[first].mean - by_model[second].mean
    try:
        low, high = interval(folders[first], folders[second], metric, scores.tasks[task].vocabulary)
    except UserError as error:
        return Difference(first, second, value, why_none=str(error))
    return Difference(first, second, value, low, high)


def clearly_best(scores: Scores, best_less_next: Mapping[Key, Difference]) -> dict[Key, str]:
    """The model to print in bold, of each score that has one.

    The interval of its difference from the next best leaves out 0, and it is better than chance: of two
    equal scores, or of two error rates worse than no answer at all, neither is bold.
    """
    found = {}
    for (protocol, task, metric), difference in best_less_next.items():
        best = scores.of(protocol)[task, metric][difference.first].mean
        gain = best - scores.references[task, metric]["chance"]
        if difference.clear and (gain < 0 if metric in LOW_IS_GOOD else gain > 0):
            found[protocol, task, metric] = difference.first
    return found


def interval(first: Path, second: Path, metric: str, vocabulary: list[str]) -> tuple[float, float]:
    """The 95 % interval of the difference between two models on a task.

    Args:
        first, second: finished predictions of the task.

    Raises:
        UserError: the models did not answer the same clips, or the metric cannot be resampled.
    """
    parts = list(zip(_parts(first, metric, vocabulary), _parts(second, metric, vocabulary), strict=True))
    _require_same_clips(first, second)
    differences = np.zeros(_resamples(first, metric, parts[0][0].clips))
    random = np.random.default_rng(0)
    for one, other in parts:
        for begin in range(0, len(differences), AT_ONCE):
            rows = min(AT_ONCE, len(differences) - begin)
            weights = random.multinomial(one.clips, np.full(one.clips, 1 / one.clips), rows).astype(float)
            differences[begin : begin + rows] += (one.scores(weights) - other.scores(weights)) / len(parts)
    if not np.isfinite(differences).all():
        raise UserError("undefined in some resamples")
    low, high = np.percentile(differences, INTERVAL)
    return float(low), float(high)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.predictions.pkl"))


def _parts(folder: Path, metric: str, vocabulary: list[str]) -> list[Answers]:
    """One model's answers, a part for each test split."""
    try:
        parts = [answers_of(file, metric, vocabulary) for file in _files(folder)]
    except (ImportError, KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(f"answers that cannot be read ({type(error).__name__})") from None
    found = [part for part in parts if part is not None]
    if not found or len(found) < len(parts):
        raise UserError("no interval for this score" if parts else "no answers of single clips were kept")
    return found


def _require_same_clips(first: Path, second: Path) -> None:
    """Both runs have the same splits with the same clips in the same order, and the same truth."""
    names = [[file.name for file in _files(folder)] for folder in (first, second)]
    tasks = [TaskFolder.open(folder) for folder in (first, second)]
    same = names[0] == names[1] and tasks[0].splits == tasks[1].splits
    same = same and all(_same_names(tasks[0], tasks[1], name) for name in tasks[0].splits)
    for name in names[0] if same else ():
        truths = [read_answers(folder / name) for folder in (first, second)]
        key = "target_events" if "target_events" in truths[0] else "target"
        one, other = (_plain(truth.get(key)) for truth in truths)
        same = same and one == other
    if not same:
        raise UserError("the test clips are not the same")


def _same_names(one: TaskFolder, other: TaskFolder, split: str) -> bool:
    """A split has the same clips in the same order; equal files need not be read through."""
    files = [task.path / f"{split}.json" for task in (one, other)]
    if files[0].read_bytes() == files[1].read_bytes():
        return True
    return list(one.split(split)) == list(other.split(split))


def _plain(values: Any) -> Any:
    """Lists instead of a tensor."""
    return values.tolist() if hasattr(values, "tolist") else values


def _resamples(folder: Path, metric: str, clips: int) -> int:
    if metric not in RANKINGS:
        return RESAMPLES
    classes = np.asarray(read_answers(_files(folder)[0])["target"]).shape[1]
    return int(np.clip(LARGEST / (clips * classes), FEWEST, RESAMPLES))
