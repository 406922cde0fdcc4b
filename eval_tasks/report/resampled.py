"""A model's score over resampled test clips, from the answers that heareval leaves.

Each class holds one model's answers to one test split. ``scores(weights)`` takes ``(resamples, clips)``,
how often each clip counts, and returns ``(resamples,)``: heareval's score of each resample.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from eval_tasks.runs.pickles import unpickle

ACCURACIES = ("top1_acc", "pitch_acc", "chroma_acc")
RANKINGS = ("mAP", "aucroc")


class Answers(Protocol):
    clips: int

    def scores(self, weights: np.ndarray) -> np.ndarray: ...


class RightOrWrong:
    """Accuracy; of pitch classes, twelve to an octave, for chroma."""

    def __init__(self, answers: Mapping[str, Any], metric: str) -> None:
        true, predicted = (np.asarray(answers[key]).argmax(1) for key in ("target", "prediction"))
        step = 12 if metric == "chroma_acc" else len(np.asarray(answers["target"])[0]) + 1
        self.right = (true % step == predicted % step).astype(float)
        self.clips = len(self.right)

    def scores(self, weights: np.ndarray) -> np.ndarray:
        return (weights @ self.right) / weights.sum(axis=1)


class Ranking:
    """Mean over classes of the average precision, or of the area under the ROC curve.

    A class that a resample has no positive or no negative clip of is left out of that resample's mean.
    """

    def __init__(self, answers: Mapping[str, Any], metric: str) -> None:
        self.target = np.asarray(answers["target"]) > 0.5
        self.prediction = np.asarray(answers["prediction"])
        self.clips = len(self.target)
        self.of_class = average_precision if metric == "mAP" else roc_area

    def scores(self, weights: np.ndarray) -> np.ndarray:
        columns = zip(self.target.T, self.prediction.T, strict=True)
        with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a resample without any such class
            by_class = [self.of_class(target, prediction, weights) for target, prediction in columns]
            return np.nanmean(by_class, axis=0)


def _grouped(
    target: np.ndarray, prediction: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weight of positive and of all clips down to each distinct prediction, the highest first."""
    order = np.argsort(-prediction, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(prediction[order]) != 0, True))
    ordered = weights[:, order]
    positive = np.cumsum(ordered * target[order], axis=1)[:, ends]
    return positive, np.cumsum(ordered, axis=1)[:, ends]


def average_precision(target: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """scikit-learn's ``average_precision_score`` for each row of weights."""
    positive, total = _grouped(target, prediction, weights)
    precision = np.where(total > 0, positive / np.maximum(total, 1e-12), 0.0)
    steps = np.diff(positive, axis=1, prepend=0.0)
    area: np.ndarray = (steps * precision).sum(axis=1) / positive[:, -1]
    return area


def roc_area(target: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """scikit-learn's ``roc_auc_score`` for each row of weights."""
    positive, total = _grouped(target, prediction, weights)
    negative = total - positive
    steps = np.diff(negative, axis=1, prepend=0.0)
    middle = positive - np.diff(positive, axis=1, prepend=0.0) / 2
    area: np.ndarray = (steps * middle).sum(axis=1) / (positive[:, -1] * negative[:, -1])
    return area


class Events:
    """F-measure or error rate of events over files, from sed_eval's counts of each file."""

    def __init__(self, answers: Mapping[str, Any], metric: str, vocabulary: list[str]) -> None:
        with warnings.catch_warnings():  # of packages that heareval imports
            warnings.simplefilter("ignore")
            from heareval.score import available_scores

        score = available_scores[metric](label_to_idx={label: i for i, label in enumerate(vocabulary)})
        truth, heard = answers["target_events"], answers["predicted_events"]
        self.f_measure = metric.endswith("_fms")
        names = ("Ntp", "Nsys", "Nref") if self.f_measure else ("S", "D", "I", "Nref")
        counts = []
        for file in sorted(truth):
            measured = score.score_class(event_label_list=list(vocabulary), **score.params)
            events = [score.sed_eval_event_container({file: said.get(file, [])}) for said in (truth, heard)]
            measured.evaluate(*events)
            counts.append([measured.overall[name] for name in names])
        self.counts = np.array(counts, dtype=float)
        self.clips = len(counts)

    def scores(self, weights: np.ndarray) -> np.ndarray:
        *found, references = (weights @ self.counts).T
        if self.f_measure:  # no event at all, neither true nor heard, counts 0 as in every table here
            return 2 * found[0] / np.maximum(found[1] + references, 1e-12)
        with np.errstate(divide="ignore", invalid="ignore"):
            rate: np.ndarray = sum(found) / references
            return rate


def read_answers(file: Path) -> dict[str, Any]:
    """What one of heareval's ``*.predictions.pkl`` holds."""
    return _read(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=24)  # a task's other scores are computed from the same files
def _read(file: Path, changed_ns: int) -> dict[str, Any]:
    answers: dict[str, Any] = unpickle(file)
    return answers


def answers_of(file: Path, metric: str, vocabulary: list[str]) -> Answers | None:
    """The answers in one of heareval's ``*.predictions.pkl``; None for a metric that is not resampled."""
    answers = read_answers(file)
    if metric in ACCURACIES:
        return RightOrWrong(answers, metric)
    if metric in RANKINGS:
        return Ranking(answers, metric)
    if "target_events" in answers:
        return Events(answers, metric, vocabulary)
    return None
