"""Is the harness here: asked before anything begins that needs it."""

from __future__ import annotations

import importlib.util
import sys

from eval_tasks.errors import UserError
from eval_tasks.install.check import INSTALL, installed
from eval_tasks.install.packages import HARNESS, lightning_trouble


def refuse_windows() -> None:
    """Say on Windows, in one sentence, where the suite runs.

    Raises:
        UserError: this is Windows.
    """
    if sys.platform == "win32":
        raise UserError(
            "heareval and what runs it here need Unix (fcntl, signals): use WSL; the plugin, hear-msss and "
            "`python -m pretrain pack` work on Windows itself"
        )


def require_harness() -> None:
    """Say what to do where the harness cannot work, before every task fails for it.

    Raises:
        UserError: heareval or hearvalidator is not installed, heareval cannot train with this version of
            pytorch-lightning, or this is Windows.
    """
    refuse_windows()
    absent = [name for name in HARNESS if importlib.util.find_spec(name) is None]
    if absent:
        raise UserError(f"{' and '.join(absent)} not installed here: run `{INSTALL}` first")
    if trouble := lightning_trouble(installed("pytorch-lightning")):
        raise UserError(f"{trouble}: run `{INSTALL}` first")
