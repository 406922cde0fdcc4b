"""Reads segments from WebDataset shards: for corpora that no disk here holds."""

from __future__ import annotations

import hashlib
import random
import re
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import braceexpand
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from webdataset.filters import shuffle

from hear_msss.audio import SoundError, is_sound, open_sound
from pretrain.corpus.audio import ClipSettings, to_int16
from pretrain.corpus.location import is_remote
from pretrain.corpus.sampling import (
    EPOCH,
    HELD_OUT,
    SEGMENT,
    VALIDATION_FRACTION,
    fill_segment,
    segment_places,
)
from pretrain.corpus.store import file_hash
from pretrain.corpus.tar_samples import tar_samples

MAX_VALIDATION_CLIPS = 512  # more would mean to stream far into the corpus, at each validation


def expand(location: str | Path) -> list[str]:
    """The shards of a tar file, a folder of tar files, or a path or URL pattern with braces.

    Raises:
        FileNotFoundError: a local shard is missing, or a folder has none.
    """
    text = str(location)
    remote, folder = is_remote(text), Path(text).expanduser()
    if folder.is_dir():
        shards = sorted(str(path) for path in folder.iterdir() if re.search(r"\.tar(\.\w+)?$", path.name))
        if not shards:
            raise FileNotFoundError(f"{folder}: no tar files in it")
        return shards
    shards = list(braceexpand.braceexpand(text if remote else str(folder)))
    for shard in shards:
        if not remote and not Path(shard).is_file():
            raise FileNotFoundError(f"{shard}: no such folder or shard (given as {text!r})")
    return shards


class Encoded(NamedTuple):
    """One sample of a shard, as it is stored."""

    shard: str
    key: str
    audio: bytes


def as_batch(pairs: list[NDArray[np.int16]]) -> tuple[Tensor, Tensor]:
    """Pairs of segments, ``(2, samples)`` each, as anchors and positives, ``(batch, samples)`` each."""
    anchors, positives = np.stack(pairs, axis=1)
    return torch.from_numpy(anchors), torch.from_numpy(positives)


