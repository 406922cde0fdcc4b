"""``python -m hear_msss embed``: sound files to embedding files."""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from hear_msss import __version__, windows
from hear_msss.api import load_model
from hear_msss.audio import SUFFIXES, SoundError, find_sounds
from hear_msss.batching import embed_clips
from hear_msss.cli.manifest import MANIFEST, is_torn, read_manifest
from hear_msss.cli.writers import WRITERS, check_format, write_file
from hear_msss.device import find_device
from hear_msss.files import remove_leftovers
from hear_msss.graph_cache import encoder_sha256
from hear_msss.locks import locked
from hear_msss.model import MSSS
from hear_msss.options import parse_options
from hear_msss.sources import Decoded, FileSource
from hear_msss.streaming import DecodedClip, open_clip
from hear_msss.workers import Died, map_unordered

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
OPTIONS_OF_SPEED = {"chunk_size", "backend"}  # change embeddings by rounding only


@dataclass(frozen=True)
class Job:
    """One file to embed; ``settings`` are the same for all files of a run."""

    source: Path
    output: Path
    settings: EmbedSettings


@dataclass(frozen=True)
class EmbedSettings:
    """What all files of a run have in common."""

    weights: str
    options: str  # JSON, so that it can be hashed
    timestamps: bool
    format: str
    device: str


