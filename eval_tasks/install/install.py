"""Bring the unmodified heareval and hearvalidator into this environment, with all that they need.

They pin versions of 2021 and a Python below 3.9, so a plain `pip install heareval` fails on any current
Python. This verb installs both without their dependencies, then what they import, in versions that work
(eval_tasks/install/packages.py says which and why), with pip or uv. It writes `heareval_environment` into
site-packages: that sets, for heareval's runners alone, what torch must be told, and where TensorFlow is not
installed it offers the two packages a stand-in for it, which is all that torch modules need. Modules that
are written in TensorFlow need --tensorflow. The real TensorFlow, where it is installed, always wins.

Run again, it changes nothing that is right already. At the end it checks what it did; --check does that
alone, changes nothing, and says what to do about each finding.

  pip install '.[eval]' && python -m eval_tasks install
  python -m eval_tasks install --check
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eval_tasks.errors import UserError
from eval_tasks.install import packages, startup, torchaudio_fit
from eval_tasks.install.check import print_findings
from eval_tasks.install.present import refuse_windows
from eval_tasks.install.tool import TOOLS, Tool, call, find_tool


@dataclass(frozen=True)
class Step:
    """One thing that the installation does, and how it is told."""

    text: str
    do: Callable[[], None]


def has_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.version.cuda is not None


def command_step(command: list[str]) -> Step:
    return Step(shlex.join(command), lambda: call(command))


def plan(tool: Tool, tensorflow: bool, constraint: Path | None, quiet: bool) -> list[Step]:
    """What is to be done, in order."""
    silence = ["--quiet"] if quiet else []
    wanted = packages.requirements()
    if tensorflow:
        wanted.append(packages.tensorflow_requirement(has_cuda()))
    limits = [] if constraint is None else ["--constraint", str(constraint)]
    alone = ["--no-deps"]
    where = startup.folder()
    steps = [
        command_step(tool.install(wanted, [*silence, *limits])),
        command_step(tool.install(packages.ALONE, [*silence, *limits, *alone])),
        command_step(tool.install(packages.harness_requirements(), [*silence, *alone, *tool.any_python])),
        Step(f"write {where / startup.PACKAGE} and {startup.PACKAGE}.pth", lambda: startup.write(where)),
    ]
    if torchaudio_fit.extensions() is not None:
        what = "delete torchaudio's extensions, if torchaudio does not import with this torch"
        steps.append(Step(what, lambda: print(torchaudio_fit.make_it_fit() or "torchaudio imports as it is")))
    return steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--check", action="store_true", help="change nothing: say what works here, and what to do if not")
    add("--dry-run", action="store_true", help="say what would be done, and do nothing")
    add("--tensorflow", action="store_true", help="install the real TensorFlow, for modules written in it")
    add("--tool", choices=TOOLS, default="", help="what installs (default: pip if it is here, otherwise uv)")
    add("--quiet", action="store_true", help="say what is done, and of the check only what is wrong")
    add("--constraint", type=Path, metavar="FILE", help="exact versions, as pip's --constraint")


def run(args: argparse.Namespace) -> int:
    refuse_windows()
    if args.check:
        return print_findings(args.quiet)
    if not packages.python_fits():
        oldest, newest = (".".join(map(str, version)) for version in packages.PYTHONS)
        raise UserError(f"this is Python {sys.version.split()[0]}: expected {oldest} to {newest}")
    if args.constraint and not args.constraint.is_file():
        raise UserError(f"--constraint {args.constraint}: no such file")
    for step in plan(find_tool(args.tool), args.tensorflow, args.constraint, args.quiet):
        print(f"would {step.text}" if args.dry_run else f"+ {step.text}", flush=True)
        if not args.dry_run:
            step.do()
    return 0 if args.dry_run else print_findings(args.quiet)
