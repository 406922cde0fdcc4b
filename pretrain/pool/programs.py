"""Other programs, such as git and dpkg-deb: whether they are here, and what they print."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def call(*command: str | Path, cwd: Path | None = None, given: str | None = None) -> str:
    """Output of a command.

    Args:
        command: program and arguments.
        cwd: folder to run it in.
        given: what it reads from its standard input.

    Raises:
        RuntimeError: it failed; with the last line of what it said.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, input=given, capture_output=True, text=True, errors="surrogateescape"
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(f"{command[0]}: {said[-1]}")
    return done.stdout


def require(*tools: str, remedy: str) -> None:
    """Raises FileNotFoundError where a program is missing."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise FileNotFoundError(f"{', '.join(missing)} not found: {remedy}")
