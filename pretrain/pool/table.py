"""The table of a pool, SOURCES.csv: what each folder of sounds is and where it came from."""

from __future__ import annotations

import csv
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
