"""The one reader of sound files: float32 mono blocks at a wanted rate, from any file, in constant memory.

>>> with open_sound("dog.m4a") as sound:                        # doctest: +SKIP
...     samples = np.concatenate(list(sound.blocks(16_000)))    # (samples,)
...     print(sound.warnings)                                   # what is missing, in sentences

The length of a file is found by reading to its end; its header is not trusted. If the file has less than its
header announces, there is a warning. A file is refused if it has no samples, or samples that are not finite
or more than ten times full scale. Neither torch nor the model is imported here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr
from numpy.typing import NDArray

from hear_msss.reading import containers, decoding, ffmpeg

LOUDEST = 10.0  # resampling overshoots 1.0 a little; integers taken for floats exceed this at once
LOWEST_HZ, HIGHEST_HZ = 1_000, 1_000_000  # a damaged header may name any rate

# Sound by name, where a folder is searched. A file that is given by its name may be called as it likes.
SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("wav", "wave", "bwf", "rf64", "w64", "flac", "aif", "aiff", "aifc", "au", "snd", "caf", "voc"),
        *("sph", "nist", "ogg", "oga", "opus", "spx", "mp1", "mp2", "mp3", "mpga", "aac", "ac3", "eac3"),
        *("amr", "ape", "wv", "tta", "tak", "mpc", "dsf", "m4a", "m4b", "mp4", "3gp", "mov", "mka", "mkv"),
        *("webm", "weba", "wma", "asf"),
    )
)


class SoundError(ValueError):
    """A sound file that is refused.

    Attributes:
        name: of the file.
        reason: a sentence without the name.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def _refusal(name: str, error: Exception) -> SoundError:
    """For what went wrong in reading: of the thousand faults that files have, decoders do not know all."""
    if isinstance(error, OSError):
        return SoundError(name, f"cannot be read: {error.strerror or error}")
    return SoundError(name, f"cannot be decoded ({type(error).__name__}: {error})")