@dataclass(frozen=True)
class Stamp:
    """What tells a file from a later state of it."""

    size_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Outcome:
    """What became of one job: ``error`` where there is no result; ``source`` as it was when it was read.

    With a ``disk_error``, no other file can be embedded either.
    """

    job: Job
    error: str = ""
    duration_s: float = 0.0
    rows: int = 0
    source: Stamp | None = None
    warnings: tuple[str, ...] = ()
    disk_error: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", type=Path, help="sound files, and folders searched for them")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results; made if need be")
    parser.add_argument(
        "--timestamps", action="store_true", help="one embedding every hop_ms instead of one for each file"
    )
    parser.add_argument("--format", choices=list(WRITERS), default="npy", help="of the results (default npy)")
    parser.add_argument(
        "--jobs", type=int, default=1, help="files at a time, a process of one thread for each"
    )
    parser.add_argument("--model", default="", help="weights file or name (default: the bundled weights)")
    parser.add_argument(
        "--backend", default=None, help="auto, torch or onnxruntime; short for --option backend=..."
    )
    parser.add_argument(
        "--device", default="", help="cpu, cuda, cuda:1 or mps (default: a GPU, where torch sees one)"
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
    settings = EmbedSettings(
        arguments.model,
        json.dumps(options, sort_keys=True),
        arguments.timestamps,
        arguments.format,
        str(find_device(arguments.device, options.get("backend", "torch"))),
    )
    jobs = plan(arguments.inputs, arguments.out, settings)
    model = _model(settings)  # wrong options and weights fail here, at once
    identity = _identity(model, settings)
    with locked(arguments.out):
        outcomes = _embed_missing(jobs, identity, arguments.out, arguments.jobs)
    bad = [outcome for outcome in outcomes if outcome.error]
    print(f"{len(outcomes) - len(bad)} files embedded in {arguments.out}", file=sys.stderr)
    for outcome in outcomes:
        for warning in outcome.warnings:
            print(f"WARNING {outcome.job.source}: {warning}", file=sys.stderr)
    for outcome in bad:
        print(f"BAD {outcome.job.source}: {outcome.error}", file=sys.stderr)
    if bad:
        print(f"{len(bad)} of {len(jobs)} files could not be embedded, see above", file=sys.stderr)
    return 1 if bad else 0


def _embed_missing(jobs: list[Job], identity: str, out: Path, processes: int) -> list[Outcome]:
    """Embed the files that have no result yet, and note each in the manifest.

    Raises:
        OSError: the disk takes no more; what was embedded until then stays.
    """
    manifest = out / MANIFEST
    remove_leftovers(out)
    done = read_manifest(manifest)
    todo = [job for job in jobs if not _is_done(job, done, identity, out)]
    if len(todo) < len(jobs):
        print(f"{len(jobs) - len(todo)} of {len(jobs)} files are done already", file=sys.stderr)
    outcomes, embedded_s = [], 0.0
    with (
        manifest.open("a", encoding="utf-8") as lines,
        closing(_outcomes(todo, processes)) as results,
        tqdm(results, total=len(todo), unit="file", disable=None) as progress,
    ):
        if is_torn(manifest):
            lines.write("\n")
        for outcome in progress:
            if outcome.disk_error:
                raise OSError(f"{outcome.error}; make room, and repeat the command to continue")
            outcomes.append(outcome)
            if outcome.error:
                continue
            embedded_s += outcome.duration_s
            progress.set_postfix_str(f"{embedded_s:.0f} s of audio")
            lines.write(json.dumps(_record(outcome, identity, out)) + "\n")
            lines.flush()
    return outcomes


def plan(inputs: Iterable[Path], out: Path, settings: EmbedSettings) -> list[Job]:
    """Each sound file with the path of its result: the same subfolders under ``out``.

    The whole file name stays in the result's, so that ``a.wav`` and ``a.flac`` do not meet.

    Raises:
        FileNotFoundError: no such file or folder, or no sound file in them.
        ValueError: two files would have the same result.
    """
    jobs: dict[Path, Job] = {}
    for given in inputs:
        if given.is_dir():
            pairs = [(source, source.relative_to(given)) for source in sorted(find_sounds(given))]
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
def _model(settings: EmbedSettings) -> MSSS:
    return load_model(settings.weights, **json.loads(settings.options)).to(settings.device)


def _identity(model: MSSS, settings: EmbedSettings) -> str:
    """A hash of all that a result depends on, except its source: if it changes, the result is made again."""
    options = {k: v for k, v in model.options.to_dict().items() if k not in OPTIONS_OF_SPEED}
    parts = [encoder_sha256(model.encoder), options, settings.timestamps, settings.format]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _is_done(job: Job, done: dict[str, dict[str, Any]], identity: str, out: Path) -> bool:
    record = done.get(str(job.output.relative_to(out)))
    if record is None or record["identity"] != identity or not job.output.is_file():
        return False
    try:
        return Stamp(record["source_bytes"], record["source_mtime_ns"]) == Stamp.of(job.source)
    except OSError:  # gone: its outcome will say so
        return False


def _record(outcome: Outcome, identity: str, out: Path) -> dict[str, Any]:
    job = outcome.job
    assert outcome.source is not None  # an outcome without an error has it
    return {
        "output": str(job.output.relative_to(out)),
        "source": str(job.source),
        "source_bytes": outcome.source.size_bytes,
        "source_mtime_ns": outcome.source.mtime_ns,
        "duration_s": outcome.duration_s,
        "rows": outcome.rows,
        "warnings": outcome.warnings,
        "identity": identity,
        "hear_msss": __version__,
    }


def _outcomes(jobs: list[Job], processes: int) -> Generator[Outcome, None, None]:
    if processes == 1 or len(jobs) < 2:
        yield from map(_embed, jobs)
        return
    for job, outcome in map_unordered(_embed_alone, jobs, min(processes, len(jobs))):
        yield Outcome(job, error=str(outcome)) if isinstance(outcome, Died) else outcome


def _embed_alone(job: Job) -> Outcome:
    torch.set_num_threads(1)
    return _embed(job)


def _embed(job: Job) -> Outcome:
    settings = job.settings
    model = _model(settings)
    try:
        before = Stamp.of(job.source)
    except OSError as error:
        return Outcome(job, error=f"cannot be read: {error.strerror}")
    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        with open_clip(job.source, model.sample_rate, job.output.parent) as clip:
            if Stamp.of(job.source) != before:
                return Outcome(job, error="changed while it was read: embed it again once it is complete")
            rows, size, blocks = _blocks(job.source, clip, model, settings.timestamps)
            write_file(job.output, settings.format, blocks, rows, size, settings.timestamps)
            duration_s = clip.samples / model.sample_rate
            return Outcome(job, "", duration_s, rows, before, clip.warnings)
    except SoundError as error:
        return Outcome(job, error=error.reason)
    except (OSError, ValueError) as error:
        full = isinstance(error, OSError) and error.errno in DISK_ERRORS
        return Outcome(job, error=str(error), disk_error=full)


def _blocks(
    source: Path, clip: DecodedClip, model: MSSS, timestamps: bool
) -> tuple[int, int, Iterator[tuple[np.ndarray, np.ndarray]]]:
    rows = embed_clips([Decoded(FileSource(source), clip)], model, timestamps)
    blocks = ((part.embeddings, part.times_ms) for _, part in rows)
    if timestamps:
        count = windows.timestamp_count(clip.samples, model.hop_frames, model.config)
        return count, model.timestamp_embedding_size, blocks
    return 1, model.scene_embedding_size, blocks
