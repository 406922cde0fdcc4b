"""Tables, plots and one self-contained page from finished runs and probes.

Reads the OUT folders of `run` and `probe`, and writes report.md, scores.csv, report.html and figures/.
Tables include chance. For published HEAR tasks they also include the best and the median score of the
public leaderboard and those of some of its systems. A folder counts as a published task if name, version,
mode and number of clips are the benchmark's: your own tasks are never compared with the leaderboard.

  python -m eval_tasks report results/ --out report/
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eval_tasks.errors import UserError
from eval_tasks.files import read_json, write_text
from eval_tasks.locks import locked
from eval_tasks.report import html
from eval_tasks.report.table import Scores, display_names, gather, markdown_table, pipe_table
from eval_tasks.report.text import csv_cell, markdown
from eval_tasks.runs.results import ModelFolder, find_models
from eval_tasks.runs.scores import as_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHANCE = (
    "Chance ignores the audio: one over the number of classes (pitch classes for chroma), "
    "the share of positives for mAP, and for event tasks no event at all."
)
LEADERBOARD = (
    "Leaderboard columns: the public HEAR leaderboard (hearbenchmark.com), made with heareval's default grid."
)
NO_LEADERBOARD = (
    "None of these tasks is a published HEAR task, so the public leaderboard's numbers do not apply to them."
)
PROTOCOLS = {
    "heareval": "The unmodified HEAR harness: a small network chosen on the validation split.",
    "probe": "The paper's own protocol: one fully connected layer on frozen embeddings.",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="OUT of run, or models in it")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the report goes")
    parser.add_argument("--title", default="HEAR evaluation", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    with locked(args.out / ".lock"):
        page = write_report(find_models(args.folders), args.out, args.title)
    print(f"wrote {page}, and report.md, scores.csv and figures/ in the same folder")
    return 0


def write_report(models: Sequence[ModelFolder], out: Path, title: str = "HEAR evaluation") -> Path:
    """Write the whole report into ``out`` and return its HTML page.

    Raises:
        UserError: the models have no scores yet.
    """
    from eval_tasks.report import plots

    scores = gather(models)
    if not len(scores.table):
        raise UserError(
            "no finished predictions or probes in these folders: `python -m eval_tasks run` first"
        )
    folders = dict(zip(display_names(models), models, strict=True))
    out.mkdir(parents=True, exist_ok=True)
    (out / "figures").mkdir(exist_ok=True)
    sections, lines = [], [f"# {markdown(title)}\n", *subtitle(scores, "\n")]

    def drawing(name: str, figure: plots.Figure, caption: str) -> html.Drawing:
        plots.to_png(figure, out / "figures" / f"{name}.png")
        lines.append(f"\n![{markdown(caption)}](figures/{name}.png)\n")
        return html.Drawing(plots.to_svg(figure), caption)

    for number, protocol in enumerate(scores.protocols):
        about = PROTOCOLS[protocol.split(",")[0]] + " " + spread(protocol)
        lines.append(f"\n## {markdown(protocol)}\n\n{about}\n\n{markdown_table(scores, protocol)}")
        drawings = [drawing(f"bars-{number}", plots.bars(scores, protocol), f"Main scores, {protocol}")]
        sections.append(html.Section(protocol, about, html.table(scores, protocol) + html.figures(drawings)))

    for number, task in enumerate(scores.tasks):
        if detail := task_detail(scores, task, folders):
            lines.append(f"\n## {markdown(detail.heading)}\n\n{detail.text}\n")
            shown = html.figures([drawing(f"detail-{number}", detail.figure, task)])
            sections.append(html.Section(detail.heading, detail.text, shown))

    header, rows = model_rows(folders, scores.models)
    cells = [[markdown(cell) for cell in row] for row in rows]
    lines.append("\n## Models\n\n" + pipe_table([header, ["---"] * len(header), *cells]))
    sections.append(html.Section("Models", "", html.plain_table(header, rows)))
    write_text(out / "scores.csv", csv_text(scores))
    write_text(out / "report.md", "".join(lines))
    write_text(out / "report.html", html.page(title, " ".join(subtitle(scores, "")), sections))
    return out / "report.html"


def csv_text(scores: Scores) -> str:
    """All scores as CSV, with names as text."""
    table = scores.table.copy()
    for column in ("protocol", "task", "metric", "model"):
        table[column] = table[column].map(csv_cell)
    return str(table.to_csv(index=False, na_rep="nan"))


class Detail(NamedTuple):
    """A closer look at the answers to one task."""

    heading: str
    text: str
    figure: Figure


def task_detail(scores: Scores, task: str, folders: dict[str, ModelFolder]) -> Detail | None:
    """Notes heard for notes played, or a scene of events; None for other tasks and without predictions.

    Raises:
        UserError: predictions that heareval does not write.
    """
    from eval_tasks.report import plots

    description = scores.tasks[task]
    predicted = latest_predictions(folders, scores.models, task)
    if not predicted:
        return None
    try:
        if "pitch_acc" in description.evaluation:
            text = "Rows are true notes; off the diagonal by 12 is an octave."
            return Detail(f"Pitches of {task}", text, plots.pitch_confusion(scores, task, predicted))
        if description.is_event:
            text = "What sounds, and below it what each model heard."
            return Detail(f"A scene of {task}", text, plots.event_scene(scores, task, predicted))
    except (ArithmeticError, AttributeError, LookupError, StopIteration, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        files = ", ".join(map(str, predicted.values()))
        raise UserError(f"predictions that heareval does not write ({error!r}), in {files}") from None
    return None


def subtitle(scores: Scores, end: str) -> list[str]:
    known = len(scores.reference_names) > 1
    count = f"Models: {len(scores.models)}, tasks: {len(scores.tasks)}."
    return [f"{count}{end}", f"{CHANCE}{end}", f"{LEADERBOARD if known else NO_LEADERBOARD}{end}"]


def spread(protocol: str) -> str:
    what = "folds, where a task has folds" if protocol.startswith("heareval") else "seeds"
    return f"After ±: the deviation over {what}. Of several models the best is in bold."


def latest_predictions(folders: dict[str, ModelFolder], models: list[str], task: str) -> dict[str, Path]:
    """Model to its finished predictions of a task; of several grids the largest."""
    found = {}
    for model in models:
        grids = folders[model].predictions()
        for grid in sorted(grids, key=lambda name: ("faster" in name, "fast" in name, name)):
            if task in grids[grid]:
                found[model] = grids[grid][task]
                break
    return found


def elapsed_s(profile: Path) -> float:
    """Seconds that the embeddings of a task took, from heareval's own profile; 0 where there is none."""
    value = read_json(profile).get("time_elapsed", 0.0) if profile.is_file() else 0.0
    return as_number("time_elapsed", value)


def model_rows(folders: dict[str, ModelFolder], models: list[str]) -> tuple[list[str], list[list[str]]]:
    """What each model is, and how long its embeddings took."""
    header = [
        "model",
        "module",
        "options",
        "weights",
        "scene / timestamp size",
        "embeddings, s without start-up",
    ]
    rows = []
    for name in models:
        model = folders[name]
        info = model.info
        profiles = [folder / "profile.embeddings.json" for folder in model.embeddings().values()]
        seconds = sum(elapsed_s(file) for file in profiles)
        weights = f"{Path(info['model']).name} {info['model_sha256'][:8]}" if info["model"] else "default"
        sizes = f"{info['scene_embedding_size']} / {info['timestamp_embedding_size']}"
        options = json.dumps(info["model_options"]) if info["model_options"] else ""
        rows.append([name, info["module"], options, weights, sizes, f"{seconds:.0f}"])
    return header, rows
