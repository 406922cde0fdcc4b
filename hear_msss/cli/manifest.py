"""``embeddings.jsonl``: a line for each embedded sound, from which a repeated command knows what is done.

Each part of a collection (``--part``) has a manifest of its own; all of them are read. Merging them is
writing them one after the other, in any order, into ``embeddings.jsonl``. Each line holds the number of the
run that wrote it. If a result has several records, the record of the latest run counts.

A run may end between a result and its line. So before a result is replaced, a line without an identity takes
the place of each record of it: no old record can stand for the new result.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple

from hear_msss import __version__
from hear_msss.cli.jobs import EmbedSettings, Group, Job, Outcome
from hear_msss.collection.sources import Stamp
from hear_msss.graphs.cache import encoder_sha256
from hear_msss.model import MSSS
from hear_msss.options import SCENE_OPTIONS, TIMESTAMP_OPTIONS

MANIFEST = "embeddings.jsonl"
OPTIONS_OF_SPEED = {"chunk_size", "backend"}  # change embeddings by rounding only
RECORD = {
    "output": str,
    "identity": str,
    "source_bytes": int,
    "source_mtime_ns": int,
}  # what a record must have


class Record(NamedTuple):
    """Of a line, what a repeated command has to know."""

    identity: str
    source: Stamp
    error: str
    run: int  # one more than the largest of all lines that were there before; 0 in lines of older versions


Records = dict[tuple[str, str], Record]


def identity_of(model: MSSS, settings: EmbedSettings) -> str:
    """A hash of all that a result depends on, except its sources: if it changes, the result is made again."""
    no_matter = OPTIONS_OF_SPEED | set(SCENE_OPTIONS if settings.timestamps else TIMESTAMP_OPTIONS)
    # Of encode_every the number that None stands for, which another version may change.
    values = {**model.options.to_dict(), "encode_every": model.options.timestamps_per_window}
    options = {name: value for name, value in values.items() if name not in no_matter}
    parts = [encoder_sha256(model.encoder), options, settings.timestamps, settings.format]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def shard_identity(identity: str, jobs: Iterable[Job]) -> str:
    """The same for a shard, which also depends on what is in it."""
    parts = [identity, [job.key for job in jobs]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def read_manifests(out: Path) -> Records:
    """The newest record of each result, of the manifests of all parts."""
    found = [path for path in out.glob("embeddings*.jsonl") if path.is_file()]
    records: Records = {}
    for path in sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name)):
        read_manifest(path, records)
    return records


def read_manifest(path: Path, records: Records) -> None:
    """Put the records of a manifest among others, where they are at least as new.

    A line that is no record, torn or edited, costs its file alone.
    """
    with path.open("rb") as lines:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:  # no JSON, or no UTF-8
                continue
            if isinstance(record, dict) and all(isinstance(record.get(k), t) for k, t in RECORD.items()):
                source = Stamp(record["source_bytes"], record["source_mtime_ns"])
                run = record.get("run", 0)
                run = run if type(run) is int else 0
                place = record["output"], str(record.get("key", ""))
                if place not in records or records[place].run <= run:
                    identity, error = sys.intern(record["identity"]), str(record.get("error", ""))
                    records[place] = Record(identity, source, error, run)


def next_run(records: Records) -> int:
    """The number of a run that begins now."""
    return 1 + max((record.run for record in records.values()), default=0)


def open_manifest(path: Path) -> IO[str]:
    """To append records; a torn last line is ended, so that the next record is not lost with it."""
    manifest = path.open("a+b")
    if manifest.tell() > 0:
        manifest.seek(-1, os.SEEK_END)
        if manifest.read(1) != b"\n":
            manifest.write(b"\n")
    return io.TextIOWrapper(manifest, encoding="utf-8")


def supersede(path: Path, outputs: set[str], records: Records, run: int) -> None:
    """Note, before these results are made, that no record of them counts; a shard has one for each sound."""
    with open_manifest(path) as lines:
        for output, key in records:
            if output in outputs:
                in_shard = {"key": key} if key else {}
                nothing = {"source_bytes": 0, "source_mtime_ns": 0, "identity": ""}
                lines.write(json.dumps({"output": output, **in_shard, **nothing, "run": run}) + "\n")


def is_done(job: Job, record: Record | None, identity: str) -> bool:
    """Whether a record is of the same source and the same settings."""
    if record is None or record.identity != identity:
        return False
    try:
        return record.source == job.source.stamp()
    except OSError:  # gone: its outcome will say so
        return False


def record_of(outcome: Outcome, identity: str, run: int) -> dict[str, Any] | None:
    """One line of the manifest; of a bad file only in a shard, which is whole without it."""
    job, source = outcome.job, outcome.source
    if source is None or (outcome.error and not (job.key and outcome.final)):
        return None
    in_shard = {"key": job.key} if job.key else {}
    error = {"error": outcome.error} if outcome.error else {}
    return {
        "output": job.output,
        **in_shard,
        "source": job.source.name,
        "source_bytes": source.size_bytes,
        "source_mtime_ns": source.mtime_ns,
        "duration_s": outcome.duration_s,
        "rows": outcome.rows,
        "warnings": outcome.warnings,
        **error,
        "identity": identity,
        "run": run,
        "hear_msss": __version__,
    }


def left_to_do(
    members: Iterable[Group], identity: str, records: Records, out: Path
) -> tuple[list[Group], list[Outcome]]:
    """Shards that are not whole, and the bad files of those that are."""
    missing, bad = [], []
    for group in members:
        own = shard_identity(identity, group.jobs)
        found = [records.get(job.place) for job in group.jobs]
        whole = (out / group.jobs[0].output).is_file()
        if not whole or not all(map(is_done, group.jobs, found, [own] * len(found))):
            missing.append(group)
            continue
        for job, record in zip(group.jobs, found, strict=True):
            if record and record.error:
                bad.append(Outcome(job, error=record.error))
    return missing, bad
