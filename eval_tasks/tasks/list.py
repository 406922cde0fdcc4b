"""The 19 tasks of the HEAR benchmark, how each can be had, and which of them are here.

Names as the other verbs take them, how each is split, its clips, its main score, and the sample rates
found in --tasks. Task folders there that are not the benchmark's are listed below the table. Each task can
be had as an archive at 48 kHz (`download`), or be made of its raw data at any rate (`prepare`): the second
table says by which adapter, how large the raw data is, under which licence, and where it is published.

  python -m eval_tasks list --tasks tasks/
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from eval_tasks.adapters.raw_data import raw_data, raw_data_of
from eval_tasks.errors import UserError
from eval_tasks.tasks.registry import hear_tasks, published
from eval_tasks.tasks.task_folder import METADATA_FILE, TaskFolder, task_paths


def rates_here(folder: Path) -> list[int] | str | None:
    """Sample rates in Hz of a task folder; None where there is none, words where it is broken."""
    try:
        return TaskFolder.open(folder).sample_rates if (folder / METADATA_FILE).is_file() else None
    except UserError:
        return "broken, see check"


def describe_rates(rates: list[int] | str | None) -> str:
    if rates is None or isinstance(rates, str):
        return rates or "-"
    return ", ".join(f"{rate / 1000:g} kHz" for rate in rates) or "no audio"


def other_folders(tasks_dir: Path) -> list[Path]:
    """Task folders that are not the benchmark's."""
    try:
        return [folder for folder in task_paths([tasks_dir]) if not published(folder.name)]
    except UserError:
        return []


def raw_data_table() -> Table:
    """Where the tasks' raw data is published."""
    table = Table(box=None, pad_edge=False)
    for heading in ("raw data", "adapters of prepare"):
        table.add_column(heading, no_wrap=True)
    table.add_column("GB", justify="right")
    for heading in ("licence", "published at"):
        table.add_column(heading, no_wrap=True)
    for raw in raw_data():
        size = "?" if raw.size_gb is None else f"{raw.size_gb:g}"
        table.add_row(raw.title, ", ".join(raw.adapters), size, raw.licence, raw.url)
    return table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tasks", type=Path, default=Path("tasks"), metavar="DIR", help="folder of task folders"
    )
    parser.add_argument("--json", action="store_true", help="print JSON for other programs")


def run(args: argparse.Namespace) -> int:
    present = {f: rates_here(args.tasks / f) for task in hear_tasks() for f in task.folders}
    others = {folder.name: rates_here(folder) for folder in other_folders(args.tasks)}
    if args.json:
        tasks = [
            {
                **asdict(task),
                "sample_rates": {folder: present[folder] for folder in task.folders},
                "raw_data": asdict(raw) if (raw := raw_data_of(task.folders[0])) else None,
            }
            for task in hear_tasks()
        ]
        print(json.dumps({"tasks": tasks, "others": others}))
        return 0
    table = Table(box=None, pad_edge=False)
    for heading in ("task", "folder", "type", "splits"):
        table.add_column(heading, no_wrap=True)
    for heading in ("clip s", "clips", "hours"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("score", "here"):
        table.add_column(heading, no_wrap=True)
    for task in hear_tasks():
        for number, folder in enumerate(task.folders):
            table.add_row(
                "" if number else task.title,
                folder,
                f"{task.embedding}, {task.prediction}",
                task.splits,
                "varies" if task.clip_s is None else f"{task.clip_s:g}",
                str(task.clips),
                f"{task.hours:g}",
                task.score,
                describe_rates(present[folder]),
            )
    # The width of the longest row, so that a pipe or a narrow terminal cuts nothing.
    console = Console(width=180)
    console.print(table)
    console.print()
    console.print(raw_data_table())
    here = sum(rates is not None for rates in present.values())
    console.print(
        f"\n{here} of {len(present)} folders of {len(hear_tasks())} tasks are in {args.tasks}", markup=False
    )
    for name, rates in others.items():
        console.print(f"  besides: {name} ({describe_rates(rates)})", markup=False)
    return 0
