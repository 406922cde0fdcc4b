"""Files of a Zenodo record: which there are, and how they get here whole."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import pooch
import requests
import urllib3
from tqdm import tqdm

from eval_tasks.errors import UserError
from eval_tasks.files import read_json, unsafe_name, write_json
from eval_tasks.tasks.registry import PUBLISHED_RATE

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
        try:
            return {name: archive_from(**entry) for name, entry in read_json(lock).items()}
        except (TypeError, UserError) as error:
            raise UserError(f"{lock}: {error}: delete it, or give --refresh") from None
    url = f"{api}/{record}"
    try:
        response = requests.get(url, timeout=TIMEOUT_S)
        response.raise_for_status()
        files = {
            entry["key"]: archive_from(entry["key"], entry["links"]["self"], entry["checksum"], entry["size"])
            for entry in response.json()["files"]
        }
    except requests.RequestException as error:
        raise UserError(
            f"{url}: {error}: see whether this machine reaches Zenodo, or fetch the archives elsewhere and "
            "give them with --from-file"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{url}: expected a Zenodo record, something is missing: {error!r}") from None
    write_json(lock, {name: asdict(archive) for name, archive in files.items()})
    return files


def archive_from(name: str, url: str, checksum: str, size: int) -> Archive:
    """An archive as a record describes it.

    Raises:
        UserError: a name that leads out of the folder, or a value of another kind.
    """
    kinds = all(isinstance(value, str) for value in (name, url, checksum)) and type(size) is int
    if not kinds or unsafe_name(name) or not url.startswith(("https://", "http://")):
        raise UserError(f"file {name!r} at {url!r}, {size!r} bytes: expected a file name, an address, a size")
    if not re.fullmatch(r"(md5|sha1|sha256|sha512):[0-9a-f]+", checksum):
        raise UserError(f"file {name!r}: checksum {checksum!r}, expected such as md5:0123...")
    return Archive(name, url, checksum, size)


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
            f"{archive.name}: {error}: run the same command again; it continues with what has arrived"
        ) from None
    except ValueError as error:
        part.unlink(missing_ok=True)
        raise UserError(
            f"{archive.name}: {error}: what arrived was thrown away; where there is a new version: --refresh"
        ) from None
    (incoming / archive.name).replace(target)
    part.unlink()
    return target