class Sound:
    """An open sound file.

    Attributes:
        name: for messages.
        sample_rate: of the file, in Hz.
        channels: of the file.
        subtype: the coding of its samples as libsndfile names it, such as PCM_16; empty where FFmpeg decodes.
        announced_s: what its header says or lets guess of its length; for progress bars only.
        warnings: sentences without the name; complete once ``blocks`` is at its end.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        try:
            self._decoder = decoding.decoder_of(file)
        except ffmpeg.Undecodable as error:
            why = "; ".join([str(error), *containers.warnings_of(file)])
            raise SoundError(
                name, f"cannot be decoded ({why}): expected a sound file that libsndfile or FFmpeg reads"
            ) from error
        except Exception as error:
            raise _refusal(name, error) from error
        self.warnings = self._decoder.warnings
        self.sample_rate = self._decoder.sample_rate
        self.channels = self._decoder.channels
        self.subtype = self._decoder.subtype
        self.announced_s = self._decoder.announced_s
        if self.sample_rate and not LOWEST_HZ <= self.sample_rate <= HIGHEST_HZ:  # 0: no sample tells it
            self.close()
            raise SoundError(
                name, f"has a sample rate of {self.sample_rate} Hz: expected {LOWEST_HZ} to {HIGHEST_HZ}"
            )

    def blocks(self, sample_rate: int | None = None) -> Iterator[NDArray[np.float32]]:
        """The file from its begin to its end, channels averaged; to be called once.

        Args:
            sample_rate: wanted, in Hz; the file's own if None. soxr resamples at its high quality, to the
                same samples as in one piece.

        Yields:
            ``(samples,)`` float32, finite; the file's own samples are at most ``LOUDEST`` in level.

        Raises:
            SoundError: the file holds no sample, or values that are refused, or cannot be read.
        """
        wanted = sample_rate or self.sample_rate
        resampler, resampled_from, time_s = None, wanted, 0.0
        nothing = np.zeros(0, np.float32)
        try:
            for rate, block in self._decoder.blocks():
                self._check(block, rate, time_s)
                time_s += len(block) / rate
                if rate != resampled_from:  # at the begin, or where joined files differ
                    if resampler is not None:
                        yield resampler.resample_chunk(nothing, last=True)
                    resampler = None
                    if rate != wanted:
                        resampler = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")
                    resampled_from = rate
                mono = np.ascontiguousarray(block.mean(axis=1))
                yield mono if resampler is None else resampler.resample_chunk(mono)
        except SoundError:
            raise
        except Exception as error:
            raise _refusal(self.name, error) from error
        if not time_s:
            raise SoundError(self.name, "; ".join(["holds no samples", *self.warnings]))
        if resampler is not None:
            yield resampler.resample_chunk(nothing, last=True)

    def read(
        self, sample_rate: int | None = None, start: int = 0, samples: int | None = None
    ) -> NDArray[np.float32]:
        """The file, or a part of it, in one piece; to be called once.

        Args:
            sample_rate: see ``blocks``.
            start: the first sample wanted, counted at ``sample_rate``.
            samples: how many; to the end if None. Reading stops there, and so do the warnings.

        Returns:
            ``(samples,)`` float32, fewer where the file ends before.

        Raises:
            SoundError: see ``blocks``.
        """
        end = None if samples is None else start + samples
        parts, place = [np.zeros(0, np.float32)], 0
        for block in self.blocks(sample_rate):
            parts.append(block[max(0, start - place) : None if end is None else max(0, end - place)])
            place += len(block)
            if end is not None and place >= end:
                break
        return np.concatenate(parts)

    def _check(self, block: NDArray[np.float32], rate: int, time_s: float) -> None:
        if not len(block) or -LOUDEST <= block.min() <= block.max() <= LOUDEST:
            return
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            first_s = time_s + int(finite.argmin()) / rate
            raise SoundError(
                self.name,
                f"holds NaN or infinite samples, the first at {first_s:.3f} s: expected finite values in "
                "[-1, 1]",
            )
        level = np.abs(block).max(axis=1)
        first_s = time_s + int((level > LOUDEST).argmax()) / rate
        raise SoundError(
            self.name,
            f"reaches {level.max():g}, first beyond {LOUDEST:g} at {first_s:.3f} s: expected values in "
            "[-1, 1]; divide float samples that are at the scale of integers, 16-bit ones by 32768",
        )

    def close(self) -> None:
        self._decoder.close()


@contextmanager
def open_sound(source: str | Path | BinaryIO, name: str | None = None) -> Iterator[Sound]:
    """Open a sound file of any format that libsndfile or FFmpeg reads, by what it holds.

    Args:
        source: a path, in any encoding of names, or a seekable binary file.
        name: for messages; the path if None.

    Raises:
        SoundError: no regular file, not readable, or no sound.
    """
    if not isinstance(source, (str, Path)):
        with _closing(Sound(source, name or "sound")) as sound:
            yield sound
        return
    name = name or os.fspath(source)
    try:
        if not stat.S_ISREG(Path(source).stat().st_mode):  # opening a pipe would wait for its writer
            raise SoundError(name, "is no regular file but a folder, a pipe or a device")
        # Through the descriptor: neither library takes every name that a file may have.
        file = open(os.open(source, os.O_RDONLY), "rb", buffering=0)  # noqa: SIM115, PTH123
    except OSError as error:
        raise SoundError(name, f"cannot be read: {error.strerror or error}") from error
    with file, _closing(Sound(file, name)) as sound:
        yield sound


@contextmanager
def _closing(sound: Sound) -> Iterator[Sound]:
    try:
        yield sound
    finally:
        sound.close()


def read_mono(
    source: str | Path | BinaryIO, sample_rate: int | None = None, name: str | None = None
) -> tuple[NDArray[np.float32], int, list[str]]:
    """A whole file in one piece.

    Args:
        source, name: see :func:`open_sound`.
        sample_rate: wanted, in Hz; the file's own if None.

    Returns:
        ``(samples,)`` float32; the sample rate in Hz; warnings.

    Raises:
        SoundError: see :meth:`Sound.blocks`.
    """
    with open_sound(source, name) as sound:
        return sound.read(sample_rate), sample_rate or sound.sample_rate, sound.warnings


@dataclass(frozen=True)
class Measured:
    """A file's length at its own sample rate in Hz, and what is missing."""

    samples: int
    sample_rate: int
    warnings: list[str]

    @property
    def duration_s(self) -> float:
        return self.samples / self.sample_rate


def measure(source: str | Path | BinaryIO, name: str | None = None) -> Measured:
    """Read a file to its end, in constant memory, for its length.

    Raises:
        SoundError: see :meth:`Sound.blocks`.
    """
    with open_sound(source, name) as sound:
        samples = sum(map(len, sound.blocks()))
        return Measured(samples, sound.sample_rate, sound.warnings)


def is_sound(path: str | Path) -> bool:
    """Whether a file is a sound by the end of its name."""
    return Path(path).suffix.lower() in SUFFIXES


def find_sounds(folder: str | Path) -> Iterator[Path]:
    """All files below ``folder`` that are sounds by name, through linked folders too, each folder once.

    Pipes and links that lead nowhere are among them: whoever reads them is told so.
    """
    seen = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(root, name) for name in sorted(names) if is_sound(name))
