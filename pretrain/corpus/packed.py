"""Reads segments from a packed corpus: each is one read of some 30 kB."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrain.corpus.sampling import (
    HELD_OUT,
    SEGMENT,
    VALIDATION_FRACTION,
    OneSource,
    Permuted,
    Weighted,
    fill_segment,
    segment_places,
    source_weights,
    spread_kinds,
)
from pretrain.corpus.store import AUDIO, BYTES_PER_SAMPLE, read_corpus

HOLD_OUT_FROM_FILES = 10  # with so many, one is held out even if none falls below the fraction


def held_out(file_hashes: NDArray[np.uint64], fraction: float) -> NDArray[np.bool_]:
    """Which clips are for validation, all clips of a file on one side.

    Args:
        file_hashes: of each clip's file, ``(clips,)``.
        fraction: of the files, 0 to below 1; 0 holds nothing out.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"validation_fraction={fraction}: expected at least 0 and below 1")
    if fraction == 0 or len(file_hashes) == 0:
        return np.zeros(len(file_hashes), dtype=bool)
    chosen = file_hashes < np.uint64(int(fraction * 2**64))
    files = np.unique(file_hashes)
    if not chosen.any() and len(files) >= HOLD_OUT_FROM_FILES:
        chosen = file_hashes == files[0]
    return chosen if not chosen.all() else np.zeros(len(file_hashes), dtype=bool)


class PackedSource:
    """A ``SegmentSource`` over a folder made by ``python -m pretrain pack``.

    May be shared with forked or spawned processes: a read does not depend on a position in the file.
    """

    def __init__(
        self,
        folder: str | Path,
        weights: Mapping[str, float] | None = None,
        validation_fraction: float = VALIDATION_FRACTION,
        one_source_share: float = 0.0,
    ) -> None:
        self.folder = Path(folder).expanduser()
        self.location = str(self.folder.resolve())
        self.corpus, index = read_corpus(self.folder)
        sources: list[str] = self.corpus["sources"]
        self.offsets = index["offset"].astype(np.int64)
        self.lengths = index["length"].astype(np.int64)
        self.clip_sources = index["source"].astype(np.int64)
        self.weights = dict(weights) if weights is not None else None
        usable = np.ones(len(index), dtype=bool)
        if self.weights is not None:
            durations = np.bincount(self.clip_sources, self.lengths, len(sources))
            seconds = dict(zip(sources, durations / self.corpus["settings"]["sample_rate"], strict=True))
            spread = spread_kinds(self.weights, self.corpus.get("kinds", {}), seconds)
            ordered = source_weights(spread, sources)
            usable = np.asarray(ordered)[self.clip_sources] > 0
        held = held_out(index["file_hash"], validation_fraction)
        self.training_clips = np.flatnonzero(usable & ~held)
        self.validation_clips = np.flatnonzero(usable & held)
        if not len(self.training_clips):
            raise ValueError(f"{self.folder}: no clips to train on")
        training_sources = self.clip_sources[self.training_clips]
        self.sampler: Permuted | Weighted | OneSource
        if self.weights is None:
            self.sampler = Permuted(len(self.training_clips))
        else:
            groups = [np.flatnonzero(training_sources == number) for number in range(len(sources))]
            filled = [number for number, group in enumerate(groups) if len(group)]
            self.sampler = Weighted([groups[n] for n in filled], [ordered[n] for n in filled])
        if one_source_share:
            self.sampler = OneSource(self.sampler, training_sources, one_source_share)
        self._audio: FileIO | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_audio": None}

    def read(self, clip: int, start: int, count: int) -> NDArray[np.int16]:
        """Part of a clip, int16, ``(count,)``.

        Args:
            clip: number in the manifest.
            start: first sample within the clip.
            count: samples; no more than the clip has from ``start`` on.

        Raises:
            ValueError: the corpus was cut since it was opened.
        """
        if self._audio is None:
            self._audio = (self.folder / AUDIO).open("rb", buffering=0)
        # Not by a memory map: a process that reads one beyond the end of a file that was cut is killed.
        place = (int(self.offsets[clip]) + start) * BYTES_PER_SAMPLE
        data = os.pread(self._audio.fileno(), count * BYTES_PER_SAMPLE, place)
        if len(data) < count * BYTES_PER_SAMPLE:
            raise ValueError(
                f"{self.folder / AUDIO} ends within clip {clip}: it was cut since training began; run pack "
                "again, then resume with --changed-corpus"
            )
        return np.frombuffer(data, dtype="<i2")

    def clip(self, number: int) -> NDArray[np.int16]:
        """Clip ``number`` of the manifest, int16, ``(samples,)``."""
        return self.read(number, 0, int(self.lengths[number]))

    def _pairs(
        self, clips: NDArray[np.int64], uniform: NDArray[np.float64], segment_samples: int
    ) -> tuple[Tensor, Tensor]:
        places = segment_places(uniform, self.lengths[clips], segment_samples)
        segments = np.zeros((2, len(clips), segment_samples), dtype=np.int16)
        for row, clip in enumerate(clips.tolist()):
            for view, place in enumerate(places[row].tolist()):
                start = max(place, 0)
                count = min(segment_samples, int(self.lengths[clip]) - start)
                fill_segment(segments[view, row], self.read(clip, start, count), min(place, 0))
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
        """See ``SegmentSource.batches``; the ranks' batches together are those of one rank alone."""
        if not 0 <= rank < world_size or batch_size < 1:
            raise ValueError(
                f"rank {rank} of {world_size}, batch_size {batch_size}: expected 0 <= rank < world_size"
            )
        step = first_step
        mine = slice(rank * batch_size, (rank + 1) * batch_size)
        while True:
            size = batch_size * world_size
            chosen = self.training_clips[self.sampler.choose(seed, step, size)[mine]]
            uniform = np.random.default_rng((SEGMENT, seed, step)).random((size, 2))[mine]
            yield self._pairs(chosen, uniform, segment_samples)
            step += 1

    def validation(
        self, *, batch_size: int, segment_samples: int, seed: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See ``SegmentSource.validation``."""
        random = np.random.default_rng((HELD_OUT, seed))
        order = random.permutation(self.validation_clips)
        uniform = random.random((len(order), 2))
        size = min(batch_size, len(order)) or 1
        for start in range(0, len(order) - size + 1, size):
            mine = slice(start, start + size)
            yield self._pairs(order[mine], uniform[mine], segment_samples)

    def steps_per_epoch(self, global_batch_size: int) -> int:
        """See ``SegmentSource.steps_per_epoch``; with weights, steps that show as many clips."""
        return self.sampler.steps_per_epoch(global_batch_size)

    def summary(self) -> dict[str, Any]:
        """See ``SegmentSource.summary``."""
        rate = self.corpus["settings"]["sample_rate"]
        hours = np.bincount(self.clip_sources, self.lengths, len(self.corpus["sources"])) / rate / 3600
        clips = np.bincount(self.clip_sources, minlength=len(self.corpus["sources"]))
        return {
            "kind": "packed",
            "hash": self.corpus["hash"],
            "hours": round(float(hours.sum()), 4),
            "clips": len(self.lengths),
            "training_clips": len(self.training_clips),
            "validation_clips": len(self.validation_clips),
            "sources": {
                name: {"hours": round(float(hours[number]), 4), "clips": int(clips[number])}
                for number, name in enumerate(self.corpus["sources"])
            },
            "weights": self.weights,
        }
