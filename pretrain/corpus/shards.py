"""Reads segments from WebDataset shards: for corpora that no disk here holds."""

from __future__ import annotations

import hashlib
import random
import re
import warnings
from collections.abc import Iterator
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import braceexpand
import numpy as np
import soundfile
import torch
from torch import Tensor
from webdataset.filters import shuffle
from webdataset.tariterators import tarfile_samples

from pretrain.corpus.audio import ClipSettings, read_segment
from pretrain.corpus.find import is_sound
from pretrain.corpus.sampling import (
    EPOCH,
    HELD_OUT,
    SEGMENT,
    VALIDATION_FRACTION,
    fill_segment,
    segment_places,
)
from pretrain.corpus.store import file_hash

MAX_VALIDATION_CLIPS = 512  # more would mean to stream far into the corpus, at each validation


def expand(location: str | Path) -> list[str]:
    """The shards of a tar file, a folder of tar files, or a path or URL pattern with braces.

    Raises:
        FileNotFoundError: a local shard is missing, or a folder has none.
    """
    text = str(location)
    folder = Path(text).expanduser()
    if folder.is_dir():
        shards = sorted(str(path) for path in folder.iterdir() if re.search(r"\.tar(\.\w+)?$", path.name))
        if not shards:
            raise FileNotFoundError(f"{folder}: no tar files in it")
        return shards
    shards = list(braceexpand.braceexpand(text if is_remote(text) else str(folder)))
    for shard in shards:
        if not is_remote(shard) and not Path(shard).is_file():
            raise FileNotFoundError(f"{shard}: no such folder or shard (given as {text!r})")
    return shards


def is_remote(location: str | Path) -> bool:
    """Whether a location is a URL (``https://...``) or a command (``pipe:...``)."""
    return re.match(r"[a-z0-9]+://|pipe:", str(location)) is not None


class Clip:
    """One sample of a shard: key, encoded audio, and what its header says."""

    def __init__(self, key: str, audio: bytes, sample_rate: int) -> None:
        self.key, self.audio = key, audio
        with soundfile.SoundFile(BytesIO(audio)) as sound:
            self.samples = sound.frames * sample_rate // sound.samplerate


