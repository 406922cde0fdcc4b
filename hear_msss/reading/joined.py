"""Sound files that were joined, one behind the other: where each begins, and all of them as one sound.

A decoder stops at the end of the first file, or takes the files that follow for more samples of the first.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO, cast

from hear_msss.reading import containers

# The mark of a FLAC file, and the header of the block that follows it, which may be the last.
FLAC_BEGINS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")
SCAN_BYTES = 1 << 20


class Part(io.RawIOBase):
    """Some bytes of a seekable binary file as a file of their own."""

    def __init__(self, file: BinaryIO, begin: int, end: int) -> None:
        super().__init__()
        self.file, self.begin, self.size, self.place = file, begin, end - begin, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.place = max(0, offset + {0: 0, 1: self.place, 2: self.size}[whence])
        return self.place

    def readinto(self, buffer: Any) -> int:
        self.file.seek(self.begin + self.place)
        data = self.file.read(max(0, min(len(buffer), self.size - self.place)))
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)


def parts_of(file: BinaryIO) -> list[tuple[int, int]]:
    """The first byte of each of the joined files and the one after its last; FLAC and mp3 are not looked for.

    Args:
        file: seekable; its position is moved.
    """
    size = file.seek(0, io.SEEK_END)
    parts = [(0, size)]
    while True:
        begin = parts[-1][0]
        following = containers.joined_at(cast(BinaryIO, Part(file, begin, size)))
        if not following:
            return parts
        parts[-1:] = [(begin, begin + following), (begin + following, size)]


def next_flac(file: BinaryIO) -> int:
    """Where another FLAC file begins behind the first bytes of one; 0 for nowhere."""
    place, kept = 4, b""
    file.seek(place)
    while data := file.read(SCAN_BYTES):
        window = kept + data
        found = [at for mark in FLAC_BEGINS if (at := window.find(mark)) >= 0]
        if found:
            return place - len(kept) + min(found)
        place, kept = place + len(data), window[-len(FLAC_BEGINS[0]) + 1 :]
    return 0
