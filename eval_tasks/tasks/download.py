"""Fetch published tasks of the HEAR benchmark, or unpack archives that are on disk.

The archives (48 kHz) are on Zenodo, in record 6332517 ("HEAR 2021.3"); if that record does not answer or
lacks an archive, record 5885750 is asked. Zenodo states the size and the checksum of each archive. Both are
kept in zenodo-<record>.lock.json with the archives, and later runs use them without asking again. A broken
transfer continues where it stopped, in this run or the next. A task folder appears in --out when it is
unpacked completely; then its archive is deleted, unless --keep-archives is given.

  python -m eval_tasks download speech_commands-v0.0.2-5h esc50 --out tasks/
  python -m eval_tasks download --from-file hear2021-esc50-v2.0.0-full-48000.tar.gz --out tasks/
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from eval_tasks.errors import UserError
from eval_tasks.files import require_space, unsafe_name
from eval_tasks.locks import lock_of, locked
from eval_tasks.tasks.archives import EXPANSION, unpack, version_of
from eval_tasks.tasks.registry import PUBLISHED_RATE, select_folders
from eval_tasks.tasks.task_folder import METADATA_FILE, TaskFolder
from eval_tasks.tasks.transfer import Archive, archive_of, fetch, record_files

ZENODO_API = "https://zenodo.org/api/records"
ZENODO_RECORDS = ("6332517", "5885750")  # asked in this order


def install(archive: Path, out: Path) -> list[Path]:
    """Unpack an archive and put its task folders into ``out``.

    A folder that is there gets the sample rates that it lacks; what it has stays.

    Raises:
        UserError: no task folder in the archive, or one that is there with other splits or labels.
    """
    unpacked = out / f".unpacked-{version_of(archive)}"
    try:
        return install_unpacked(archive, unpacked, out)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def install_unpacked(archive: Path, unpacked: Path, out: Path) -> list[Path]:
    """What ``install`` does, by way of the folder ``unpacked``, which a killed run may have left whole."""
    found = task_folders(unpacked) if unpacked.is_dir() else []
    if not found:
        shutil.rmtree(unpacked, ignore_errors=True)
        unpack(archive, unpacked)
        found = task_folders(unpacked)
    if not found:
        raise UserError(f"{archive}: no {METADATA_FILE} in it, expected an archive of HEAR tasks")
    names = [folder_name(folder, unpacked) for folder in found]
    if len(set(names)) < len(names):
        raise UserError(f"{archive} holds two task folders of one name: {', '.join(names)}")
    installed = []
    for folder, name in zip(found, names, strict=True):
        source, target = TaskFolder.open(folder), out / name
        with locked(lock_of(target)):
            if not target.exists():
                folder.replace(target)
            else:
                add_rates(source, TaskFolder.open(target))
        installed.append(target)
    return installed


def task_folders(folder: Path) -> list[Path]:
    return sorted(file.parent for file in folder.rglob(METADATA_FILE))


def folder_name(folder: Path, unpacked: Path) -> str:
    """The name of a task folder; where the task lies at the archive's root, as its metadata name it.

    Raises:
        UserError: a name that no task folder can have.
    """
    name = folder.name
    if folder == unpacked:
        name = "{task_name}-{version}-{mode}".format(**TaskFolder.open(folder).metadata)
    if name.startswith(".") or unsafe_name(name):
        raise UserError(f"{folder}: {name!r} cannot be the name of a task folder")
    return name


def add_rates(source: TaskFolder, target: TaskFolder) -> None:
    if source.vocabulary != target.vocabulary or any(
        source.labels(split) != target.labels(split) for split in source.splits
    ):
        raise UserError(f"{target.path} is there with other clips or labels: move it away, then try again")
    for rate in source.sample_rates:
        if rate not in target.sample_rates:
            (source.path / str(rate)).replace(target.path / str(rate))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "tasks", nargs="*", metavar="TASK", help="folder name or its beginning, title, or all: see list"
    )
    parser.add_argument(
        "--from-file", type=Path, nargs="+", default=[], metavar="FILE", help="archives that are on disk"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("tasks"),
        metavar="DIR",
        help="folder of task folders (default: tasks)",
    )
    parser.add_argument(
        "--archives", type=Path, metavar="DIR", help="where archives are kept (default: OUT/.archives)"
    )
    parser.add_argument("--keep-archives", action="store_true", help="do not delete what is unpacked")
    parser.add_argument(
        "--retries", type=int, default=5, metavar="N", help="attempts after a failure (default: %(default)s)"
    )
    parser.add_argument("--record", help=f"Zenodo record (default: {', then '.join(ZENODO_RECORDS)})")
    parser.add_argument("--api", default=ZENODO_API, metavar="URL", help="of Zenodo, or of a mirror")
    parser.add_argument("--refresh", action="store_true", help="ask for checksums again")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    if not args.tasks and not args.from_file:
        raise UserError("nothing to do: name tasks (python -m eval_tasks list shows them), or --from-file")
    with locked(args.out / ".download.lock"):
        return run_locked(args)


def run_locked(args: argparse.Namespace) -> int:
    failed = []
    for archive in args.from_file:
        try:
            for path in install(archive, args.out):
                print(f"{path}: unpacked")
        except UserError as error:
            failed.append(str(error))
    wanted = []
    for folder in select_folders(args.tasks):
        path = args.out / folder
        if (path / METADATA_FILE).is_file() and PUBLISHED_RATE in TaskFolder.open(path).sample_rates:
            print(f"{path}: already there")
            if not args.keep_archives and not args.archives:  # of a run that was killed before it did so
                for archive in (args.out / ".archives").glob(f"*{folder}-{PUBLISHED_RATE}.tar.gz"):
                    archive.unlink()
        else:
            wanted.append(folder)
    if wanted:
        failed += download(wanted, args)
    if failed:
        raise UserError("\n".join(failed))
    return 0


def find_archives(folders: list[str], args: argparse.Namespace, cache: Path) -> dict[str, Archive]:
    """Each task folder's archive, from the first record that has them all.

    Raises:
        UserError: none has; the message is that of the first.
    """
    errors: list[UserError] = []
    for record in [args.record] if args.record else ZENODO_RECORDS:
        try:
            files = record_files(args.api, record, cache / f"zenodo-{record}.lock.json", args.refresh)
            found = {folder: archive_of(folder, files, f"{args.api}/{record}") for folder in folders}
        except UserError as error:
            errors.append(error)
            continue
        for earlier in errors:
            print(f"{earlier}\ntaken from record {record} instead", file=sys.stderr)
        return found
    raise errors[0]


def download(folders: list[str], args: argparse.Namespace) -> list[str]:
    """Fetch and unpack task folders; what went wrong with those that did not arrive."""
    cache = args.archives or args.out / ".archives"
    with locked(cache / ".lock"):
        return download_locked(folders, cache, args)


def download_locked(folders: list[str], cache: Path, args: argparse.Namespace) -> list[str]:
    """What ``download`` does once no other process writes."""
    archives = find_archives(folders, args, cache)
    total = sum(archive.size for archive in archives.values())
    largest = max(archive.size for archive in archives.values())
    # Archives come one after the other: all tasks unpacked, and one archive (or all) beside them.
    beside = total if args.keep_archives else largest
    require_space(args.out, EXPANSION * total + beside, f"downloading {len(folders)} tasks")
    failed = []
    for folder, archive in archives.items():
        try:
            path = fetch(archive, cache, args.retries, not args.quiet)
            install(path, args.out)
            if not args.keep_archives:
                path.unlink()
            print(f"{args.out / folder}: downloaded")
        except UserError as error:
            failed.append(str(error))
    return failed
