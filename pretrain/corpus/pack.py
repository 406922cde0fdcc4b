"""``python -m pretrain pack``: folders of sound to one memory-mapped 16 kHz mono int16 store."""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hear_msss.locks import locked
from hear_msss.workers import Died, map_in_order
from pretrain.corpus.audio import ClipSettings, convert
from pretrain.corpus.checks import AHEAD, check_settings, check_space
from pretrain.corpus.find import SourceFile, exclude, read_lines, source_files, split_name
from pretrain.corpus.store import StoreWriter, finish, latest, read_journal

SOURCE_TABLE = "SOURCES.csv"
COMMIT_EVERY_S = 2.0  # work that a kill can cost
WARNINGS_SHOWN = 10  # the table has all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Pack sound files of any format, rate and channel count into one memory-mapped store of 16 kHz mono "
        "clips. If it is interrupted, the same command continues. Run it again to add new files. "
        "A corpus can be added to, source by source."
    )
    defaults = ClipSettings()
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SRC",
        help="folder, text file of paths (relative to that file), or sound file; name=PATH names the source",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="CORPUS", help="folder of the corpus")
    parser.add_argument(
        "--source-per-folder", action="store_true", help="each direct subfolder of SRC is a source of its own"
    )
    parser.add_argument(
        "--kind",
        action="append",
        default=[],
        metavar="SOURCE=KIND",
        help="what a source holds, such as speech or music, so that corpus_weights can name kinds "
        f"(repeatable); a table {SOURCE_TABLE} in SRC with the columns source and kind does the same",
    )
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="GLOB",
        help="leave out files whose source/path, path or name fits (repeatable)",
    )
    parser.add_argument(
        "--exclude-list",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="leave out the paths listed in FILE, one a line, as in the manifest or absolute (repeatable)",
    )
    parser.add_argument(
        "--clip-s",
        type=float,
        default=defaults.clip_s,
        help="length that files are cut into; %(default)s s by default",
    )
    parser.add_argument(
        "--min-clip-s",
        type=float,
        default=defaults.min_clip_s,
        help="leave out what is shorter; %(default)s s by default",
    )
    parser.add_argument(
        "--silence-dbfs",
        type=float,
        default=defaults.silence_dbfs,
        help="leave out clips whose peak stays below; %(default)s dB of full scale by default",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; %(default)s by default")


Job = tuple[SourceFile, Path, ClipSettings]  # what to convert, and where its audio is kept meanwhile


def file_entry(job: Job) -> dict[str, Any] | OSError:
    """The clips of one file, for the journal; or why their audio cannot be written."""
    file, part, settings = job
    try:
        size = file.path.stat().st_size if file.path.exists() else None
        return {"source": file.source, "name": file.name, "bytes": size, **convert(file.path, part, settings)}
    except OSError as error:
        return error


def entries_of(jobs: Sequence[Job], processes: int) -> Generator[dict[str, Any], None, None]:
    """An entry for each job, in their order.

    A file whose process was killed has an entry without clips and without its size, so that the next
    ``pack`` tries it again.

    Raises:
        OSError: audio cannot be written.
    """
    answers: Iterator[tuple[Job, Any]] = ((job, file_entry(job)) for job in jobs)
    if processes > 1:
        answers = map_in_order(file_entry, jobs, processes, AHEAD * processes)
    for (file, part, _), entry in answers:
        if isinstance(entry, OSError):
            raise entry
        if isinstance(entry, Died):
            part.unlink(missing_ok=True)
            nothing: dict[str, Any] = {"clips": [], "dropped": [], "reason": str(entry), "warnings": []}
            entry = {"source": file.source, "name": file.name, "bytes": None, "died": True, **nothing}
        yield entry


def still_to_do(files: list[SourceFile], entries: list[dict[str, Any]]) -> list[SourceFile]:
    """Files that the journal does not have; rejected ones come again once their size has changed."""
    done = {(entry["source"], entry["name"]): entry for entry in entries}
    todo: list[SourceFile] = []
    changed: list[SourceFile] = []
    for file in files:
        entry = done.get((file.source, file.name))
        if entry is None:
            todo.append(file)
            continue
        size = file.path.stat().st_size if file.path.exists() else None
        if size != entry["bytes"]:
            (changed if entry["clips"] else todo).append(file)
    if changed:
        print(
            f"{len(changed)} files have changed since they were packed, e.g. {changed[0].path}: their old "
            "audio stays in the corpus; pack into a new folder to take up the new",
            file=sys.stderr,
        )
    return todo


def pack(
    files: list[SourceFile],
    folder: Path,
    settings: ClipSettings | None = None,
    jobs: int = 1,
    kinds: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Bring files into the corpus at ``folder`` (made if missing), in the order given.

    Args:
        files: to pack.
        folder: of the corpus.
        settings: how files become clips.
        jobs: processes.
        kinds: kind of each source, for ``corpus_weights`` that name kinds.

    Returns:
        What ``corpus.json`` says: settings, sources, clips, samples, hash.
    """
    settings = settings or ClipSettings()
    with locked(folder):
        check_settings(folder, settings)
        todo = still_to_do(files, read_journal(folder))
        if len(todo) < len(files):
            print(f"{len(files) - len(todo)} of {len(files)} files are packed already", file=sys.stderr)
        durations = check_space(folder, todo, settings, jobs)
        parts = folder / "parts"
        shutil.rmtree(parts, ignore_errors=True)
        run_parts = parts / f"{os.getpid()}-{time.time_ns()}"  # orphans of a killed run cannot write here
        run_parts.mkdir(parents=True)
        store = StoreWriter(folder)
        try:
            append_all(store, todo, durations, run_parts, settings, jobs)
        finally:
            try:
                store.close()
            finally:  # also where the disk is full
                shutil.rmtree(parts, ignore_errors=True)
        return finish(folder, store.entries, settings, kinds)


def append_all(
    store: StoreWriter,
    todo: list[SourceFile],
    durations: list[float],
    parts: Path,
    settings: ClipSettings,
    jobs: int,
) -> None:
    """Convert in parallel, append in order: the store depends on nothing but the list of files."""
    todo_jobs = [(file, parts / str(number), settings) for number, file in enumerate(todo)]
    committed = time.monotonic()
    shown = 0
    with (
        closing(entries_of(todo_jobs, jobs)) as entries,
        tqdm(
            total=sum(durations) / 3600,
            desc="pack",
            bar_format="{l_bar}{bar}| {n:.2f}/{total:.2f} h [{elapsed}<{remaining}]",
            mininterval=0.5 if sys.stderr.isatty() else 30,
            disable=not todo,
        ) as progress,
    ):
        for entry, (_, part, _), duration_s in zip(entries, todo_jobs, durations, strict=True):
            warnings = entry["warnings"][: WARNINGS_SHOWN - shown]
            for warning in warnings:
                tqdm.write(f"WARNING {entry['source']}/{entry['name']}: {warning}", file=sys.stderr)
            shown += len(warnings)
            store.add(entry, part)
            part.unlink(missing_ok=True)
            progress.update(min(duration_s / 3600, progress.total - progress.n))  # rounding adds up
            if time.monotonic() - committed > COMMIT_EVERY_S:
                store.commit()
                committed = time.monotonic()


def kinds_of_sources(specs: Sequence[str], assignments: Sequence[str]) -> dict[str, str]:
    """Kind of each source, from the tables in the folders given and from ``--kind``, which overrides them.

    Raises:
        ValueError: an assignment that is not ``SOURCE=KIND``.
    """
    kinds: dict[str, str] = {}
    for spec in specs:
        table = split_name(spec)[1] / SOURCE_TABLE
        if table.is_file():
            with table.open(encoding="utf-8-sig", newline="") as text:
                kinds |= {row["source"]: row["kind"] for row in csv.DictReader(text) if row.get("kind")}
    for assignment in assignments:
        source, equals, kind = assignment.partition("=")
        if not (source and equals and kind):
            raise ValueError(f"--kind {assignment!r}: expected SOURCE=KIND")
        kinds[source] = kind
    return kinds


def run(args: argparse.Namespace) -> int:
    if args.jobs < 1:
        raise ValueError(f"--jobs {args.jobs}: expected at least 1")
    settings = ClipSettings(clip_s=args.clip_s, min_clip_s=args.min_clip_s, silence_dbfs=args.silence_dbfs)
    found = [file for spec in args.sources for file in source_files(spec, args.source_per_folder)]
    listed = [line for path in args.exclude_list for line in read_lines(path)]
    files, unused = exclude(found, args.exclude, listed)
    if unused:
        raise ValueError(
            f"exclusions that fit no file: {', '.join(unused[:5])} ({len(unused)} in all); what they name "
            "would get into the corpus: mend them, or take them out of --exclude and --exclude-list"
        )
    keys = [(file.source, file.name) for file in files]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"two files are called {'/'.join(twice)}: name the sources apart with name=PATH")
    try:
        corpus = pack(files, args.out, settings, args.jobs, kinds_of_sources(args.sources, args.kind))
    except KeyboardInterrupt:
        print("stopped; repeat the command to continue", file=sys.stderr)
        return 130
    except (OSError, RuntimeError) as error:
        print(f"{error}\nwhat was packed is kept; repeat the command to continue", file=sys.stderr)
        return 1
    entries = latest(read_journal(args.out))
    rejected = sum(1 for entry in entries if entry["reason"])
    warned = sum(1 for entry in entries if entry.get("warnings"))
    died = [f"{e['source']}/{e['name']} ({e['reason']})" for e in entries if e.get("died")]
    hours = corpus["samples"] / settings.sample_rate / 3600
    print(
        f"{args.out}: {corpus['clips']} clips, {hours:.2f} h from {len(corpus['sources'])} sources; "
        f"{rejected} files left out (rejects.csv), {warned} with a warning (warnings.csv)"
    )
    if died:
        print(
            f"not packed: {', '.join(died[:5])}, {len(died)} in all; repeat the command to try again, with "
            "fewer --jobs if memory ran out",
            file=sys.stderr,
        )
        return 1
    if not corpus["clips"]:
        print("nothing was packed: see rejects.csv for the reasons", file=sys.stderr)
        return 1
    return 0
