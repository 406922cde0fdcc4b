"""pip or uv: what installs packages into the environment that this Python belongs to."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval_tasks.errors import UserError

TOOLS = ("pip", "uv")


@dataclass(frozen=True)
class Tool:
    """A command that installs.

    Attributes:
        name: ``pip`` or ``uv``.
        command: up to and with ``install``.
        any_python: options that let a package say it does not fit this Python. hearvalidator says so of every
            Python from 3.9 on; uv itself takes no notice of such upper limits.
    """

    name: str
    command: tuple[str, ...]
    any_python: tuple[str, ...] = ()

    def install(self, requirements: Sequence[str], options: Sequence[str] = ()) -> list[str]:
        return [*self.command, *options, *requirements]


def find_tool(name: str = "") -> Tool:
    """pip where this environment has it, otherwise uv; or the one that is named.

    Raises:
        UserError: it is not there, or the environment belongs to the operating system.
    """
    refuse_managed()
    has_pip = importlib.util.find_spec("pip") is not None
    uv = os.environ.get("UV") or shutil.which("uv")
    if name != "uv" and has_pip:
        command = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install")
        return Tool("pip", command, ("--ignore-requires-python",))
    if name != "pip" and uv:
        return Tool("uv", (uv, "pip", "install", "--python", sys.executable))
    raise UserError(
        f"no {name or 'pip and no uv'} for {sys.executable}: `python -m ensurepip` installs pip into this "
        "environment, and uv is a program that must be on PATH"
    )


def refuse_managed() -> None:
    """Refuse the operating system's own Python, as pip does, before anything is begun."""
    mark = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    if sys.prefix == sys.base_prefix and mark.exists():
        raise UserError(
            f"{sys.executable} belongs to the operating system: make an environment first "
            "(python3 -m venv .venv && . .venv/bin/activate, or uv venv) and install there"
        )


def call(command: Sequence[str]) -> None:
    """Run a command; its output stays visible.

    Raises:
        UserError: it failed.
    """
    status = subprocess.run(command).returncode
    if status:
        raise UserError(f"`{' '.join(command)}` ended with status {status}: see its own words above")
