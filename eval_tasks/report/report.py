"""Tables, plots and one self-contained page from finished runs and probes.

Reads the OUT folders of `run` and `probe`, and writes report.md, scores.csv, report.html and figures/.
Beside the models stand chance and, for published HEAR tasks, the public leaderboard's best, median and
some of its systems. A folder counts as a published task if name, version, mode and number of clips are
the benchmark's: tasks of one's own are never set beside the leaderboard.

  python -m eval_tasks report results/ --out report/
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from eval_tasks.errors import UserError
from eval_tasks.files import write_text
from eval_tasks.report import html
from eval_tasks.report.table import Scores, display_names, gather, markdown_table, pipe_table
from eval_tasks.runs.results import ModelFolder, find_models

CHANCE = (
    "Chance is an answer that does not listen: one over the number of classes (pitch classes for chroma), "
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
    page = write_report(find_models(args.folders), args.out, args.title)
    print(f"wrote {page}, and report.md, scores.csv and figures/ beside it")
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
    sections, markdown = [], [f"# {title}\n", *subtitle(scores, "\n")]

    def drawing(name: str, figure: plots.Figure, caption: str) -> html.Drawing:
        plots.to_png(figure, out / "figures" / f"{name}.png")
        markdown.append(f"\n![{caption}](figures/{name}.png)\n")
        return html.Drawing(plots.to_svg(figure), caption)

    for number, protocol in enumerate(scores.protocols):
        about = PROTOCOLS[protocol.split(",")[0]] + " " + spread(protocol)
        markdown.append(f"\n## {protocol}\n\n{about}\n\n{markdown_table(scores, protocol)}")
        drawings = [drawing(f"bars-{number}", plots.bars(scores, protocol), f"Main scores, {protocol}")]
        if figure := plots.radar(scores, protocol):
            drawings.append(drawing(f"radar-{number}", figure, f"Main scores around, {protocol}"))
        sections.append(html.Section(protocol, about, html.table(scores, protocol) + html.figures(drawings)))

    for task, description in scores.tasks.items():
        predicted = latest_predictions(folders, scores.models, task)
        if not predicted:
            continue
        if "pitch_acc" in description.evaluation:
            heading, text = f"Pitches of {task}", "Rows are true notes; off the diagonal by 12 is an octave."
            figure = plots.pitch_confusion(scores, task, predicted)
        elif description.is_event:
            heading, text = f"A scene of {task}", "What sounds, and below it what each model heard."
            figure = plots.event_scene(scores, task, predicted)
        else:
            continue
        markdown.append(f"\n## {heading}\n\n{text}\n")
        sections.append(html.Section(heading, text, html.figures([drawing(f"detail-{task}", figure, task)])))

    header, rows = model_rows(folders, scores.models)
    markdown.append("\n## Models\n\n" + pipe_table([header, ["---"] * len(header), *rows]))
    sections.append(html.Section("Models", "", html.plain_table(header, rows)))
    scores.table.to_csv(out / "scores.csv", index=False)
    write_text(out / "report.md", "".join(markdown))
    write_text(out / "report.html", html.page(title, " ".join(subtitle(scores, "")), sections))
    return out / "report.html"


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
        seconds = sum(json.loads(file.read_text())["time_elapsed"] for file in profiles)
        weights = f"{Path(info['model']).name} {info['model_sha256'][:8]}" if info["model"] else "default"
        sizes = f"{info['scene_embedding_size']} / {info['timestamp_embedding_size']}"
        options = json.dumps(info["model_options"]) if info["model_options"] else ""
        rows.append([name, info["module"], options, weights, sizes, f"{seconds:.0f}"])
    return header, rows
