"""The table of a pool, SOURCES.csv: what each folder of sounds is and where it came from."""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

from pretrain.files import open_replacing

KINDS = ("speech", "effects", "notes", "music")
TABLE = "SOURCES.csv"
COLUMNS = ["source", "kind", "version", "files", "licence", "homepage"]
Rows = dict[str, dict[str, str | int]]


def read_table(dest: Path) -> Rows:
    """The rows of a pool's table by source; none where there is no table yet."""
    path = dest / TABLE
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as text:
        return {row["source"]: dict(row) for row in csv.DictReader(text)}


def write_table(dest: Path, rows: Rows) -> None:
    with open_replacing(dest / TABLE) as text:
        table = csv.DictWriter(text, COLUMNS)
        table.writeheader()
        table.writerows(rows[source] for source in sorted(rows))


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
