"""Any sound file to 16 kHz mono int16, block by block."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

BLOCK_SAMPLES = 1 << 18  # read at once: bounds the memory that an hour-long file takes
RESAMPLER_REACH = 320  # samples either side that a resampled one depends on, amply
FULL_SCALE = 32768  # of int16: a 16 kHz mono PCM16 file comes out bit for bit


@dataclass(frozen=True)
class ClipSettings:
    """How files become clips; fixed for the life of a corpus.

    Attributes:
        sample_rate: of the store, in Hz.
        clip_s: longer files are cut into clips of this length.
        min_clip_s: what is shorter (a file, or the rest of one after cutting) is left out.
        silence_dbfs: a clip whose peak stays below is silent, and left out.
    """

    sample_rate: int = 16000
    clip_s: float = 10.0
    min_clip_s: float = 0.5
    silence_dbfs: float = -60.0

    def __post_init__(self) -> None:
        if not 0 < self.min_clip_s <= self.clip_s:
            raise ValueError(
                f"min_clip_s={self.min_clip_s} and clip_s={self.clip_s}: expected 0 < min_clip_s <= clip_s"
            )

    @property
    def clip_samples(self) -> int:
        return round(self.clip_s * self.sample_rate)

    @property
    def min_clip_samples(self) -> int:
        return round(self.min_clip_s * self.sample_rate)


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples in [-1, 1] to int16; what lies beyond is clipped."""
    scaled = np.rint(samples * np.float32(FULL_SCALE))
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype("<i2")


def mono_blocks(file: Path, sample_rate: int) -> Iterator[NDArray[np.int16]]:
    """Read a file as mono int16 blocks at ``sample_rate``, whatever its rate and channel count.

    Channels are averaged; the level is left as it is.

    Raises:
        soundfile.LibsndfileError: the file cannot be read.
        ValueError: samples that are not finite numbers.
    """
    # As bytes, since soundfile cannot open names that are not UTF-8 otherwise.
    with soundfile.SoundFile(os.fsencode(file)) as sound:
        resampler = None
        if sound.samplerate != sample_rate:
            resampler = soxr.ResampleStream(sound.samplerate, sample_rate, 1, dtype="float32")
        while True:
            block = sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)
            mono = block.mean(axis=1)
            if not np.isfinite(mono).all():
                raise ValueError("samples that are not finite numbers")
            last = len(block) < BLOCK_SAMPLES
            yield to_int16(mono if resampler is None else resampler.resample_chunk(mono, last=last))
            if last:
                return


def cut(blocks: Iterator[NDArray[np.int16]], clip_samples: int) -> Iterator[NDArray[np.int16]]:
    """Join blocks and cut them into clips of ``clip_samples``; the last one may be shorter."""
    rest = np.zeros(0, dtype="<i2")
    for block in blocks:
        rest = np.concatenate([rest, block])
        full = len(rest) // clip_samples * clip_samples
        yield from rest[:full].reshape(-1, clip_samples)
        rest = rest[full:]
    if len(rest):
        yield rest


def convert(path: Path, part: Path, settings: ClipSettings) -> dict[str, Any]:
    """Cut one file into clips and write those worth keeping to ``part``, one after the other.

    What is wrong with the file raises nothing: the reason is in the result.

    Returns:
        ``clips``: a list of ``(start, length, peak, rms, sha256)`` in samples and full scale = 1;
        ``dropped``: a list of ``(start, length, reason)``; ``reason``: why no clip is left, or None.

    Raises:
        OSError: ``part`` cannot be written.
    """
    threshold = FULL_SCALE * 10 ** (settings.silence_dbfs / 20)
    clips: list[tuple[int, int, float, float, str]] = []
    dropped: list[tuple[int, int, str]] = []
    reason, start = None, 0
    try:
        with part.open("wb") as out:
            for clip in cut(mono_blocks(path, settings.sample_rate), settings.clip_samples):
                level = np.abs(clip.astype(np.float64))
                peak = float(level.max())
                if len(clip) < settings.min_clip_samples:
                    dropped.append((start, len(clip), "too short"))
                elif peak < threshold:
                    dropped.append((start, len(clip), "silent"))
                else:
                    data = clip.tobytes()
                    out.write(data)
                    rms = float(np.sqrt(np.mean(level**2)))
                    levels = (round(peak / FULL_SCALE, 6), round(rms / FULL_SCALE, 6))
                    clips.append((start, len(clip), *levels, hashlib.sha256(data).hexdigest()))
                start += len(clip)
    except OSError:
        raise  # our own disk: soundfile raises none
    except Exception as error:  # any decoder's fault: one bad file of many is listed, not fatal
        # Without the path that soundfile puts before it: the store is to be the same wherever it is made.
        what = getattr(error, "error_string", str(error)).strip() or repr(error)
        return {"clips": [], "dropped": [], "reason": f"unreadable: {what}"}
    if not clips:
        duration_s = start / settings.sample_rate
        too_short = duration_s < settings.min_clip_s
        reason = f"too short: {duration_s:.3f} s" if too_short else f"silent: {duration_s:.3f} s"
    return {"clips": clips, "dropped": dropped, "reason": reason}


def read_segment(file: BinaryIO, start: int, length: int, sample_rate: int) -> NDArray[np.int16]:
    """A segment of a file, mono at ``sample_rate``, without reading the whole file.

    At another rate, a little more than the segment is read, beginning where both rates have a sample
    at the same time, so that it comes out as if cut from the whole file resampled.

    Args:
        start, length: in samples at ``sample_rate``.

    Returns:
        int16, ``(length,)``, shorter where the file ends before.
    """
    with soundfile.SoundFile(file) as sound:
        rate = sound.samplerate
        grain = sample_rate // gcd(rate, sample_rate)
        begin = max(0, start - RESAMPLER_REACH) // grain * grain
        end = start + length + (RESAMPLER_REACH if rate != sample_rate else 0)
        sound.seek(min(begin * rate // sample_rate, sound.frames))
        count = -(-(end - begin) * rate // sample_rate)
        mono = sound.read(count, dtype="float32", always_2d=True).mean(axis=1)
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate)
    return to_int16(np.nan_to_num(mono[start - begin : start - begin + length]))
