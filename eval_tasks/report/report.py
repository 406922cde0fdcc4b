"""Tables, plots and one self-contained page from finished runs and probes.

Reads the OUT folders of `run` and `probe`, and writes report.md, scores.csv, report.html and figures/.
Tables include chance. For published HEAR tasks they also include the best and the median score of the
public leaderboard and those of some of its systems, and each model's rank by the leaderboard's normalised
score. A folder counts as a published task if name, version, mode and number of clips are the benchmark's:
your own tasks are never compared with the leaderboard.

The best score is in bold only where it is clearly the best: where the 95 % interval of its difference from
the next best, by a paired bootstrap over the test clips, leaves out 0. --compare prints the differences
between two models of your choice.

  python -m eval_tasks report results/ --out report/
  python -m eval_tasks report results/ --out report/ --compare mine theirs
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eval_tasks.errors import UserError
from eval_tasks.files import write_text
from eval_tasks.locks import locked
from eval_tasks.metrics import metric_name
from eval_tasks.report import html
from eval_tasks.report.differences import Difference, Key, clearly_best, differences
from eval_tasks.report.models import HEADER, model_rows
from eval_tasks.report.standing import Standing, published_scores, standing
from eval_tasks.report.summary import STANDINGS, STANDINGS_HEADER, standing_rows, summary
from eval_tasks.report.table import Scores, display_names, gather, markdown_table, pipe_table
from eval_tasks.report.text import csv_cell, markdown
from eval_tasks.report.titles import protocol_title, task_title
from eval_tasks.runs.results import ModelFolder, find_models

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
    "heareval": "The unmodified HEAR harness: a small network chosen on the validation split. After ±: the "
    "deviation over folds, where a task has folds. Bold: clearly better than the next best, see Differences.",
    "probe": "The paper's own protocol: one fully connected layer on frozen embeddings. After ±: the "
    "deviation over seeds. Nothing is in bold, as the probe keeps no answers of single clips to compare.",
}
DIFFERENCES = (
    "A paired bootstrap over the test clips: both models are scored on the same clips, drawn with "
    "replacement. The interval holds the middle 95 % of the differences; where it holds 0, other test clips "
    "could have turned the order around. It does not cover the randomness of training the predictors."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="OUT of run, or models in it")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the report goes")
    parser.add_argument("--title", default="HEAR evaluation", help="default: %(default)s")
    parser.add_argument(
        "--compare", nargs=2, metavar="MODEL", help="differences between these (default: best and next best)"
    )


def run(args: argparse.Namespace) -> int:
    with locked(args.out / ".lock"):
        page = write_report(find_models(args.folders), args.out, args.title, args.compare)
    print(f"wrote {page}, and report.md, scores.csv and figures/ in the same folder")
    return 0


class Report:
    """The Markdown and the HTML of a report, which grow section by section, and its figures."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.lines: list[str] = []
        self.sections: list[html.Section] = []

    def add(self, title: str, text: str, in_markdown: str, in_html: str) -> None:
        self.lines.append(f"\n## {markdown(title)}\n\n{text}\n\n{in_markdown}")
        self.sections.append(html.Section(title, text, in_html))

    def add_table(self, title: str, text: str, header: list[str], rows: list[list[str]]) -> None:
        cells = [[markdown(cell) for cell in row] for row in rows]
        self.add(
            title, text, pipe_table([header, ["---"] * len(header), *cells]), html.plain_table(header, rows)
        )

    def draw(self, name: str, figure: Figure, caption: str) -> tuple[str, str]:
        """Save a figure, and return what shows it in Markdown and in HTML."""
        from eval_tasks.report import plots

        plots.to_png(figure, self.out / "figures" / f"{name}.png")
        shown = html.figures([html.Drawing(plots.to_svg(figure), caption)])
        return f"\n![{markdown(caption)}](figures/{name}.png)\n", shown


def write_report(
    models: Sequence[ModelFolder],
    out: Path,
    title: str = "HEAR evaluation",
    compare: Sequence[str] | None = None,
) -> Path:
    """Write the whole report into ``out`` and return its HTML page.

    Args:
        compare: two models whose differences are shown; of each score the best and the next best by default.

    Raises:
        UserError: the models have no scores yet, or ``compare`` names no two of them.
    """
    scores = gather(models)
    if not len(scores.table):
        raise UserError(
            "no finished predictions or probes in these folders: `python -m eval_tasks run` first"
        )
    if compare and (len(set(compare)) != 2 or not set(compare) <= set(scores.models)):
        raise UserError(f"--compare {' '.join(compare)}: expected two of {', '.join(scores.models)}")
    folders = dict(zip(display_names(models), models, strict=True))
    (out / "figures").mkdir(parents=True, exist_ok=True)
    best_less_next = differences(scores)
    bold = clearly_best(scores, best_less_next)
    shown = differences(scores, (compare[0], compare[1])) if compare else best_less_next
    standings = leaderboard_standings(folders)

    report = Report(out)
    add_scores(report, scores, bold)
    if shown:
        report.add_table("Differences", DIFFERENCES, DIFFERENCES_HEADER, difference_rows(scores, shown))
    if standings:
        report.add_table("Leaderboard", STANDINGS, STANDINGS_HEADER, standing_rows(standings))
    add_details(report, scores, folders)
    rows = model_rows(folders, scores.models, scores.tasks)
    report.add_table("Models", "", HEADER, rows)

    top = summary(scores, bold, standings, [row[-1] for row in rows])
    head = [f"# {markdown(title)}\n", *(f"\n{markdown(line)}\n" for line in top), f"\n{subtitle(scores)}\n"]
    write_text(out / "scores.csv", csv_text(scores))
    write_text(out / "report.md", "".join([*head, *report.lines]))
    write_text(out / "report.html", html.page(title, top, subtitle(scores), report.sections))
    return out / "report.html"


