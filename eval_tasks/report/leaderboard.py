"""The public HEAR leaderboard: all scores, and what they say of a task in a few numbers.

``leaderboard.csv`` in this folder is made of the leaderboard's own table
(https://hearbenchmark.com/hear-leaderboard.html, its "download" link) by
``python -m eval_tasks.report.leaderboard TABLE.csv``: a row a task, a column a system, four digits, blanks
where a system has no score.
"""

from __future__ import annotations

import argparse
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path

import pandas as pd

from eval_tasks.tasks.registry import HearTask, hear_tasks
from eval_tasks.tasks.task_folder import TaskFolder

NAMED = ("Kuroyanagi hearline", "CREPE", "OpenL3", "wav2vec2", "CVSSP PANNS", "CP-JKU PaSST base")
SIZE_TOLERANCE = 0.01  # a stand-in of a published task's name is told by its size


def derive(table: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard's table (a row a system, a column a task) to a row a task."""
    scores = table.set_index("Model").drop(columns=["URL", "Submission Date"]).astype(float)
    return scores.T.rename_axis("task").rename_axis(columns=None).round(4)


@cache
def leaderboard() -> pd.DataFrame:
    """A row a column of the leaderboard, a column a system; not a number where a system has no score."""
    with resources.files("eval_tasks.report").joinpath("leaderboard.csv").open() as file:
        return pd.read_csv(file, index_col="task")


def reference_scores(column: str) -> dict[str, float]:
    """Best, median and a few named systems of one of the leaderboard's columns."""
    row = leaderboard().loc[column]
    named = {name: row[name] for name in NAMED if pd.notna(row[name])}
    numbers = {"leaderboard best": row.max(), "leaderboard median": row.median(), **named}
    return {name: float(value) for name, value in numbers.items()}


def clip_count(task: TaskFolder) -> int:
    """Clips of all splits. Many models have the same task: its files are read through once."""
    files = [task.path / f"{split}.json" for split in task.splits]
    if not all(file.is_file() for file in files):
        return sum(len(task.split(split)) for split in task.splits)  # which says what is missing
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    key = f"{task.is_event} {' '.join(hashes)}"
    if key not in _clip_counts:
        _clip_counts[key] = sum(len(task.split(split)) for split in task.splits)
    return _clip_counts[key]


_clip_counts: dict[str, int] = {}


def published_task(task: TaskFolder) -> HearTask | None:
    """The HEAR task that this folder is: by name, version, mode, splits and number of clips.

    None for a task of one's own, a stand-in, or a small excerpt of a published one.
    """
    for entry in hear_tasks():
        folders = entry.folders
        metadata = task.metadata
        if "-".join(str(metadata[key]) for key in ("task_name", "version", "mode")) not in folders:
            continue
        clips = clip_count(task)
        if task.name in folders and abs(clips - entry.clips) <= SIZE_TOLERANCE * entry.clips:
            return entry
    return None


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m eval_tasks.report.leaderboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", type=Path, metavar="TABLE.csv", help="the leaderboard's own table")
    table = parser.parse_args().table
    if not table.is_file():
        parser.error(f"{table}: no such file")
    derive(pd.read_csv(table)).to_csv(Path(__file__).with_name("leaderboard.csv"))


if __name__ == "__main__":
    main()
