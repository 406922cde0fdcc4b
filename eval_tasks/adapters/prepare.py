"""Make task folders from raw data, the same ones that hear-preprocess makes, or from a CSV file.

  python -m eval_tasks prepare ADAPTER --help    explains an adapter: esc50, fsd50k, nsynth, ...,
                                                 or csv for recordings of your own
  python -m eval_tasks prepare --all FOLDER      every task of the benchmark whose raw data is in FOLDER
  python -m eval_tasks list                      where the raw data is published

Clips become mono 16-bit WAV, cut or padded at the end to the task's length, at the raw data's own sample
rate or at those of --sample-rate. Splits and subsets follow HEAR's rules and are the same every time.
The task folder appears in --out when the last clip is in it. A run that was stopped or killed leaves
<task>.partial there, and the same command continues from there.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from eval_tasks.adapters.make import ADAPTERS, prepared
from eval_tasks.adapters.prepare_all import prepare_all
from eval_tasks.errors import UserError


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("tasks"), metavar="DIR", help="folder of task folders"
    )
    parser.add_argument(
        "--sample-rate",
        type=int,
        nargs="+",
        default=[],
        metavar="HZ",
        help="rates to make (default: the raw data's own)",
    )
    parser.add_argument(
        "--jobs", type=int, default=-1, metavar="N", help="processes (default: one for each core)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="where the raw data's archives are")
    parser.add_argument(
        "--small", action="store_true", help="with --all: take hear-preprocess's cut-down archives"
    )
    add_common_arguments(parser)
    adapters = parser.add_subparsers(dest="adapter", metavar="ADAPTER")
    for name, adapter in ADAPTERS.items():
        of_its_own = adapters.add_parser(
            name, description=adapter.about, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name != "csv":
            of_its_own.add_argument(
                "--raw",
                type=Path,
                nargs="+",
                required=True,
                metavar="PATH",
                help="archives as published, or folders that hold what is in them",
            )
        adapter.add_arguments(of_its_own)
        add_common_arguments(of_its_own)


def run(args: argparse.Namespace) -> int:
    if (args.all is None) == (args.adapter is None):
        raise UserError(f"give --all FOLDER or one adapter of {', '.join(ADAPTERS)}")
    if args.all:
        return run_all(args)
    fields = [field.name for field in dataclasses.fields(ADAPTERS[args.adapter].Options)]
    options = {name: getattr(args, name) for name in fields}
    task, made = prepared(
        args.adapter,
        getattr(args, "raw", []),
        args.out,
        args.sample_rate,
        args.jobs,
        not args.quiet,
        options,
    )
    if not made:
        print(f"{task.path}: already there")
    counts = ", ".join(f"{split} {len(task.split(split))}" for split in task.splits)
    print(f"{task.path}: {counts}; {len(task.vocabulary)} labels; {task.sample_rates} Hz")
    return 0


def run_all(args: argparse.Namespace) -> int:
    """The exit status is 1 if a task failed; raw data that is not there is named, and no failure."""
    states = []
    for outcome in prepare_all(args.all, args.out, args.sample_rate, args.small, args.jobs):
        print(f"{outcome.name}: {outcome.state}: {outcome.detail}", flush=True)
        states.append(outcome.state)
    there, failed, missing = (
        sum(state in which for state in states)
        for which in (("made", "already there"), ("failed",), ("missing",))
    )
    print(f"{there} tasks are in {args.out}, {failed} failed, {missing} without their raw data")
    return 1 if failed else 0