def leaderboard_standings(folders: Mapping[str, ModelFolder]) -> dict[str, Standing]:
    """Model to its standing among the leaderboard's systems, where it has published tasks."""
    published = {name: published_scores(model)[0] for name, model in folders.items()}
    return {name: standing(found) for name, found in published.items() if found}


def add_scores(report: Report, scores: Scores, bold: Mapping[Key, str]) -> None:
    """A section a protocol: the table and the bars."""
    from eval_tasks.report import plots

    for number, protocol in enumerate(scores.protocols):
        title = protocol_title(protocol)
        caption = f"Main scores. {title}"
        if (count := len(scores.models_of(protocol))) > plots.MAX_BARS:
            caption += f" ({plots.MAX_BARS} of {count} models: the best by their mean rank)"
        image, figure = report.draw(f"bars-{number}", plots.bars(scores, protocol), caption)
        in_markdown = markdown_table(scores, protocol, bold) + image
        text = PROTOCOLS[protocol.split(",")[0]]
        report.add(title, text, in_markdown, html.table(scores, protocol, bold) + figure)


DIFFERENCES_HEADER = ["protocol", "task", "score", "first", "second", "first - second", "95 % interval"]


def difference_rows(scores: Scores, shown: Mapping[Key, Difference]) -> list[list[str]]:
    """Main scores only: a table of all would repeat itself."""
    rows = []
    for (protocol, task, metric), found in shown.items():
        if metric == scores.main_metric(task):
            interval = (
                f"none: {found.why_none}" if found.why_none else f"{found.low:+.3f} to {found.high:+.3f}"
            )
            value = f"{found.value:+.3f}"
            rows.append(
                [
                    protocol_title(protocol),
                    task,
                    metric_name(metric),
                    found.first,
                    found.second,
                    value,
                    interval,
                ]
            )
    return rows


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


def add_details(report: Report, scores: Scores, folders: Mapping[str, ModelFolder]) -> None:
    """A closer look at the answers, where there is one for a kind of task."""
    for number, task in enumerate(scores.tasks):
        if detail := task_detail(scores, task, folders):
            image, figure = report.draw(f"detail-{number}", detail.figure, detail.heading)
            report.add(detail.heading, detail.text, image, figure)


def task_detail(scores: Scores, task: str, folders: Mapping[str, ModelFolder]) -> Detail | None:
    """Notes heard for notes played, or a scene of events; None for other tasks and without predictions.

    Raises:
        UserError: predictions that heareval does not write.
    """
    from eval_tasks.report import plots

    description = scores.tasks[task]
    predicted = latest_predictions(folders, scores.models, task)
    if not predicted:
        return None
    some = f" The last {plots.MAX_PANELS} models." if len(predicted) > plots.MAX_PANELS else ""
    predicted = dict(list(predicted.items())[-plots.MAX_PANELS :])
    title = task_title(description)
    try:
        if "pitch_acc" in description.evaluation:
            text = "Rows are true notes; off the diagonal by 12 is an octave." + some
            return Detail(f"Pitches: {title}", text, plots.pitch_confusion(scores, task, predicted))
        if description.is_event:
            text = "What sounds, and below it what each model heard." + some
            return Detail(f"One scene: {title}", text, plots.event_scene(scores, task, predicted))
    except (ArithmeticError, AttributeError, LookupError, StopIteration, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        files = ", ".join(map(str, predicted.values()))
        raise UserError(f"predictions that heareval does not write ({error!r}), in {files}") from None
    return None


def subtitle(scores: Scores) -> str:
    return f"{CHANCE} {LEADERBOARD if len(scores.reference_names) > 1 else NO_LEADERBOARD}"


def latest_predictions(folders: Mapping[str, ModelFolder], models: list[str], task: str) -> dict[str, Path]:
    """Model to its finished predictions of a task; of several grids the largest."""
    found = {}
    for model in models:
        grids = folders[model].predictions()
        for grid in sorted(grids, key=lambda name: ("faster" in name, "fast" in name, name)):
            if task in grids[grid]:
                found[model] = grids[grid][task]
                break
    return found
