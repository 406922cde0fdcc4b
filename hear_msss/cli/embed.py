"""``python -m hear_msss embed``: sound files to embedding files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tqdm import tqdm

from hear_msss.cli import cluster, manifest, spread
from hear_msss.cli.jobs import EmbedSettings, Group, Job, Outcome, Part, groups, plan, shards, surplus_shards
from hear_msss.cli.shards import SHARDS
from hear_msss.cli.work import model_of
from hear_msss.cli.writers import PACKAGES, WRITERS, need
from hear_msss.collection.inputs import find_sources
from hear_msss.device import find_device
from hear_msss.files import remove_leftovers
from hear_msss.locks import LOCK, locked
from hear_msss.options import add_option_argument, parse_options

SHARD_FILES = 1000
WARNINGS_SHOWN = 10  # the manifest has all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("inputs", nargs="+", type=Path, help="sound files, folders searched for them, tar files, tables")
    add("--out", type=Path, required=True, help="folder for the results; made if need be")
    add("--timestamps", action="store_true", help="one embedding every hop_ms instead of one for each file")
    add("--format", choices=[*WRITERS, "arrow", "webdataset"], default="npy", help="(default: npy)")
    add(
        "--shard-files",
        type=int,
        default=None,
        metavar="N",
        help="write shards of N files instead of a result for each file: parquet, arrow, webdataset "
        f"(default: {SHARD_FILES} for the last two)",
    )
    add("--jobs", type=int, default=1, help="processes, of one thread each where there are several")
    add("--decoders", type=int, default=1, help="threads of each process that decode ahead; 0 for none")
    add("--column", default="", help="of an Arrow or Parquet file (default: the only one with sounds)")
    add("--part", default="1/1", metavar="I/N", help="only the I-th of N parts, such as 3/16")
    add("--cluster", choices=list(cluster.PACKAGES), help="embed on a Dask or Ray cluster, through joblib")
    add("--address", default="", help="of the Dask scheduler or Ray head (default: start workers here)")
    add("--model", default="", help="weights file or name (default: the bundled weights)")
    add("--backend", default=None, help="auto, torch or onnxruntime; short for --option backend=...")
    add("--device", default="", help="cpu, cuda, cuda:1 or mps (default: a GPU, where torch sees one)")
    add_option_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Embed all files; 0 if all went well, 1 if some are bad, 2 if nothing could be started."""
    machines = cluster.Cluster(arguments.cluster, arguments.address) if arguments.cluster else None
    if machines:
        machines.check()
        # Its workers have working folders of their own.
        arguments.inputs = [path.absolute() for path in arguments.inputs]
        arguments.out = arguments.out.absolute()
    settings = _settings(arguments)
    suffix = SHARDS[settings.format][1] if settings.shard_files else settings.format
    part = Part.parse(arguments.part)
    planned = plan(find_sources(arguments.inputs, arguments.column), settings, suffix)
    surplus = surplus_shards(planned, settings, suffix)
    jobs = part.of(planned)
    del planned  # a part is a list of its own
    model = model_of(settings.weights, settings.options, settings.device)  # what is wrong fails here, at once
    identity = manifest.identity_of(model, settings)
    path = settings.out / part.file_name(manifest.MANIFEST)
    with _held(settings.out, part):
        remove_leftovers(settings.out)
        records = manifest.read_manifests(settings.out)
        processes = cluster.GROUPS if machines else arguments.jobs
        todo, known_bad = _todo(jobs, settings, identity, records, processes)
        run_number = manifest.next_run(records)
        manifest.supersede(path, {job.output for group in todo for job in group.jobs}, records, run_number)
        del records  # of a large collection some GB
        count = sum(len(group.jobs) for group in todo)
        if count < len(jobs):
            print(f"{len(jobs) - count} of {len(jobs)} files are done already", file=sys.stderr)
        own = {g.jobs[0].output: manifest.shard_identity(identity, g.jobs) for g in todo if g.jobs[0].key}
        outcomes = spread.outcomes(todo, processes_for(arguments.jobs, todo), machines)
        with tqdm(outcomes, total=count, unit="file", disable=None) as progress, closing(outcomes):
            notable = known_bad + _note(progress, identity, own, path, run_number)
    bad = [outcome for outcome in notable if outcome.error]
    embedded = count + len(known_bad) - len(bad)
    print(f"{embedded} files embedded in {settings.out}", file=sys.stderr)
    _warn(notable, surplus, path)
    for outcome in bad:
        print(f"BAD {outcome.job.source.name}: {outcome.error}", file=sys.stderr)
    if bad:
        print(f"{len(bad)} of {len(jobs)} files could not be embedded, see above", file=sys.stderr)
    return 1 if bad else 0


