"""From raw data to a task folder in one call; what ``prepare`` does on the command line."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from eval_tasks.adapters import csv_table
from eval_tasks.adapters.build import build, is_made_from
from eval_tasks.adapters.plan import Plan
from eval_tasks.adapters.raw_data import DATA_SETS
from eval_tasks.errors import UserError
from eval_tasks.locks import lock_of, locked
from eval_tasks.tasks.archives import as_folders
from eval_tasks.tasks.resample import refuse_rates, resample_task
from eval_tasks.tasks.task_folder import METADATA_FILE, TaskFolder


class Adapter(Protocol):
    """What knows a kind of raw data.

    Attributes:
        about: what it takes and makes, for ``--help``.
        Options: the record of what it can be asked for.
    """

    about: str
    Options: Any

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def plan(self, folders: Sequence[Path], options: Any) -> Plan: ...


ADAPTERS: dict[str, Adapter] = {
    **{name: cast(Adapter, data_set) for name, data_set in DATA_SETS.items()},
    "csv": cast(Adapter, csv_table),
}


def make_task(
    adapter: Adapter,
    folders: Sequence[Path],
    options: Any,
    out: Path,
    sample_rates: Sequence[int] = (),
    jobs: int = 1,
    progress: bool = False,
) -> tuple[TaskFolder, bool]:
    """The task folder, and whether it was made now (False: it was there, and has been given these rates).

    Raises:
        UserError: see ``prepare``.
    """
    refuse_rates(sample_rates)
    plan = adapter.plan(folders, options)
    path = out / plan.folder_name
    with locked(lock_of(path)):
        if not (path / METADATA_FILE).is_file():
            return build(plan, out, sample_rates, jobs, progress), True
        task = TaskFolder.open(path)
        if not is_made_from(task, plan):
            raise UserError(f"{path} is there with other clips or labels: delete it, or give another --out")
        for rate in sample_rates:
            resample_task(task, rate, jobs=jobs, progress=progress)
        return task, False


def prepare(
    adapter: str,
    /,
    *,
    raw: Iterable[str | Path] = (),
    out: str | Path = "tasks",
    sample_rates: Sequence[int] = (),
    jobs: int = -1,
    progress: bool = False,
    **options: Any,
) -> TaskFolder:
    """Make a task folder from raw data, or open the one that was made of it before.

    >>> prepare("esc50", raw=["ESC-50-master.zip"], sample_rates=[16000])  # doctest: +SKIP

    Args:
        adapter: its name, such as ``esc50`` or ``csv``.
        raw: archives as published, or folders that hold what is in them.
        out: folder of task folders.
        sample_rates: in Hz; none stands for the raw data's own.
        jobs: processes; -1 is one for each core.
        progress: show a bar.
        options: the fields of the adapter's ``Options``: ``mode`` for the data sets of the benchmark.

    Raises:
        UserError: no such adapter or option, raw data that is not what the adapter knows, files that cannot
            be read, too little disk space, or a folder of that name that holds something else.
    """
    task, _ = prepared(adapter, raw, Path(out), sample_rates, jobs, progress, options)
    return task


def prepared(
    adapter: str,
    raw: Iterable[str | Path],
    out: Path,
    sample_rates: Sequence[int],
    jobs: int,
    progress: bool,
    options: Mapping[str, Any],
) -> tuple[TaskFolder, bool]:
    """What ``prepare`` returns, and whether it was made now."""
    if adapter not in ADAPTERS:
        raise UserError(f"no adapter {adapter!r}: expected one of {', '.join(ADAPTERS)}")
    chosen = ADAPTERS[adapter]
    known = [field.name for field in dataclasses.fields(chosen.Options)]
    if unknown := set(options) - set(known):
        raise UserError(f"{adapter} has no option {sorted(unknown)}: expected some of {', '.join(known)}")
    chosen_options = chosen.Options(**options)
    # Unpacked archives are kept until the task is done, so that a second run finds them.
    unpacked = out / f".raw-{adapter}"
    with locked(out / f".prepare-{adapter}.lock"):
        folders = as_folders(map(Path, raw), unpacked)
        done = make_task(chosen, folders, chosen_options, out, sample_rates, jobs, progress)
        shutil.rmtree(unpacked, ignore_errors=True)
    return done
