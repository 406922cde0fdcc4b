"""Every task of the benchmark whose raw data is found in a folder, several at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval_tasks.adapters.make import ADAPTERS, make_task
from eval_tasks.adapters.raw_data import RawData, raw_data
from eval_tasks.errors import UserError
from eval_tasks.tasks.archives import as_folders
from eval_tasks.workers import at_once, in_processes


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        name: of the task folder.
        state: made, already there, missing or failed.
        detail: clips of each split; what is missing; what went wrong.
    """

    name: str
    state: str
    detail: str


def prepare_all(
    folder: Path, out: Path, sample_rates: Sequence[int] = (), small: bool = False, jobs: int = -1
) -> Iterator[Outcome]:
    """Make the tasks, and say of each what became of it, as soon as that is known.

    Args:
        folder: of archives as published, or of their folders; they may also lie one folder deeper.
        out: folder of task folders.
        sample_rates: in Hz; none stands for the raw data's own.
        small: look for hear-preprocess's cut-down archives, and make the small tasks.
        jobs: processes; -1 is one for each core. Tasks of the same raw data are made one after another.

    Raises:
        UserError: no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, expected one with the raw data's archives")
    complete = []
    for entry in raw_data():
        found, missing = entry.look_in(folder, small)
        if missing:
            for data_set, mode in entry.tasks(small):
                name = data_set.folder_name(mode)
                yield Outcome(name, "missing", f"{', '.join(missing)} of {entry.title}, from {entry.url}")
        else:
            complete.append((entry, found))
    tasks_at_once = at_once(jobs, len(complete))
    processes = (os.cpu_count() or 1) if jobs < 0 else jobs
    each = max(1, processes // tasks_at_once)
    calls = [(entry, found, out, sample_rates, small, each) for entry, found in complete]
    for outcomes in in_processes(make_tasks_of, calls, tasks_at_once, lambda entry, *rest: entry.title):
        yield from outcomes


def make_tasks_of(
    entry: RawData, found: Sequence[Path], out: Path, sample_rates: Sequence[int], small: bool, jobs: int
) -> list[Outcome]:
    """The tasks of one data set, whose archives are unpacked once for all of them."""
    unpacked = out / f".raw-{'-'.join(entry.adapters)}"
    outcomes: list[Outcome] = []
    for data_set, mode in entry.tasks(small):
        name, adapter = data_set.folder_name(mode), ADAPTERS[data_set.name]
        try:
            folders = as_folders(found, unpacked)
            task, made = make_task(adapter, folders, adapter.Options(mode), out, sample_rates, jobs)
        except UserError as error:
            outcomes.append(Outcome(name, "failed", str(error)))
        else:
            counts = ", ".join(f"{split} {len(task.split(split))}" for split in task.splits)
            outcomes.append(Outcome(name, "made" if made else "already there", counts))
    if all(outcome.state != "failed" for outcome in outcomes):
        shutil.rmtree(unpacked, ignore_errors=True)
    return outcomes
