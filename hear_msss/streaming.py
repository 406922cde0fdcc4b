"""Files of any length, format and sample rate in constant memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from hear_msss import windows
from hear_msss.audio import open_sound
from hear_msss.model import MSSS

BLOCK_S = 20  # seconds of audio that are held at once


@dataclass(frozen=True)
class DecodedClip:
    """A clip at the model's sample rate, mono, as float32 in a temporary file.

    A compressed or resampled file's length is known only after its end was read, and scene windows
    lie evenly over the whole; so it is decoded once, to disk (230 MB an hour), and read from there.
    """

    file: BinaryIO
    samples: int
    device: torch.device
    warnings: tuple[str, ...] = ()  # what its header announces and the file lacks

    def read(self, begin: int, end: int) -> Tensor:
        """Samples ``[begin, end)`` as ``(1, end - begin)``, zeros where that is outside the clip."""
        first, last = min(max(begin, 0), self.samples), min(max(end, 0), self.samples)
        self.file.seek(4 * first)
        result = np.zeros((1, end - begin), np.float32)
        result[0, first - begin : last - begin] = np.frombuffer(
            self.file.read(4 * (last - first)), np.float32
        )
        return torch.from_numpy(result).to(self.device)


@contextmanager
def open_clip(path: str | Path, model: MSSS, spool_folder: str | Path | None = None) -> Iterator[DecodedClip]:
    """Decode a file, mix its channels down and resample it, block by block.

    Args:
        path: any sound file, see :mod:`hear_msss.audio`.
        spool_folder: where the temporary file lies; without it, the system's folder for such files,
            which on some systems is memory.

    Raises:
        SoundError: a ValueError: no sound file, one without samples, or samples that cannot be embedded.
    """
    device = next(model.parameters()).device
    with tempfile.TemporaryFile(prefix=".hear_msss.", dir=spool_folder) as spool:
        samples = 0
        with open_sound(path) as sound:
            for block in sound.blocks(model.sample_rate):
                spool.write(block.tobytes())
                samples += len(block)
        yield DecodedClip(spool, samples, device, tuple(sound.warnings))


def timestamp_blocks(clip: DecodedClip, model: MSSS) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Timestamp embeddings ``(n, size)`` and their times ``(n,)`` in ms, block after block.

    Together they are what :func:`hear_msss.get_timestamp_embeddings` gives for the whole clip.
    """
    hop, config = model.hop_frames, model.config
    count = windows.timestamp_count(clip.samples, hop, config)
    group = model.options.encode_every
    groups = max(1, round(BLOCK_S * model.sample_rate / (group * hop * config.hop_length)))
    for first in range(0, count, groups * group):
        last = min(first + groups * group, count)
        with torch.no_grad():
            embeddings = model.embed_timestamps(clip.read(*model.timestamp_span(first, last)), first, last)
        yield embeddings[0], windows.timestamps_ms(first, last, hop, config)


def scene_embedding(clip: DecodedClip, model: MSSS) -> Tensor:
    """``(size,)``: what :func:`hear_msss.get_scene_embeddings` gives for the clip."""
    config = model.config
    before, behind = windows.scene_margins(clip.samples, config)
    starts = windows.scene_starts(config.frames(before + clip.samples + behind), config)
    at_once = max(1, BLOCK_S * model.sample_rate // (windows.SCENE_HOP_FRAMES * config.hop_length))
    total: Tensor | None = None
    largest: Tensor | None = None
    for part in np.split(starts, np.arange(at_once, len(starts), at_once)):
        begin, end = part[0] * config.hop_length, part[-1] * config.hop_length + config.segment_samples
        with torch.no_grad():
            audio = clip.read(int(begin) - before, int(end) - before)
            pooled = model.embed_scene_windows(audio, part - part[0])
        summed, top = pooled.sum(dim=1, dtype=torch.float64), pooled.amax(dim=1)
        total = summed if total is None else total + summed
        largest = top if largest is None else torch.maximum(largest, top)
    assert total is not None and largest is not None  # scene_starts gives one window at least
    return model.join_scene((total / len(starts)).float(), largest)[0]
