"""A table of recordings, and `prepare csv` in a test."""

import csv
from pathlib import Path

from eval_tasks.__main__ import main
from eval_tasks.tasks.task_folder import TaskFolder


def write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def prepare(folder: Path, *options: str, kind: str = "scene", name: str = "birds.csv") -> int:
    arguments = ["--csv", str(folder / name), "--audio", str(folder / "audio"), "--name", "birds"]
    arguments += ["--type", kind, "--out", str(folder / "out"), "--jobs", "1", "--quiet", *options]
    return main(["prepare", "csv", *arguments])


def opened(folder: Path) -> TaskFolder:
    return TaskFolder.open(folder / "out" / "birds-v1-full")
