"""``OUT/embeddings.jsonl``: a line for each result of ``embed``, with what it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MANIFEST = "embeddings.jsonl"
RECORD = {
    "output": str,
    "identity": str,
    "source_bytes": int,
    "source_mtime_ns": int,
}  # what a record must have


def read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    """The newest record of each result. A line that is no record, torn or edited, costs its file alone."""
    records = {}
    if path.is_file():
        for line in path.read_bytes().split(b"\n"):
            try:
                record = json.loads(line)
            except ValueError:  # no JSON, or no UTF-8
                continue
            if isinstance(record, dict) and all(isinstance(record.get(k), t) for k, t in RECORD.items()):
                records[record["output"]] = record
    return records


def is_torn(manifest: Path) -> bool:
    """Whether its last line has no end: the next record would be lost with it."""
    return manifest.stat().st_size > 0 and not manifest.read_bytes().endswith(b"\n")
