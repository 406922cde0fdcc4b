"""Where a sound comes from, and decoding ahead: while the encoder computes, threads read the next sounds."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Generic, Protocol, TypeVar

from hear_msss.audio import SoundError
from hear_msss.streaming import DecodedClip, decode_clip

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells a file from a later state of it."""

    size_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)


class Source(Protocol):
    """A sound by name: a file, or a part of one."""

    @property
    def name(self) -> str:
        """For messages and records."""

    def stamp(self) -> Stamp:
        """Of the file that it lies in; an OSError where there is none."""

    def open(self) -> Path | BinaryIO:
        """What :func:`hear_msss.audio.open_sound` takes."""


AnySource = TypeVar("AnySource", bound=Source)


@dataclass(frozen=True, slots=True)
class FileSource:
    """A sound file; of a path the name alone is kept, since a collection has millions."""

    name: str

    @property
    def path(self) -> Path:
        return Path(self.name)

    def stamp(self) -> Stamp:
        return Stamp.of(self.path)

    def open(self) -> Path:
        return self.path


@dataclass(frozen=True)
class BrokenSource:
    """An archive or a table of which some or all sounds cannot be found: a bad file under its own name."""

    path: Path
    reason: str

    @property
    def name(self) -> str:
        return str(self.path)

    def stamp(self) -> Stamp:
        return Stamp.of(self.path)

    def open(self) -> Path:
        raise ValueError(self.reason)


@dataclass(frozen=True, eq=False)
class Decoded(Generic[AnySource]):
    """A source with its clip, or with the reason why there is none; ``stamp`` as it was when it was read."""

    source: AnySource
    clip: DecodedClip | None = None
    stamp: Stamp | None = None
    error: str = ""
    disk_error: bool = False  # the disk takes no temporary file


def decode(source: AnySource, sample_rate: int, spool_folder: Path | None = None) -> Decoded[AnySource]:
    """Read a source to its end; nothing that is wrong with it is raised."""
    try:
        before = source.stamp()
    except OSError as error:
        return Decoded(source, error=f"cannot be read: {error.strerror}")
    try:
        clip = decode_clip(source.open(), sample_rate, spool_folder, source.name)
        if source.stamp() == before:
            return Decoded(source, clip, before)
        clip.close()
        return Decoded(source, error="changed while it was read: embed it again once it is complete")
    except SoundError as error:
        return Decoded(source, stamp=before, error=error.reason)
    except OSError as error:
        return Decoded(source, error=str(error), disk_error=error.errno in DISK_ERRORS)
    except ValueError as error:
        return Decoded(source, stamp=before, error=str(error))


def decode_ahead(
    sources: Iterable[AnySource], sample_rate: int, threads: int = 1, spool_folder: Path | None = None
) -> Iterator[Decoded[AnySource]]:
    """All sources in their order, decoded by threads while the caller works.

    Args:
        sources: taken as they are needed.
        sample_rate: wanted, in Hz.
        threads: at most twice as many clips lie ready; 0 decodes in the caller's thread.
        spool_folder: see :func:`hear_msss.streaming.decode_clip`.
    """
    if not threads:
        yield from (decode(source, sample_rate, spool_folder) for source in sources)
        return
    ready: deque[Future[Decoded[AnySource]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        try:
            for source in sources:
                ready.append(pool.submit(decode, source, sample_rate, spool_folder))
                if len(ready) > 2 * threads:
                    yield ready.popleft().result()
            while ready:
                yield ready.popleft().result()
        finally:  # the caller may stop in the middle
            for future in ready:
                if not future.cancel() and (clip := future.result().clip):
                    clip.close()