class ShardSource:
    """A ``SegmentSource`` over tar files, streamed and shuffled.

    A sample of a shard is a clip, in any format that ``hear_msss.audio`` reads. From a clip longer than a
    packed clip (10 s), a window of that length is drawn anew each time. Each clip is read to its end, to find
    broken and too short ones; a broken clip is left out with a warning. 16 kHz mono FLAC is read fastest.
    Each rank has its own shards, ``shards[rank::world_size]``, so that no clip is in the batches of two
    ranks; each epoch has them in a new order, and shuffles in a buffer. What does not fill a last batch is
    left out of that epoch. To resume, the first epoch is read again, to count its clips. Whole epochs after
    it are skipped. In the epoch of ``first_step``, the batches before that step are streamed without
    decoding.

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
        one = Path(location).expanduser()
        self.location = str(one.resolve() if one.exists() else location)
        self.shards = expand(location)
        self.validation_fraction = validation_fraction
        self.shuffle_clips = shuffle_clips
        self.settings = ClipSettings()
        self.left_out: set[tuple[str, str]] = set()  # shard and key of clips that are broken or too short
        self._validation: dict[tuple[int, int, int], list[tuple[Tensor, Tensor]]] = {}

    def _held_out(self, key: str) -> bool:
        return file_hash("", key) < self.validation_fraction * 2**64

    def _clips(self, shards: list[str], held_out: bool) -> Iterator[Encoded]:
        """Clips of one side that are not known to be broken or too short."""
        for sample in tar_samples(shards):
            key, shard = sample["__key__"], str(sample["__url__"])
            names = sorted(name for name in sample if is_sound(f"x.{name}"))
            if names and self._held_out(key) == held_out and (shard, key) not in self.left_out:
                yield Encoded(shard, key, sample[names[0]])

    def _read(self, clip: Encoded) -> NDArray[np.int16] | None:
        """``(samples,)`` to the clip's end; None where it is broken, with a warning, or too short."""
        name = f"{clip.shard}: {clip.key}"
        try:
            with open_sound(BytesIO(clip.audio), name) as sound:
                rate = self.settings.sample_rate
                samples = np.concatenate([to_int16(block) for block in sound.blocks(rate)])
        except SoundError as error:
            warnings.warn(f"{error}; it is left out", stacklevel=2)
            samples = np.zeros(0, np.int16)
        else:
            for warning in sound.warnings:
                warnings.warn(f"{name}: {warning}", stacklevel=2)
        if len(samples) < self.settings.min_clip_samples:
            self.left_out.add((clip.shard, clip.key))
            return None
        return samples

    def _pair(
        self, samples: NDArray[np.int16], numbers: NDArray[np.float64], segment_samples: int
    ) -> NDArray[np.int16]:
        """Two segments of a clip, ``(2, segment_samples)``, placed by three numbers of [0, 1)."""
        length = min(len(samples), self.settings.clip_samples)
        window = int(numbers[2] * (len(samples) - length + 1))
        places = segment_places(numbers[None, :2], np.array([length]), segment_samples)
        segments = np.zeros((2, segment_samples), dtype=np.int16)
        for segment, place in zip(segments, places[0].tolist(), strict=True):
            start = window + max(place, 0)
            fill_segment(segment, samples[start : start + min(segment_samples, length)], min(place, 0))
        return segments

    def _shuffled(self, seed: int, epoch: int, rank: int, world_size: int) -> Iterator[Encoded]:
        """The training clips of a rank, in the order of an epoch."""
        mine = self.shards[rank::world_size]
        order = np.random.default_rng((EPOCH, seed, epoch, rank)).permutation(len(mine))
        mixer = random.Random(f"{seed}/{epoch}/{rank}")
        clips = self._clips([mine[number] for number in order], held_out=False)
        return shuffle(self.shuffle_clips, initial=self.shuffle_clips, rng=mixer)(clips)

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
        step, epoch, steps_of_epoch = 0, 0, 0
        group: list[NDArray[np.int16]] = []
        while True:
            if steps_of_epoch:  # the same in every epoch, once it is known what is left out
                skipped = max(0, first_step - step) // steps_of_epoch
                epoch, step = epoch + skipped, step + skipped * steps_of_epoch
            found, begun = 0, step
            numbers = self._numbers(step, batch_size, seed, rank)
            for clip in self._shuffled(seed, epoch, rank, world_size):
                known = epoch > 0 and step < first_step  # what is left out is: no need to read
                samples = np.zeros(1, np.int16) if known else self._read(clip)
                if samples is None:
                    continue
                found += 1
                group.append(self._pair(samples, numbers[len(group)], segment_samples))
                if len(group) == batch_size:
                    if step >= first_step:
                        yield as_batch(group)
                    group, step = [], step + 1
                    numbers = self._numbers(step, batch_size, seed, rank)
            if not found:
                raise ValueError(
                    f"{self.location}: no clips to train on in the shards of rank {rank}: all unreadable, "
                    "too short or held out for validation"
                )
            if step > begun:  # with fewer clips than a batch takes, the next epoch fills it
                group, steps_of_epoch = [], step - begun
            epoch += 1

    @staticmethod
    def _numbers(step: int, batch_size: int, seed: int, rank: int) -> NDArray[np.float64]:
        """What places the segments of a batch: ``(batch, 3)`` in [0, 1)."""
        return np.random.default_rng((SEGMENT, seed, step, rank)).random((batch_size, 3))

    def validation(
        self, *, batch_size: int, segment_samples: int, seed: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See ``SegmentSource.validation``: the first 512 held-out clips, streamed once and kept."""
        setting = (batch_size, segment_samples, seed)
        if setting not in self._validation:
            held: list[NDArray[np.int16]] = []
            numbers = np.random.default_rng((HELD_OUT, seed))
            for clip in self._clips(self.shards, held_out=True) if self.validation_fraction else ():
                samples = self._read(clip)
                if samples is not None:
                    held.append(self._pair(samples, numbers.random(3), segment_samples))
                if len(held) == MAX_VALIDATION_CLIPS:
                    break
            size = min(batch_size, len(held)) or 1
            self._validation[setting] = [
                as_batch(held[start : start + size]) for start in range(0, len(held) - size + 1, size)
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
