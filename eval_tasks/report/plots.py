"""The figures of a report, each a function from results to a matplotlib figure."""

from __future__ import annotations

import io
import math
import re
import textwrap
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eval_tasks.metrics import METRICS
from eval_tasks.report import text
from eval_tasks.report.table import Scores, ranked
from eval_tasks.runs.pickles import unpickle
from eval_tasks.runs.scores import Score

COLOURS = ("#5b8def", "#f28e2b", "#3fa776", "#d9537a", "#9a6fd0", "#2aa7b8", "#b58b35", "#8a8f98")
INK = "#123456"  # stands for the page's text colour in SVG, black on white in PNG
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color"),
        INK,
    ),
}
SCENE_WINDOW_S = 60.0
MAX_PANELS = 6  # more are too narrow to read
MAX_BARS = len(COLOURS)  # models of a bar chart, each in a colour of its own


def to_svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element without background, text in the page's own colour."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):  # text stays text, in the reader's fonts
        figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    svg = buffer.getvalue()
    return re.sub(f"(?i){INK}", "currentColor", svg[svg.index("<svg") :])


def to_png(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, facecolor="white", bbox_inches="tight")


def colour(models: list[str], model: str) -> str:
    return COLOURS[models.index(model) % len(COLOURS)]


def wrapped(task: str) -> str:
    """A task's name in two lines: what it is, and version and mode."""
    return text.figure(task).replace("-", "\n", 1)


def bars(scores: Scores, protocol: str) -> Figure:
    """The main score of each task, a bar a model, chance as a line; of many models the best ones."""
    rows = {key: row for key, row in scores.of(protocol).items() if key[1] == scores.main_metric(key[0])}
    models = best_of_many(scores.models_of(protocol), rows)
    width = 0.8 / len(models)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(6.0, 1.9 * len(rows)), 4.4))
        axes = figure.subplots()
        for place, (key, row) in enumerate(rows.items()):
            for number, model in enumerate(models):
                if model in row:
                    x = place - 0.4 + (number + 0.5) * width
                    draw_bar(axes, x, 0.9 * width, row[model], colour(models, model))
            chance = scores.references[key]["chance"]
            axes.plot([place - 0.42, place + 0.42], [chance, chance], color=INK, lw=1.2, ls=(0, (4, 2)))
        named = [(task, textwrap.fill(METRICS.get(metric, metric), 14)) for task, metric in rows]
        labels = [f"{wrapped(task)}\n{metric}" for task, metric in named]
        axes.set_xticks(range(len(rows)), labels)
        axes.tick_params(axis="x", length=0)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.25, color=INK)
        axes.set_axisbelow(True)
        model_legend(axes, models, Line2D([], [], color=INK, ls=(0, (4, 2)), lw=1.2, label="chance"))
    return figure


def best_of_many(models: list[str], rows: dict[tuple[str, str], dict[str, Score]]) -> list[str]:
    """At most ``MAX_BARS`` models, those with the best mean rank over their scores, in the given order."""
    if len(models) <= MAX_BARS:
        return models
    ranks: dict[str, list[int]] = {}
    for (_, metric), row in rows.items():
        for place, model in enumerate(ranked(metric, row)):
            ranks.setdefault(model, []).append(place)
    chosen = sorted(ranks, key=lambda model: fmean(ranks[model]))[:MAX_BARS]
    return [model for model in models if model in chosen]


def draw_bar(axes: Axes, x: float, width: float, score: Score, paint: str) -> None:
    """A bar with its deviation; a word where the score is infinite or undefined."""
    if math.isfinite(score.mean):
        error = score.deviation if math.isfinite(score.deviation) and score.deviation else None
        axes.bar(x, score.mean, width, color=paint, yerr=error, error_kw={"ecolor": INK, "elinewidth": 1})
    else:
        axes.annotate(score.mean_text, (x, 0), rotation=90, ha="center", va="bottom", color=paint)


