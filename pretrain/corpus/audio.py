"""Any sound file to 16 kHz mono int16, block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hear_msss.audio import SoundError, open_sound

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

    A bad file raises nothing: the reason is in the result.

    Returns:
        ``clips``: a list of ``(start, length, peak, rms, sha256)`` in samples and full scale = 1;
        ``dropped``: a list of ``(start, length, reason)``; ``reason``: why no clip is left, or None;
        ``warnings``: what the file's header announces and the file lacks.

    Raises:
        OSError: ``part`` cannot be written.
    """
    threshold = FULL_SCALE * 10 ** (settings.silence_dbfs / 20)
    clips: list[tuple[int, int, float, float, str]] = []
    dropped: list[tuple[int, int, str]] = []
    reason, start = None, 0
    try:
        with part.open("wb") as out, open_sound(path) as sound:
            blocks = map(to_int16, sound.blocks(settings.sample_rate))
            for clip in cut(blocks, settings.clip_samples):
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
    except SoundError as error:
        # Without the path: the store is to be the same wherever it is made.
        return {"clips": [], "dropped": [], "reason": f"unreadable: {error.reason}", "warnings": []}
    if not clips:
        duration_s = start / settings.sample_rate
        too_short = duration_s < settings.min_clip_s
        reason = f"too short: {duration_s:.3f} s" if too_short else f"silent: {duration_s:.3f} s"
    return {"clips": clips, "dropped": dropped, "reason": reason, "warnings": sound.warnings}
