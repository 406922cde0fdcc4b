"""All scores of some models as one table, and that table as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from statistics import fmean

import pandas as pd

from eval_tasks.metrics import LOW_IS_GOOD, METRICS
from eval_tasks.report.leaderboard import published_task, reference_scores
from eval_tasks.report.text import markdown
from eval_tasks.runs.results import ModelFolder
from eval_tasks.runs.scores import Score, heareval_scores, probe_scores
from eval_tasks.tasks.task_folder import TaskFolder

FLOOR_MODULES = "eval_tasks.baselines."


def chance(task: TaskFolder, metric: str) -> float:
    """The score of an answer that ignores the audio.

    Multiclass: one over the number of classes (of pitch classes for chroma). mAP: the share of
    positives, averaged over classes. Event tasks: nothing predicted, F-measure 0 and error rate 1.
    """
    if metric in ("top1_acc", "pitch_acc"):
        return 1 / len(task.vocabulary)
    if metric == "chroma_acc":
        return 1 / min(12, len(task.vocabulary))
    if metric == "mAP":
        test = "test" if "test" in task.splits else task.splits[0]
        clips = list(task.labels(test).values())
        return fmean(fmean(label in labels for labels in clips) for label in task.vocabulary)
    return {"segment_1s_er": 1.0, "aucroc": 0.5}.get(metric, 0.0)


@dataclass(frozen=True)
class Scores:
    """Everything that a report shows in numbers.

    Attributes:
        table: columns protocol, task, metric, model, mean, deviation, count, undefined.
        models: names, untrained baselines first.
        tasks: name to its folder (embeddings carry the task's description).
        references: (task, metric) to chance and, for published tasks, the leaderboard's numbers.
        predictions: (protocol, task) to model to the folder of its predictions by heareval.
    """

    table: pd.DataFrame
    models: list[str]
    tasks: dict[str, TaskFolder]
    references: dict[tuple[str, str], dict[str, float]]
    predictions: dict[tuple[str, str], dict[str, Path]] = field(default_factory=dict)

    @property
    def protocols(self) -> list[str]:
        return list(dict.fromkeys(self.table["protocol"]))

    @property
    def reference_names(self) -> list[str]:
        """Columns of references that at least one task has."""
        return list(dict.fromkeys(name for values in self.references.values() for name in values))

    def of(self, protocol: str) -> dict[tuple[str, str], dict[str, Score]]:
        """(task, metric) to model to score, tasks and metrics in order."""
        return self._by_protocol.get(protocol, {})

    @cached_property
    def _by_protocol(self) -> dict[str, dict[tuple[str, str], dict[str, Score]]]:
        grouped = {key: _by_model(rows) for key, rows in self.table.groupby(["protocol", "task", "metric"])}
        return {
            protocol: {key: grouped[protocol, *key] for key in self.references if (protocol, *key) in grouped}
            for protocol in self.protocols
        }

    def models_of(self, protocol: str) -> list[str]:
        """Models that have a score by this protocol, in order."""
        having = {model for by_model in self.of(protocol).values() for model in by_model}
        return [model for model in self.models if model in having]

    def main_metric(self, task: str) -> str:
        return self.tasks[task].evaluation[0]


def _by_model(rows: pd.DataFrame) -> dict[str, Score]:
    columns = [rows[name.name].tolist() for name in fields(Score)]
    scores = [Score(*values) for values in zip(*columns, strict=True)]
    return dict(zip(rows["model"].tolist(), scores, strict=True))


def display_names(models: Sequence[ModelFolder]) -> list[str]:
    """Folder names, without the baselines' package; two models of one name with the folder they lie in."""
    short = [model.name.removeprefix(FLOOR_MODULES) for model in models]
    if len(set(short)) == len(short):
        return short
    return [f"{model.path.parent.name}/{name}" for model, name in zip(models, short, strict=True)]


def gather(models: Sequence[ModelFolder]) -> Scores:
    """Read all scores of these models."""
    named = dict(zip(display_names(models), models, strict=True))
    rows, described = [], {}
    predictions: dict[tuple[str, str], dict[str, Path]] = {}
    for name, model in named.items():
        described.update(model.embeddings())
        for grid, folders in model.predictions().items():
            for task, folder in folders.items():
                protocol = f"heareval, {grid} grid"
                rows += _score_rows(protocol, task, name, heareval_scores(folder))
                predictions.setdefault((protocol, task), {})[name] = folder
        for protocol, files in model.probes().items():
            for task, seeds in files.items():
                rows += _score_rows(f"probe, {protocol}", task, name, probe_scores(seeds))
    columns = ["protocol", "task", "metric", "model", "mean", "deviation", "count", "undefined"]
    floors = [name for name, model in named.items() if model.info["module"].startswith(FLOOR_MODULES)]
    ordered = [*floors, *(name for name in named if name not in floors)]
    tasks = {task: TaskFolder.open(folder) for task, folder in sorted(described.items())}
    table = pd.DataFrame(rows, columns=columns)
    return Scores(table, ordered, tasks, references(tasks.values()), predictions)


def _score_rows(protocol: str, task: str, model: str, scores: dict[str, Score]) -> list[tuple[object, ...]]:
    return [
        (protocol, task, metric, model, score.mean, score.deviation, score.count, score.undefined)
        for metric, score in scores.items()
    ]


def references(tasks: Iterable[TaskFolder]) -> dict[tuple[str, str], dict[str, float]]:
    """Chance for every score; the leaderboard's numbers for the main score of published tasks only."""
    found = {}
    for task in tasks:
        for metric in task.evaluation:
            found[task.name, metric] = {"chance": chance(task, metric)}
        entry = published_task(task)
        if entry and entry.score in task.evaluation:
            found[task.name, entry.score] |= reference_scores(entry.leaderboard)
    return found


def ranked(metric: str, scores: Mapping[str, Score]) -> list[str]:
    """Models that have a score, the best first."""
    defined = [model for model, score in scores.items() if not math.isnan(score.mean)]
    return sorted(defined, key=lambda model: scores[model].mean, reverse=metric not in LOW_IS_GOOD)


def shows_references(protocol: str, reference: str) -> bool:
    """The leaderboard's numbers were made by heareval: they are not shown with the probe's."""
    return reference == "chance" or protocol.startswith("heareval")


def score_text(score: Score | None) -> str:
    """Mean, and the deviation where there is one; '' for no score."""
    return "" if score is None else str(score)


def pipe_table(lines: Iterable[Iterable[str]]) -> str:
    """Rows of cells as Markdown; what comes from files has been through ``text.markdown``."""
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def markdown_table(scores: Scores, protocol: str, bold: Mapping[tuple[str, str, str], str]) -> str:
    """Tasks and scores by models.

    Args:
        bold: (protocol, task, metric) to the model to print in bold.
    """
    columns = [name for name in scores.reference_names if shows_references(protocol, name)]
    models = scores.models_of(protocol)
    header = ["task", "score", *map(markdown, models), *columns]
    lines = [header, ["---"] * 2 + ["---:"] * (len(header) - 2)]
    for (task, metric), by_model in scores.of(protocol).items():
        best = bold.get((protocol, task, metric))
        cells = []
        for model in models:
            text = score_text(by_model.get(model))
            cells.append(f"**{text}**" if model == best else text)
        values = scores.references[task, metric]
        cells += [f"{values[name]:.3f}" if name in values else "" for name in columns]
        lines.append([markdown(task), METRICS.get(metric, markdown(metric)), *cells])
    return pipe_table(lines)
