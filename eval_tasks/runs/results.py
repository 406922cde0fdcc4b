"""Where results lie, and how they are read. One folder per model:

```
OUT/<model>/model.json                             what was run: module, weights, hashes, versions
OUT/<model>/embeddings/<module and options>/<task> heareval's embeddings, as it writes them
OUT/<model>/predictions/<grid>/<task>              heareval's predictions and scores
OUT/<model>/probe/<protocol>/<task>/seed<N>.json   scores of the linear probe
OUT/<model>/logs/                                  output of every process
OUT/<model>/runs.jsonl                             wall times
```
"""

from __future__ import annotations

import io
import json
import math
import pickle
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_tasks.errors import UserError

# What must be equal for two runs to be of the same model.
IDENTITY = ("module", "model_options", "model_sha256", "module_sha256")
SCORES = "test.predicted-scores.json"


@dataclass(frozen=True)
class Score:
    """A test score: mean and deviation over folds or seeds (deviation 0 where there is one).

    heareval's d_prime is infinite in a fold where a class is told apart perfectly. The mean is then infinite
    too, or not a number where folds disagree in its sign, and the deviation is not a number.
    """

    mean: float
    deviation: float = 0.0
    count: int = 1

    @classmethod
    def of(cls, values: list[float]) -> Score:
        if not all(map(math.isfinite, values)):
            return cls(sum(values) / len(values), math.nan, len(values))
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return cls(statistics.fmean(values), deviation, len(values))

    @property
    def has_deviation(self) -> bool:
        """True where there are several folds or seeds, and all their scores are finite."""
        return self.count > 1 and math.isfinite(self.deviation)


@dataclass(frozen=True)
class ModelFolder:
    """One model's results."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def info(self) -> dict[str, Any]:
        return dict(json.loads((self.path / "model.json").read_text()))

    def embeddings(self) -> dict[str, Path]:
        """Task name to the folder of its finished embeddings."""
        marks = self.path.glob("embeddings/*/*/.done.embeddings")
        return {mark.parent.name: mark.parent for mark in sorted(marks)}

    def predictions(self) -> dict[str, dict[str, Path]]:
        """Grid to task name to the folder of its finished predictions."""
        found: dict[str, dict[str, Path]] = {}
        for mark in sorted(self.path.glob("predictions/*/*/prediction-done.json")):
            found.setdefault(mark.parent.parent.name, {})[mark.parent.name] = mark.parent
        return found

    def probes(self) -> dict[str, dict[str, list[Path]]]:
        """Protocol to task name to the files of the seeds."""
        found: dict[str, dict[str, list[Path]]] = {}
        for file in sorted(self.path.glob("probe/*/*/seed*.json")):
            tasks = found.setdefault(file.parent.parent.name, {})
            tasks.setdefault(file.parent.name, []).append(file)
        return found


def find_models(folders: Iterable[Path]) -> list[ModelFolder]:
    """Every model in the given folders; each may be an OUT folder or one model's folder in it.

    Raises:
        UserError: a folder holds no results.
    """
    models: list[ModelFolder] = []
    for folder in folders:
        marks = sorted(folder.glob("model.json")) or sorted(folder.glob("*/model.json"))
        if not marks:
            raise UserError(f"{folder}: no results here; expected the --out folder of `eval_tasks run`")
        models += [ModelFolder(mark.parent) for mark in marks]
    return list(dict.fromkeys(models))


def task_metadata(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "task_metadata.json").read_text()))


def heareval_scores(folder: Path) -> dict[str, Score]:
    """Metric to score, from a finished predictions folder; the mean over folds where there are folds."""
    results = json.loads((folder / SCORES).read_text())
    metadata = task_metadata(folder)
    tests = [results[name] for name in results if name == "test" or name in metadata["splits"]]
    return {
        metric: Score.of([_number(test[f"test_{metric}"]) for test in tests])
        for metric in metadata["evaluation"]
    }


def _number(value: float) -> float:
    """sed_eval's F-measure of no prediction at all is not a number, and counts 0, as on the leaderboard."""
    return 0.0 if math.isnan(value) else float(value)


def probe_scores(files: Iterable[Path]) -> dict[str, Score]:
    """Metric to score over seeds."""
    seeds = [json.loads(file.read_text())["scores"] for file in files]
    return {metric: Score.of([seed[metric] for seed in seeds]) for metric in seeds[0]}


PLAIN = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
}


class _PlainUnpickler(pickle.Unpickler):
    """Lists, strings, numbers and tensors, and nothing that could run code: results may come from others."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in PLAIN:
            return super().find_class(module, name)
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            import torch

            return lambda content: torch.load(io.BytesIO(content), weights_only=True)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in heareval's results")


def unpickle(path: Path) -> Any:
    """Read one of heareval's pickles (labels, predictions) without running code from it.

    Raises:
        pickle.UnpicklingError: it holds something other than plain values and tensors.
    """
    with path.open("rb") as content:
        return _PlainUnpickler(content).load()
