"""Zip archives in several parts (name.z01, name.z02, ..., name.zip), read where they lie.

Python's zipfile reads one file. Here the parts are put one behind the other, without a copy of them, and
the members' places, which are counted from the start of a part, are moved by where that part begins.
Source: PKWARE's APPNOTE.TXT, 4.3.12 (central directory) and 4.3.16 (its end).
"""

from __future__ import annotations

import io
import struct
import zipfile
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from eval_tasks.errors import UserError

END = struct.Struct("<4sHHHHLLH")  # signature, number of this part, ..., start of the central directory, ...
END_SIGNATURE = b"PK\x05\x06"
LONGEST_COMMENT = 1 << 16


class Joined(io.RawIOBase):
    """Files one behind the other, for reading."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.starts = [0, *accumulate(path.stat().st_size for path in paths)]
        self.files = [path.open("rb") for path in paths]
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.starts[-1]}[whence]
        self.position = max(0, origin + offset)
        return self.position

    def readinto(self, buffer: Any) -> int:
        if self.position >= self.starts[-1]:
            return 0
        part = bisect_right(self.starts, self.position) - 1
        self.files[part].seek(self.position - self.starts[part])
        read = self.files[part].readinto(buffer)  # up to the end of the part: BufferedReader goes on
        self.position += read
        return read

    def close(self) -> None:
        for file in self.files:
            file.close()
        super().close()


def end_of(archive: Path) -> tuple[int, int]:
    """Number of parts before the last, and where the central directory starts in its part.

    Raises:
        zipfile.BadZipFile: not the last part of a zip archive.
    """
    with archive.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - LONGEST_COMMENT - END.size))
        tail = file.read()
    at = tail.rfind(END_SIGNATURE)
    if at < 0 or len(tail) < at + END.size:
        raise zipfile.BadZipFile("no end of a central directory")
    _, parts_before, _, _, _, _, start, _ = END.unpack_from(tail, at)
    return parts_before, start


def open_zip(archive: Path) -> zipfile.ZipFile:
    """A zip archive, which may be the last of several parts; the others are expected in the same folder.

    Raises:
        UserError: parts that are missing.
        zipfile.BadZipFile: not a zip archive, or a broken one.
    """
    parts_before, start = end_of(archive)
    if parts_before in (0, 0xFFFF):
        return zipfile.ZipFile(archive)
    parts = [archive.with_suffix(f".z{number:02d}") for number in range(1, parts_before + 1)]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise UserError(f"{archive}: {', '.join(missing)} missing in the same folder: fetch all of its parts")
    joined = Joined([*parts, archive])
    try:
        zipped = zipfile.ZipFile(io.BufferedReader(joined, 1 << 20))
    except zipfile.BadZipFile as error:
        joined.close()
        raise zipfile.BadZipFile(
            f"{error}; if the parts are whole, join them: zip -s 0 {archive.name} --out joined.zip"
        ) from None
    # zipfile counts from where it takes the archive to begin, so that the central directory fits.
    moved = zipped.start_dir - start
    for member in zipped.infolist():
        member.header_offset += joined.starts[member.volume] - moved
    return zipped
