"""The paper's Tables 1 and 2 from your own runs, next to the paper's figures.

OUT holds finished runs or probes whose --name is that of a config of pretrain: cola, clip_frame, clip_pitch,
full, full_cosine. Other models there follow as further rows. --sc, --dcase and --nsynth name the tasks that
stand for the paper's; without them the published ones are expected.

  python -m eval_tasks paper tables/ --sc my_words-v1-5h --dcase my_events-v1-full --nsynth my_notes-v1-5h
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from eval_tasks.errors import UserError
from eval_tasks.report.table import Scores, gather, pipe_table, score_text
from eval_tasks.report.text import markdown
from eval_tasks.runs.results import find_models
from eval_tasks.runs.scores import Score
from eval_tasks.tasks.registry import select_folders

# Column of the paper: option that names the task, metric.
COLUMNS = {
    "SC acc": ("sc", "top1_acc"),
    "DCASE F1": ("dcase", "event_onset_200ms_fms"),
    "NSynth pitch": ("nsynth", "pitch_acc"),
    "NSynth chroma": ("nsynth", "chroma_acc"),
}
# Option: the task's name in the benchmark, of which the first folder is the default.
TASKS = {"sc": "speech_commands", "dcase": "dcase2016_task2", "nsynth": "nsynth_pitch"}
# Config: the paper's figures in the order of the columns.
PAPER = {
    "cola": (0.459, 0.232, 0.434, 0.470),
    "clip_frame": (0.535, 0.344, 0.424, 0.462),
    "clip_pitch": (0.585, 0.244, 0.428, 0.463),
    "full": (0.572, 0.278, 0.452, 0.487),
    "full_cosine": (0.401, 0.094, 0.212, 0.238),
}
# Title to rows: config, and what the paper calls it there.
TABLES = {
    "Table 1": {
        "cola": "COLA (clip)",
        "clip_frame": "clip + frame",
        "clip_pitch": "clip + pitch",
        "full": "clip + frame + pitch",
    },
    "Table 2": {"full_cosine": "cosine similarity", "full": "bilinear similarity"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="--out of run and probe")
    for option, name in TASKS.items():
        published = select_folders([name])[0]
        parser.add_argument(
            f"--{option}", default=published, metavar="TASK", help="stands for %(default)s, its default"
        )


def run(args: argparse.Namespace) -> int:
    scores = gather(find_models([args.out]))
    tasks = {option: getattr(args, option) for option in TASKS}
    rows = [row for row in PAPER if row in scores.models]
    if len(rows) < 2:
        raise UserError(
            f"{args.out} holds {', '.join(scores.models)}: expected at least two of {', '.join(PAPER)} "
            "(the --name of `eval_tasks run`)"
        )
    missing = [task for task in tasks.values() if task not in scores.tasks]
    if missing:
        raise UserError(
            f"no results of {', '.join(missing)} in {args.out}: expected --sc, --dcase and --nsynth "
            f"among {', '.join(scores.tasks)}"
        )
    with_rows = set(scores.table["protocol"][scores.table["model"].isin(rows)])
    protocols = [protocol for protocol in scores.protocols if protocol in with_rows]
    print("\n".join(paper_tables(scores, protocol, tasks) for protocol in protocols), end="")
    return 0


def paper_tables(scores: Scores, protocol: str, tasks: Mapping[str, str]) -> str:
    """Both tables by one protocol, as Markdown; below each, how far its rows are in the paper's order."""
    found = scores.of(protocol)
    columns = [found.get((tasks[option], metric), {}) for option, metric in COLUMNS.values()]
    others = [model for model in scores.models if model not in PAPER]
    header = [
        "",
        *(cell for name in COLUMNS for cell in (f"{name}: {markdown(short(name, tasks))}", "paper")),
    ]
    text = f"## {protocol}\n"
    for title, names in TABLES.items():
        rows = [row for row in names if row in scores.models]
        lines = [header, ["---"] + ["---:"] * (len(header) - 1)]
        for row in rows + (others if title == "Table 1" else []):
            ours = [score_text(column.get(row)) for column in columns]
            papers = [f"{figure:.3f}" for figure in PAPER.get(row, ())] or [""] * len(ours)
            cells = [text for pair in zip(ours, papers, strict=True) for text in pair]
            lines.append([names.get(row, markdown(row)), *cells])
        agreed = ", ".join(
            f"{name} {agreement(rows, column, place)}"
            for place, (name, column) in enumerate(zip(COLUMNS, columns, strict=True))
        )
        text += f"\n{title}\n\n{pipe_table(lines)}\nPairs of rows in the paper's order: {agreed}.\n"
    return text


def short(column: str, tasks: Mapping[str, str]) -> str:
    return tasks[COLUMNS[column][0]].split("-")[0]


def agreement(rows: list[str], column: Mapping[str, Score], place: int) -> str:
    """Of the pairs of rows that have scores, those that differ in the paper's direction: "3 of 6"."""
    pairs = list(combinations([row for row in rows if row in column], 2))
    same = sum((column[a].mean - column[b].mean) * (PAPER[a][place] - PAPER[b][place]) > 0 for a, b in pairs)
    return f"{same} of {len(pairs)}"