class ShardSource:
    """A ``SegmentSource`` over tar files, streamed and shuffled.

    A sample of a shard is a clip, in any format that soundfile reads; of those longer than a packed
    clip (10 s), a window of that length stands for the clip, drawn anew each time. 16 kHz mono FLAC is
    read fastest. Each rank has its own shards, ``shards[rank::world_size]``, so that no clip is in the
    batches of two ranks; each epoch has them in a new order, and shuffles in a buffer. What does not
    fill a last batch is left out of that epoch. To resume, the stream is read again up to
    ``first_step``, without decoding.

    Args:
        location: see ``expand``.
        validation_fraction: of the samples, by hash of the key.
        shuffle_clips: length of the shuffle buffer; it holds encoded clips in memory.
    """

    def __init__(
        self,
        location: str | Path,
        validation_fraction: float = VALIDATION_FRACTION,
        shuffle_clips: int = 1000,
    ) -> None:
        if not 0 <= validation_fraction < 1:
            raise ValueError(f"validation_fraction={validation_fraction}: expected at least 0 and below 1")
        self.location = str(location)
        self.shards = expand(location)
        self.validation_fraction = validation_fraction
        self.shuffle_clips = shuffle_clips
        self.settings = ClipSettings()
        self._validation: dict[tuple[int, int, int], list[tuple[Tensor, Tensor]]] = {}

    def _held_out(self, key: str) -> bool:
        return file_hash("", key) < self.validation_fraction * 2**64

    def _clips(self, shards: list[str], held_out: bool) -> Iterator[Clip]:
        """Clips of one side whose header can be read and that are not too short."""
        for sample in tarfile_samples({"url": shard} for shard in shards):
            key = sample["__key__"]
            names = sorted(name for name in sample if is_sound(Path(f"x.{name}")))
            if not names or self._held_out(key) != held_out:
                continue
            try:
                clip = Clip(key, sample[names[0]], self.settings.sample_rate)
            except soundfile.LibsndfileError as error:
                warnings.warn(f"{sample['__url__']}: {key} left out, unreadable: {error}", stacklevel=2)
                continue
            if clip.samples >= self.settings.min_clip_samples:
                yield clip

    def _groups(self, batch_size: int, seed: int, rank: int, world_size: int) -> Iterator[list[Clip]]:
        """Endless lists of ``batch_size`` clips, each clip once an epoch."""
        mine = self.shards[rank::world_size]
        group: list[Clip] = []
        for epoch in count():
            order = np.random.default_rng((EPOCH, seed, epoch, rank)).permutation(len(mine))
            clips = self._clips([mine[number] for number in order], held_out=False)
            buffer = self.shuffle_clips
            mixer = random.Random(f"{seed}/{epoch}/{rank}")
            found, whole = 0, 0
            for clip in shuffle(buffer, initial=buffer, rng=mixer)(clips):
                found += 1
                group.append(clip)
                if len(group) == batch_size:
                    yield group
                    group, whole = [], whole + 1
            if not found:
                raise ValueError(
                    f"{self.location}: no clips to train on in the shards of rank {rank}: all unreadable, "
                    "too short or held out for validation"
                )
            if whole:
                group = []

    def _pairs(
        self, clips: list[Clip], random_numbers: np.random.Generator, segment_samples: int
    ) -> tuple[Tensor, Tensor]:
        uniform = random_numbers.random((len(clips), 3))
        whole = np.array([clip.samples for clip in clips])
        lengths = np.minimum(whole, self.settings.clip_samples)
        windows = np.floor(uniform[:, 2] * (whole - lengths + 1)).astype(np.int64)
        places = segment_places(uniform[:, :2], lengths, segment_samples)
        segments = np.zeros((2, len(clips), segment_samples), dtype=np.int16)
        for row, clip in enumerate(clips):
            for view, place in enumerate(places[row].tolist()):
                start = int(windows[row]) + max(place, 0)
                wanted = min(segment_samples, int(lengths[row]))
                piece = read_segment(BytesIO(clip.audio), start, wanted, self.settings.sample_rate)
                fill_segment(segments[view, row], piece, min(place, 0))
        return torch.from_numpy(segments[0]), torch.from_numpy(segments[1])

    def batches(
        self,
        *,
        batch_size: int,
        segment_samples: int,
        seed: int,
        first_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See ``SegmentSource.batches``.

        Raises:
            ValueError: fewer shards than ranks, or no clips in them.
        """
        if not 0 <= rank < world_size or batch_size < 1:
            raise ValueError(
                f"rank {rank} of {world_size}, batch_size {batch_size}: expected 0 <= rank < world_size"
            )
        if len(self.shards) < world_size:
            raise ValueError(
                f"{self.location}: {len(self.shards)} shards for {world_size} processes; each needs at "
                "least one of its own: write smaller shards"
            )
        for step, clips in enumerate(self._groups(batch_size, seed, rank, world_size)):
            if step >= first_step:
                numbers = np.random.default_rng((SEGMENT, seed, step, rank))
                yield self._pairs(clips, numbers, segment_samples)

    def validation(
        self, *, batch_size: int, segment_samples: int, seed: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See ``SegmentSource.validation``: the first 512 held-out clips, streamed once and kept."""
        setting = (batch_size, segment_samples, seed)
        if setting not in self._validation:
            held: list[Clip] = []
            if self.validation_fraction:
                for clip in self._clips(self.shards, held_out=True):
                    held.append(clip)
                    if len(held) == MAX_VALIDATION_CLIPS:
                        break
            numbers = np.random.default_rng((HELD_OUT, seed))
            size = min(batch_size, len(held)) or 1
            self._validation[setting] = [
                self._pairs(held[start : start + size], numbers, segment_samples)
                for start in range(0, len(held) - size + 1, size)
            ]
        yield from self._validation[setting]

    def steps_per_epoch(self, global_batch_size: int) -> None:
        """None: what is in the shards is not known before they are read."""
        return None

    def summary(self) -> dict[str, Any]:
        """See ``SegmentSource.summary``; the hash is that of the shards' names and local sizes."""
        digest = hashlib.sha256()
        for shard in self.shards:
            size = "" if is_remote(shard) else Path(shard).stat().st_size
            digest.update(f"{Path(shard).name} {size}\n".encode())
        return {
            "kind": "shards",
            "hash": digest.hexdigest(),
            "hours": None,
            "clips": None,
            "shards": len(self.shards),
            "location": self.location,
            "weights": None,
        }