def _warn(notable: list[Outcome], surplus: list[Path], path: Path) -> None:
    """Print what files lack, and which shards are left over; ``path`` is the manifest."""
    warnings = [
        f"{outcome.job.source.name}: {warning}" for outcome in notable for warning in outcome.warnings
    ]
    for warning in warnings[:WARNINGS_SHOWN]:
        print(f"WARNING {warning}", file=sys.stderr)
    if more := warnings[WARNINGS_SHOWN:]:
        print(f"and {len(more)} more warnings: {path} has all", file=sys.stderr)
    if surplus:
        print(
            f"WARNING shards of an earlier run that these inputs do not make: {len(surplus)}, such as "
            f"{surplus[0]}: delete them, since their files may be in other shards, too",
            file=sys.stderr,
        )


@contextmanager
def _held(out: Path, part: Part) -> Iterator[None]:
    """No other process embeds the same files into the folder; several parts may do so at a time."""
    with ExitStack() as held:
        held.enter_context(locked(out, shared=part.count > 1))
        if part.count > 1:
            held.enter_context(locked(out, part.file_name(LOCK)))
        yield


def _settings(arguments: argparse.Namespace) -> EmbedSettings:
    """
    Raises:
        ValueError: arguments that do not fit.
        ImportError: the package of a format is missing.
    """
    for name, least in (("jobs", 1), ("decoders", 0), ("shard_files", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')} {value}: expected at least {least}")
    shard_files = arguments.shard_files or (0 if arguments.format in WRITERS else SHARD_FILES)
    if shard_files and arguments.format not in SHARDS:
        raise ValueError(
            f"--shard-files with --format {arguments.format}: expected one of {', '.join(SHARDS)}"
        )
    package = SHARDS[arguments.format][2] if shard_files else PACKAGES.get(arguments.format, "")
    if package:
        need(package)
    options = parse_options(arguments.option)
    if arguments.backend:
        options["backend"] = arguments.backend
    return EmbedSettings(
        weights=arguments.model,
        options=json.dumps(options, sort_keys=True),
        timestamps=arguments.timestamps,
        format=arguments.format,
        device=str(find_device(arguments.device, options.get("backend", "torch"))),
        out=arguments.out,
        decoders=arguments.decoders,
        shard_files=shard_files,
    )


def _note(
    progress: tqdm[Outcome], identity: str, own: dict[str, str], path: Path, run_number: int
) -> list[Outcome]:
    """Write each outcome into the manifest as it comes; returns those with an error or warnings.

    Args:
        identity: of results, but for shards.
        own: of each shard, by its output.

    Raises:
        OSError: the disk takes no more; what was embedded until then stays.
    """
    notable = []
    embedded_s = 0.0
    with manifest.open_manifest(path) as lines:
        for outcome in progress:
            if outcome.disk_error:
                raise OSError(f"{outcome.error}; make room, and repeat the command to continue")
            if outcome.error or outcome.warnings:
                notable.append(outcome)
            embedded_s += outcome.duration_s
            progress.set_postfix_str(f"{embedded_s:.0f} s of audio")
            record = manifest.record_of(outcome, own.get(outcome.job.output, identity), run_number)
            if record:
                lines.write(json.dumps(record) + "\n")
                lines.flush()
    return notable


def processes_for(wanted: int, groups: Sequence[Group]) -> int:
    """No more than there are groups; 1 stands for this process."""
    return min(wanted, len(groups) or 1)


def _todo(
    jobs: Sequence[Job], settings: EmbedSettings, identity: str, records: manifest.Records, processes: int
) -> tuple[list[Group], list[Outcome]]:
    """What is left to do, and the files of whole shards that are known to be bad."""
    if settings.shard_files:
        return manifest.left_to_do(shards(jobs, settings), identity, records, settings.out)
    left = []
    for job in jobs:
        done = manifest.is_done(job, records.get(job.place), identity)
        if not (done and (settings.out / job.output).is_file()):
            left.append(job)
    if processes == 1:
        return [Group(left, settings)] if left else [], []
    return list(groups(left, settings, processes)), []
