"""Files of any length, format and sample rate in constant memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
import torch
from torch import Tensor

from hear_msss.audio import open_sound

IN_MEMORY_BYTES = 1 << 22  # 65 s of samples: a longer clip goes to disk


@dataclass(frozen=True, eq=False)
class DecodedClip:
    """A clip mono, as float32, in memory or in a temporary file.

    Scene windows lie evenly over the whole clip, but the length of a compressed or resampled file is known
    only at its end. So the file is decoded once, a long one to disk (230 MB an hour), and read from there.
    """

    file: IO[bytes]
    samples: int
    warnings: tuple[str, ...] = ()  # what its header announces and the file lacks

    def read(self, begin: int, end: int) -> Tensor:
        """Samples ``[begin, end)`` as ``(1, end - begin)``, zeros where that is outside the clip."""
        first, last = min(max(begin, 0), self.samples), min(max(end, 0), self.samples)
        self.file.seek(4 * first)
        result = np.zeros((1, end - begin), np.float32)
        result[0, first - begin : last - begin] = np.frombuffer(
            self.file.read(4 * (last - first)), np.float32
        )
        return torch.from_numpy(result)

    def close(self) -> None:
        self.file.close()


def decode_clip(
    source: str | Path | BinaryIO,
    sample_rate: int,
    spool_folder: str | Path | None = None,
    name: str | None = None,
) -> DecodedClip:
    """Decode a file, mix its channels down and resample it, block by block; to be closed by the caller.

    Args:
        source, name: see :func:`hear_msss.audio.open_sound`.
        sample_rate: wanted, in Hz.
        spool_folder: where the temporary file of a long clip lies; without it, the system's folder for
            such files, which on some systems is memory.

    Raises:
        SoundError: a ValueError: no sound file, one without samples, or samples that cannot be embedded.
    """
    folder = None if spool_folder is None else str(spool_folder)
    spool = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, prefix=".hear_msss.", dir=folder)  # noqa: SIM115
    try:
        samples = 0
        with open_sound(source, name) as sound:
            for block in sound.blocks(sample_rate):
                spool.write(block.tobytes())
                samples += len(block)
        return DecodedClip(spool, samples, tuple(sound.warnings))
    except BaseException:
        spool.close()
        raise


@contextmanager
def open_clip(
    source: str | Path | BinaryIO, sample_rate: int, spool_folder: str | Path | None = None
) -> Iterator[DecodedClip]:
    """:func:`decode_clip`, closed at the end of the ``with`` block."""
    clip = decode_clip(source, sample_rate, spool_folder)
    try:
        yield clip
    finally:
        clip.close()
