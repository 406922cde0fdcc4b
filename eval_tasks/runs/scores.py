"""Scores as heareval and the probe leave them: undefined and infinite ones included."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval_tasks.errors import UserError
from eval_tasks.files import read_json

SCORES_FILE = "test.predicted-scores.json"
# sed_eval's F-measure of no prediction at all is not a number, and counts 0, as on the leaderboard.
ZERO_WHERE_UNDEFINED = "_fms"


@dataclass(frozen=True)
class Score:
    """A test score over folds or seeds.

    d_prime is infinite where a class is told apart without error, and d_prime and aucroc are undefined
    where a fold lacks a class. As in heareval's own aggregation, the mean leaves undefined values out.

    Attributes:
        mean: not a number where no value is defined.
        deviation: 0 where there is one value; not a number where a value is infinite.
        count: values that are defined.
        undefined: values that are not.
    """

    mean: float
    deviation: float = 0.0
    count: int = 1
    undefined: int = 0

    @classmethod
    def of(cls, values: Sequence[float]) -> Score:
        defined = [value for value in values if not math.isnan(value)]
        undefined = len(values) - len(defined)
        if not defined:
            return cls(math.nan, 0.0, 0, undefined)
        with np.errstate(invalid="ignore"):  # infinite values have no deviation
            deviation = float(np.std(defined, ddof=1)) if len(defined) > 1 else 0.0
            return cls(float(np.mean(defined)), deviation, len(defined), undefined)

    @property
    def mean_text(self) -> str:
        return "undefined" if math.isnan(self.mean) else f"{self.mean:.3f}"

    @property
    def spread_text(self) -> str:
        """What stands after the mean: the deviation, and how many values are undefined."""
        parts = []
        if self.count > 1 and math.isfinite(self.deviation):
            parts.append(f"± {self.deviation:.3f}")
        if self.count and self.undefined:
            parts.append(f"({self.undefined} of {self.count + self.undefined} undefined)")
        return " ".join(parts)

    def __str__(self) -> str:
        return f"{self.mean_text} {self.spread_text}".rstrip()


def as_number(metric: str, value: Any) -> float:
    """A metric's value as a number; not a number where it is undefined.

    Raises:
        UserError: it is no number at all.
    """
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:  # a whole number of more digits than a float has room for
        number = None
    if number is None:
        raise UserError(f"{metric} is {str(value)[:40]!r}: expected a number")
    return 0.0 if math.isnan(number) and metric.endswith(ZERO_WHERE_UNDEFINED) else number


def heareval_scores(folder: Path) -> dict[str, Score]:
    """Metric to score, from a finished predictions folder; the mean over folds where there are folds.

    Raises:
        UserError: the files do not hold what heareval writes.
    """
    file = folder / SCORES_FILE
    results, metadata = read_json(file), read_json(folder / "task_metadata.json")
    try:
        tests = [results[name] for name in results if name == "test" or name in metadata["splits"]]
        scores = {
            metric: Score.of([as_number(metric, test.get(f"test_{metric}", math.nan)) for test in tests])
            for metric in metadata["evaluation"]
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: expected heareval's scores of the task in that folder ({error!r})"
        ) from None
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    if not tests:
        raise UserError(f"{file}: expected scores of the test split or of folds, found {list(results)}")
    return scores


def probe_scores(files: Iterable[Path]) -> dict[str, Score]:
    """Metric to score over seeds.

    Raises:
        UserError: the files do not hold what the probe writes.
    """
    values: dict[str, list[float]] = {}
    for file in files:
        content = read_json(file)
        try:
            for metric, value in content["scores"].items():
                values.setdefault(metric, []).append(as_number(metric, value))
        except (AttributeError, KeyError, TypeError, UserError) as error:
            raise UserError(f"{file}: expected the probe's scores ({error!r})") from None
    return {metric: Score.of(seeds) for metric, seeds in values.items()}
