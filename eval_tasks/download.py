"""Fetch published tasks of the HEAR benchmark, or unpack archives that are on disk.

The archives (48 kHz) lie on Zenodo, DOI 10.5281/zenodo.5885750. The record says what each archive's size
and checksum are; both are kept in zenodo-<record>.lock.json beside the archives and hold from then on,
so a later run neither asks again nor takes another file for the same. A transfer that breaks off goes on
where it stopped, in this run or the next. A task folder appears in --out once it is unpacked whole; its
archive is deleted then, unless --keep-archives.

  python -m eval_tasks download speech_commands-v0.0.2-5h esc50 --out tasks/
  python -m eval_tasks download --from-file hear2021-esc50-v2.0.0-full-48000.tar.gz --out tasks/
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import pooch
import requests
import urllib3
from tqdm import tqdm

from eval_tasks.archives import EXPANSION, unpack, version_of
from eval_tasks.errors import UserError
from eval_tasks.files import require_space, write_json
from eval_tasks.registry import PUBLISHED_RATE, select_folders
from eval_tasks.task_folder import METADATA_FILE, TaskFolder

ZENODO_API = "https://zenodo.org/api/records"
ZENODO_RECORD = "5885750"
CHUNK_BYTES = 1 << 18
TIMEOUT_S = 60


@dataclass(frozen=True)
class Archive:
    """A file of the record.

    Attributes:
        name: file name.
        url: where it is.
        checksum: as pooch writes it, ``md5:...``.
        size: in bytes.
    """

    name: str
    url: str
    checksum: str
    size: int


class ResumingDownloader:
    """A downloader for pooch that goes on where an earlier one stopped.

    What has arrived stays in ``part`` when the connection breaks or the process dies, and the rest is
    asked for. pooch checks the whole, and calls again after a failure.

    Args:
        archive: what is fetched.
        part: where it grows; named after the checksum, so that another version starts anew.
        progress: show a bar.
    """

    def __init__(self, archive: Archive, part: Path, progress: bool) -> None:
        self.archive = archive
        self.part = part
        self.progress = progress
        self.handed_over = False

    def __call__(self, url: str, output_file: str | IO[bytes], pooch: Any) -> None:
        if self.handed_over:
            # It was whole, and pooch found it wrong.
            self.part.unlink(missing_ok=True)
        have = self.part.stat().st_size if self.part.exists() else 0
        if have < self.archive.size:
            self.fetch(url, have)
        arrived = self.part.stat().st_size
        if arrived < self.archive.size:
            raise requests.ConnectionError(f"{url}: {arrived} of {self.archive.size} bytes arrived")
        # A second name for the same file: pooch checks it, and moves or deletes that name only.
        Path(str(output_file)).unlink()
        os.link(self.part, str(output_file))
        self.handed_over = True

    def fetch(self, url: str, have: int) -> None:
        # Not compressed on the way: sizes and ranges count bytes of the file.
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            response.raise_for_status()
            # A server that does not know ranges sends the whole (200): start anew.
            resumed = response.status_code == requests.codes.partial_content
            bar = tqdm(
                desc=self.archive.name,
                total=self.archive.size,
                initial=have if resumed else 0,
                unit="B",
                unit_scale=True,
                disable=not self.progress,
            )
            with bar, self.part.open("ab" if resumed else "wb") as stream:
                try:
                    # read1 gives what has arrived; to wait for whole chunks loses the last one.
                    while chunk := response.raw.read1(CHUNK_BYTES):
                        stream.write(chunk)
                        stream.flush()
                        bar.update(len(chunk))
                except (urllib3.exceptions.HTTPError, OSError) as error:
                    raise requests.ConnectionError(f"{url}: {error}") from error


def record_files(api: str, record: str, lock: Path, refresh: bool) -> dict[str, Archive]:
    """Files of a Zenodo record by name: from ``lock`` if that is there, else from Zenodo into ``lock``.

    Raises:
        UserError: no answer, or one that is no record.
    """
    if lock.exists() and not refresh:
        return {name: Archive(**entry) for name, entry in json.loads(lock.read_text()).items()}
    url = f"{api}/{record}"
    try:
        response = requests.get(url, timeout=TIMEOUT_S)
        response.raise_for_status()
        files = {
            entry["key"]: Archive(entry["key"], entry["links"]["self"], entry["checksum"], entry["size"])
            for entry in response.json()["files"]
        }
    except requests.RequestException as error:
        raise UserError(
            f"{url}: {error}: see whether this machine reaches Zenodo, or fetch the archives elsewhere and "
            "give them with --from-file"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{url}: expected a Zenodo record, something is missing: {error!r}") from None
    write_json(lock, {name: asdict(archive) for name, archive in files.items()})
    return files


def archive_of(folder: str, files: dict[str, Archive], where: str) -> Archive:
    """The record's archive of a task folder, whatever stands before its name.

    Raises:
        UserError: there is none, or more than one.
    """
    ending = f"{folder}-{PUBLISHED_RATE}.tar.gz"
    found = [archive for name, archive in files.items() if name == ending or name.endswith(f"-{ending}")]
    if len(found) != 1:
        raise UserError(
            f"{where}: {len(found)} files end in {ending}, expected one among {len(files)}: give another "
            "--record (Zenodo shows which versions there are), or --refresh"
        )
    return found[0]


def fetch(archive: Archive, folder: Path, retries: int, progress: bool) -> Path:
    """Download into ``folder``, unless it is there with the right checksum.

    Raises:
        UserError: it did not arrive, or with another checksum, after ``retries`` more attempts.
    """
    algorithm, _, digest = archive.checksum.rpartition(":")
    target = folder / archive.name
    if target.is_file() and pooch.file_hash(str(target), alg=algorithm) == digest:
        return target
    incoming = folder / ".incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    part = incoming / f"{archive.name}.{digest}.part"
    for leftover in incoming.iterdir():
        if leftover.suffix != ".part":
            leftover.unlink()
    cache = pooch.create(
        path=incoming,
        base_url="",
        registry={archive.name: archive.checksum},
        urls={archive.name: archive.url},
        retry_if_failed=retries,
    )
    try:
        cache.fetch(archive.name, downloader=ResumingDownloader(archive, part, progress))
    except requests.RequestException as error:
        raise UserError(
            f"{archive.name}: {error}: run the same command again, it goes on from what has arrived"
        ) from None
    except ValueError as error:
        part.unlink(missing_ok=True)
        raise UserError(
            f"{archive.name}: {error}: what arrived was thrown away; where there is a new version: --refresh"
        ) from None
    (incoming / archive.name).replace(target)
    part.unlink()
    return target


def install(archive: Path, out: Path) -> list[Path]:
    """Unpack an archive and put its task folders into ``out``.

    A folder that is there gets the sample rates that it lacks; what it has stays.

    Raises:
        UserError: no task folder in the archive, or one that is there with other splits or labels.
    """
    unpacked = out / f".unpacked-{version_of(archive)}"
    found = task_folders(unpacked)
    if not found:
        shutil.rmtree(unpacked, ignore_errors=True)
        unpack(archive, unpacked)
        found = task_folders(unpacked)
    if not found:
        shutil.rmtree(unpacked)
        raise UserError(f"{archive}: no {METADATA_FILE} in it, expected an archive of HEAR tasks")
    installed = []
    for folder in found:
        target = out / folder.name
        if not target.exists():
            folder.replace(target)
        else:
            add_rates(TaskFolder.open(folder), TaskFolder.open(target))
        installed.append(target)
    shutil.rmtree(unpacked)
    return installed


def task_folders(folder: Path) -> list[Path]:
    return sorted(file.parent for file in folder.rglob(METADATA_FILE))


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
    parser.add_argument("--record", default=ZENODO_RECORD, help="Zenodo record (default: %(default)s)")
    parser.add_argument("--api", default=ZENODO_API, metavar="URL", help="of Zenodo, or of a mirror")
    parser.add_argument("--refresh", action="store_true", help="ask for checksums again")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    if not args.tasks and not args.from_file:
        raise UserError("nothing to do: name tasks (python -m eval_tasks list shows them), or --from-file")
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
        else:
            wanted.append(folder)
    if wanted:
        failed += download(wanted, args)
    if failed:
        raise UserError("\n".join(failed))
    return 0


def download(folders: list[str], args: argparse.Namespace) -> list[str]:
    """Fetch and unpack task folders; what went wrong with those that did not arrive."""
    cache = args.archives or args.out / ".archives"
    lock = cache / f"zenodo-{args.record}.lock.json"
    files = record_files(args.api, args.record, lock, args.refresh)
    where = f"{args.api}/{args.record}"
    archives = {folder: archive_of(folder, files, where) for folder in folders}
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