def model_legend(axes: Axes, models: list[str], *more: Any) -> None:
    handles = [Patch(color=colour(models, model), label=text.figure(model)) for model in models]
    axes.legend(
        handles=[*handles, *more],
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=min(3, len(handles) + len(more)),
        frameon=False,
    )


def pitch_confusion(scores: Scores, task: str, folders: dict[str, Path]) -> Figure:
    """Predicted by true pitch, a panel a model, each true pitch's row summing to 1.

    Args:
        folders: model to its finished predictions of this task.
    """
    labels = scores.tasks[task].vocabulary
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.0 * len(folders) + 0.6, 3.4))
        panels = figure.subplots(1, len(folders), sharey=True, squeeze=False)[0]
        for axes, (model, folder) in zip(panels, folders.items(), strict=True):
            counts = np.zeros((len(labels), len(labels)))
            for target, predicted in test_answers(folder):
                np.add.at(counts, (target, predicted), 1)
            shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
            axes.imshow(shares, origin="lower", cmap="magma", vmin=0, vmax=1, interpolation="nearest")
            ticks = np.arange(0, len(labels), 12)
            axes.set_xticks(ticks, [text.figure(labels[tick]) for tick in ticks], fontsize=8)
            axes.set_yticks(ticks, [text.figure(labels[tick]) for tick in ticks], fontsize=8)
            octaves = sum(np.trace(counts, step) for step in range(12, len(labels), 12))
            octaves += sum(np.trace(counts, -step) for step in range(12, len(labels), 12))
            axes.set_title(text.figure(model), fontsize=10)
            right, wrong = np.trace(counts) / counts.sum(), octaves / counts.sum()
            axes.set_xlabel(f"predicted MIDI note\nright {right:.1%}, octave off {wrong:.1%}")
        panels[0].set_ylabel("true MIDI note")
    return figure


def test_answers(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """(true, predicted) class of the test clips, for each test split, of a multiclass task."""
    found = []
    for file in sorted(folder.glob("*.predictions.pkl")):
        answers = unpickle(file)
        found.append((answers["target"].argmax(1).numpy(), answers["prediction"].argmax(1).numpy()))
    return found


def event_scene(scores: Scores, task: str, folders: dict[str, Path]) -> Figure:
    """One test scene: what sounds (grey) and what each model heard (colour), by kind of event."""
    answers = {
        model: unpickle(next(iter(sorted(folder.glob("*.predictions.pkl")))))
        for model, folder in folders.items()
    }
    truth = next(iter(answers.values()))["target_events"]
    scene = sorted(truth)[0]
    labels = scores.tasks[task].vocabulary
    lane = 0.8 / (len(answers) + 1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 0.5 + len(labels) * (0.16 + 0.09 * len(answers))))
        axes = figure.subplots()
        named = {"truth": (truth[scene], "#8a8f98")}
        for model, answer in answers.items():
            named[model] = (answer["predicted_events"].get(scene, []), colour(scores.models, model))
        for number, (events, paint) in enumerate(named.values()):
            for event in events:
                place = labels.index(str(event["label"])) + 0.4 - (number + 0.5) * lane
                start_s, length_s = event["start"] / 1000, (event["end"] - event["start"]) / 1000
                axes.barh(place, length_s, 0.85 * lane, left=start_s, color=paint)
        for boundary in np.arange(0.5, len(labels) - 1):
            axes.axhline(boundary, color=INK, alpha=0.15, lw=0.8)
        axes.set_yticks(range(len(labels)), [text.figure(label) for label in labels])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-0.5, len(labels) - 0.5)
        last_s = max((event["end"] / 1000 for event in truth[scene]), default=SCENE_WINDOW_S)
        axes.set_xlim(0, min(SCENE_WINDOW_S, last_s + 1))
        axes.set_xlabel(f"seconds of {text.figure(scene)}")
        handles = [Patch(color=paint, label=text.figure(name)) for name, (_, paint) in named.items()]
        axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)
    return figure
