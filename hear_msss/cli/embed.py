"""``python -m hear_msss embed``: sound files to embedding files."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from tqdm import tqdm

from hear_msss import __version__, windows
from hear_msss.api import load_model
from hear_msss.cli.writers import WRITERS, check_format, write_file
from hear_msss.export import encoder_sha256
from hear_msss.model import MSSS
from hear_msss.options import parse_options
from hear_msss.streaming import Clip, open_clip, scene_embedding, timestamp_blocks

# What libsndfile reads, as it is usually named; files named one by one may end as they like.
SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd"}
SUFFIXES |= {".caf", ".w64", ".rf64", ".voc", ".sph", ".nist"}
MANIFEST = "embeddings.jsonl"
HARMLESS = {"chunk_size", "backend"}  # options that change no result beyond rounding


@dataclass(frozen=True)
class Job:
    """One file to embed; ``settings`` are the same for all files of a run."""

    source: Path
    output: Path
    settings: Settings


@dataclass(frozen=True)
class Settings:
    weights: str
    options: str  # JSON, so that it can be hashed
    timestamps: bool
    format: str


@dataclass(frozen=True)
class Outcome:
    job: Job
    error: str = ""
    duration_s: float = 0.0
    rows: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", type=Path, help="sound files, and folders searched for them")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results; made if need be")
    parser.add_argument(
        "--timestamps", action="store_true", help="one embedding every hop_ms, not one a file"
    )
    parser.add_argument("--format", choices=list(WRITERS), default="npy", help="of the results (default npy)")
    parser.add_argument(
        "--jobs", type=int, default=1, help="files at a time, a process of one thread for each"
    )
    parser.add_argument("--model", default="", help="weights file or name (default: the bundled weights)")
    parser.add_argument(
        "--backend", default=None, help="torch or onnxruntime; short for --option backend=..."
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of load_model, e.g. hop_ms=20; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    """Embed all files; 0 if all went well, 1 if some are bad, 2 if nothing could be started."""
    if arguments.jobs < 1:
        raise ValueError(f"--jobs {arguments.jobs}: expected at least 1")
    check_format(arguments.format)
    options = parse_options(arguments.option)
    if arguments.backend:
        options["backend"] = arguments.backend
    settings = Settings(
        arguments.model, json.dumps(options, sort_keys=True), arguments.timestamps, arguments.format
    )
    jobs = plan(arguments.inputs, arguments.out, settings)
    model = _model(settings.weights, settings.options)  # wrong options and weights fail here, at once
    identity = _identity(model, settings)
    arguments.out.mkdir(parents=True, exist_ok=True)
    manifest = arguments.out / MANIFEST
    done = read_manifest(manifest)
    todo = [job for job in jobs if not _is_done(job, done, identity, arguments.out)]
    if len(todo) < len(jobs):
        print(f"{len(jobs) - len(todo)} of {len(jobs)} files are done already", file=sys.stderr)
    bad = []
    with manifest.open("a", encoding="utf-8") as lines:
        progress = tqdm(_outcomes(todo, arguments.jobs), total=len(todo), unit="file", disable=None)
        embedded_s = 0.0
        for outcome in progress:
            if outcome.error:
                bad.append(outcome)
                continue
            embedded_s += outcome.duration_s
            progress.set_postfix_str(f"{embedded_s:.0f} s of audio")
            lines.write(json.dumps(_record(outcome, identity, arguments.out)) + "\n")
            lines.flush()
    print(f"{len(todo) - len(bad)} files embedded in {arguments.out}", file=sys.stderr)
    for outcome in bad:
        print(f"BAD {outcome.job.source}: {outcome.error}", file=sys.stderr)
    if bad:
        print(f"{len(bad)} of {len(jobs)} files could not be embedded, see above", file=sys.stderr)
    return 1 if bad else 0


def plan(inputs: Iterable[Path], out: Path, settings: Settings) -> list[Job]:
    """Each sound file with the path of its result: the same subfolders under ``out``.

    The whole file name stays in the result's, so that ``a.wav`` and ``a.flac`` do not meet.

    Raises:
        FileNotFoundError: no such file or folder, or no sound file in them.
        ValueError: two files would have the same result.
    """
    jobs: dict[Path, Job] = {}
    for given in inputs:
        if given.is_dir():
            found = sorted(p for p in given.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            pairs = [(source, source.relative_to(given)) for source in found]
        elif given.exists():
            pairs = [(given, Path(given.name))]
        else:
            raise FileNotFoundError(f"{given}: no such file or folder")
        kind = "timestamps" if settings.timestamps else "scene"
        for source, relative in pairs:
            output = out / relative.with_name(f"{relative.name}.{kind}.{settings.format}")
            other = jobs.setdefault(output, Job(source, output, settings)).source
            if other.resolve() != source.resolve():
                raise ValueError(
                    f"{other} and {source} would both be written to {output}: give their common folder, "
                    "or embed them into two folders"
                )
    if not jobs:
        raise FileNotFoundError(
            f"no sound files in {', '.join(map(str, inputs))}: looked for {', '.join(sorted(SUFFIXES))}"
        )
    return list(jobs.values())


@lru_cache(maxsize=1)
def _model(weights: str, options: str) -> MSSS:
    return load_model(weights, **json.loads(options))


def _identity(model: MSSS, settings: Settings) -> str:
    """What a result depends on beside its source; a result of another identity is made again."""
    options = {k: v for k, v in model.options.to_dict().items() if k not in HARMLESS}
    parts = [encoder_sha256(model.encoder), options, settings.timestamps, settings.format]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _is_done(job: Job, done: dict[str, dict[str, Any]], identity: str, out: Path) -> bool:
    record = done.get(str(job.output.relative_to(out)))
    if record is None or record["identity"] != identity or not job.output.is_file():
        return False
    status = job.source.stat()
    return record["source_bytes"] == status.st_size and record["source_mtime_ns"] == status.st_mtime_ns


def _record(outcome: Outcome, identity: str, out: Path) -> dict[str, Any]:
    job = outcome.job
    status = job.source.stat()
    return {
        "output": str(job.output.relative_to(out)),
        "source": str(job.source),
        "source_bytes": status.st_size,
        "source_mtime_ns": status.st_mtime_ns,
        "duration_s": outcome.duration_s,
        "rows": outcome.rows,
        "identity": identity,
        "hear_msss": __version__,
    }


def read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    """The newest record of each result; a last line cut off by a crash is no record."""
    records = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            records[record["output"]] = record
    return records


def _outcomes(jobs: list[Job], processes: int) -> Iterator[Outcome]:
    if processes == 1 or len(jobs) < 2:
        yield from map(_embed, jobs)
        return
    parallel = joblib.Parallel(n_jobs=min(processes, len(jobs)), return_as="generator_unordered")
    yield from parallel(joblib.delayed(_embed_alone)(job) for job in jobs)


def _embed_alone(job: Job) -> Outcome:
    torch.set_num_threads(1)
    return _embed(job)


def _embed(job: Job) -> Outcome:
    settings = job.settings
    model = _model(settings.weights, settings.options)
    job.output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open_clip(job.source, model, spool_folder=job.output.parent) as clip:
            rows, size, blocks = _blocks(clip, model, settings.timestamps)
            write_file(job.output, settings.format, blocks, rows, size, settings.timestamps)
            return Outcome(job, duration_s=clip.samples / model.sample_rate, rows=rows)
    except (OSError, ValueError) as error:
        return Outcome(job, error=str(error))


def _blocks(
    clip: Clip, model: MSSS, timestamps: bool
) -> tuple[int, int, Iterator[tuple[np.ndarray, np.ndarray]]]:
    if timestamps:
        rows = windows.timestamp_count(clip.samples, model.hop_frames, model.config)
        blocks = ((block.cpu().numpy(), times) for block, times in timestamp_blocks(clip, model))
        return rows, model.timestamp_embedding_size, blocks
    scene = ((scene_embedding(clip, model)[None].cpu().numpy(), np.zeros(1)) for _ in range(1))
    return 1, model.scene_embedding_size, scene
