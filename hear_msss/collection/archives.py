"""Sounds in tar files, such as the shards of WebDataset, read in place."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from hear_msss.audio import is_sound
from hear_msss.collection.sources import BrokenSource, Stamp


@dataclass(frozen=True)
class MemberSource:
    """A member of a tar file; all of it is in memory while it is decoded."""

    archive: Path
    member: str
    offset: int
    size_bytes: int

    @property
    def name(self) -> str:
        return f"{self.archive}/{self.member}"

    def stamp(self) -> Stamp:
        return Stamp.of(self.archive)

    def open(self) -> BinaryIO:
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size_bytes))


def find_members(archive: Path) -> Iterator[tuple[MemberSource | BrokenSource, Path]]:
    """The sounds of a tar file, by the ends of their names, each with a path below the archive's name.

    If the file is no tar file, is compressed or is cut short, a :class:`BrokenSource` follows the sounds that
    it holds.
    """
    size_bytes = archive.stat().st_size
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if member.offset_data + member.size > size_bytes:
                    raise tarfile.ReadError(f"it ends within {member.name}")
                if member.isfile() and is_sound(member.name):
                    source = MemberSource(archive, member.name, member.offset_data, member.size)
                    yield source, Path(archive.name, below(member.name))
    except tarfile.TarError as error:
        reason = (
            f"cannot be read to its end as a tar file ({error}): get it anew, and unpack what is compressed"
        )
        yield BrokenSource(archive, reason), Path(archive.name)


def below(name: str) -> str:
    """A name from an archive as a path that stays below where it is put."""
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..", ".")]
    return "/".join(parts) or "unnamed"
