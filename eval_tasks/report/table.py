"""All scores of some models as one table, and that table as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from statistics import fmean

import pandas as pd

from eval_tasks.metrics import LOW_IS_GOOD, METRICS
from eval_tasks.report.leaderboard import NAMED, leaderboard, published_task
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
    """

    table: pd.DataFrame
    models: list[str]
    tasks: dict[str, TaskFolder]
    references: dict[tuple[str, str], dict[str, float]]

    @property
    def protocols(self) -> list[str]:
        return list(dict.fromkeys(self.table["protocol"]))

    @property
    def reference_names(self) -> list[str]:
        """Columns of references that at least one task has."""
        return list(dict.fromkeys(name for values in self.references.values() for name in values))

    def of(self, protocol: str) -> dict[tuple[str, str], dict[str, Score]]:
        """(task, metric) to model to score, tasks and metrics in order."""
        found: dict[tuple[str, str], dict[str, Score]] = {}
        chosen = self.table[self.table["protocol"] == protocol]
        for task, metric in self.references:
            rows = chosen[(chosen["task"] == task) & (chosen["metric"] == metric)]
            if len(rows):
                found[task, metric] = _by_model(rows)
        return found

    def main_metric(self, task: str) -> str:
        return self.tasks[task].evaluation[0]


def _by_model(rows: pd.DataFrame) -> dict[str, Score]:
    columns = [rows[field.name].tolist() for field in fields(Score)]
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
    rows, tasks = [], {}
    for name, model in named.items():
        tasks.update({task: TaskFolder.open(folder) for task, folder in model.embeddings().items()})
        for grid, folders in model.predictions().items():
            for task, folder in folders.items():
                rows += _score_rows(f"heareval, {grid} grid", task, name, heareval_scores(folder))
        for protocol, files in model.probes().items():
            for task, seeds in files.items():
                rows += _score_rows(f"probe, {protocol}", task, name, probe_scores(seeds))
    columns = ["protocol", "task", "metric", "model", "mean", "deviation", "count", "undefined"]
    floors = [name for name, model in named.items() if model.info["module"].startswith(FLOOR_MODULES)]
    ordered = [*floors, *(name for name in named if name not in floors)]
    tasks = dict(sorted(tasks.items()))
    return Scores(pd.DataFrame(rows, columns=columns), ordered, tasks, references(tasks.values()))


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
            row = leaderboard().loc[entry.leaderboard]
            numbers = {"leaderboard best": row["best"], "leaderboard median": row["median"]}
            numbers |= {name: row[name] for name in NAMED if pd.notna(row[name])}
            found[task.name, entry.score] |= {name: float(value) for name, value in numbers.items()}
    return found


def best_model(metric: str, scores: dict[str, Score]) -> str:
    """Name of the best of several models; '' where there is nothing to choose from."""
    scores = {model: score for model, score in scores.items() if not math.isnan(score.mean)}
    if len(scores) < 2:
        return ""
    choose = min if metric in LOW_IS_GOOD else max
    return choose(scores, key=lambda model: scores[model].mean)


def shows_references(protocol: str, reference: str) -> bool:
    """The leaderboard's numbers were made by heareval: they are not shown with the probe's."""
    return reference == "chance" or protocol.startswith("heareval")


def score_text(score: Score | None) -> str:
    """Mean, and the deviation where there is one; '' for no score."""
    return "" if score is None else str(score)


def pipe_table(lines: Iterable[Iterable[str]]) -> str:
    """Rows of cells as Markdown; what comes from files has been through ``text.markdown``."""
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def markdown_table(scores: Scores, protocol: str) -> str:
    """Tasks and scores by models, the best model in bold."""
    columns = [name for name in scores.reference_names if shows_references(protocol, name)]
    header = ["task", "score", *map(markdown, scores.models), *columns]
    lines = [header, ["---"] * 2 + ["---:"] * (len(header) - 2)]
    for (task, metric), by_model in scores.of(protocol).items():
        best = best_model(metric, by_model)
        cells = []
        for model in scores.models:
            text = score_text(by_model.get(model))
            cells.append(f"**{text}**" if model == best else text)
        values = scores.references[task, metric]
        cells += [f"{values[name]:.3f}" if name in values else "" for name in columns]
        lines.append([markdown(task), METRICS.get(metric, markdown(metric)), *cells])
    return pipe_table(lines)
