"""Files of any length, format and sample rate in constant memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from hear_msss import windows
from hear_msss.checks import check_audio
from hear_msss.model import MSSS

BLOCK_S = 20  # seconds of audio that are held at once


@dataclass(frozen=True)
class Clip:
    """A clip at the model's sample rate, mono, as float32 in a temporary file.

    A compressed or resampled file's length is known only after its end was read, and scene windows
    lie evenly over the whole; so it is decoded once, to disk (230 MB an hour), and read from there.
    """

    file: BinaryIO
    samples: int
    device: torch.device

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
def open_clip(path: str | Path, model: MSSS, spool_folder: str | Path | None = None) -> Iterator[Clip]:
    """Decode a file, mix its channels down and resample it, block by block.

    Args:
        path: anything that soundfile reads.
        spool_folder: where the temporary file lies; without it, the system's folder for such files,
            which on some systems is memory.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no sound file, a truncated one, one without samples, or samples that cannot be
            embedded (see :func:`hear_msss.checks.check_audio`).
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    device = next(model.parameters()).device
    with tempfile.TemporaryFile(prefix=".hear_msss.", dir=spool_folder) as spool:
        try:
            samples = _spool(path, model.sample_rate, spool)
        except soundfile.SoundFileError as error:
            raise ValueError(
                f"{path} cannot be decoded ({error}): expected a whole file in a format of libsndfile "
                "(wav, flac, ogg, opus, mp3, aiff ...); convert others with ffmpeg"
            ) from error
        if not samples:
            raise ValueError(f"{path} holds no samples")
        yield Clip(spool, samples, device)


def _spool(path: str | Path, sample_rate: int, spool: BinaryIO) -> int:
    with soundfile.SoundFile(str(path)) as sound:
        resample = soxr.ResampleStream(sound.samplerate, sample_rate, 1, dtype="float32", quality="HQ")
        same_rate = sound.samplerate == sample_rate
        read = written = 0
        while True:
            block = sound.read(BLOCK_S * sound.samplerate, dtype="float32", always_2d=True)
            last = len(block) == 0
            if not last:
                _check_block(path, block, read / sound.samplerate)
            read += len(block)
            mono = np.ascontiguousarray(block.mean(axis=1))
            if not same_rate:
                mono = resample.resample_chunk(mono, last=last)
            spool.write(mono.tobytes())
            written += len(mono)
            if last:
                break
        if read < sound.frames:
            raise ValueError(
                f"{path} is truncated: its header announces {sound.frames / sound.samplerate:.2f} s, "
                f"{read / sound.samplerate:.2f} s can be read"
            )
    return written


def _check_block(path: str | Path, block: np.ndarray, start_s: float) -> None:
    try:
        check_audio(torch.from_numpy(np.ascontiguousarray(block.T)))
    except ValueError as error:
        raise ValueError(f"{path}, in the {BLOCK_S} s from {start_s:g} s on: {error}") from error


def timestamp_blocks(clip: Clip, model: MSSS) -> Iterator[tuple[Tensor, np.ndarray]]:
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


def scene_embedding(clip: Clip, model: MSSS) -> Tensor:
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
