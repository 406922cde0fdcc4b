"""Which clips and which segments make batch k: pure functions of the seed and k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

VALIDATION_FRACTION = 0.02  # of the files: enough for a steady figure, little lost to training
EPOCH, STEP, SEGMENT, HELD_OUT, ONE_SOURCE = range(5)  # keep the streams of random numbers apart


class Permuted:
    """Each epoch is one random permutation of the clips, cut into batches (the paper).

    What does not fill a last batch is left out of that epoch, so that no clip comes twice in a
    batch; where there are fewer clips than a batch takes, permutations are strung together.
    """

    def __init__(self, clips: int) -> None:
        self.clips = clips
        self._order = lru_cache(maxsize=2)(self._permutation)

    def __getstate__(self) -> dict[str, int]:
        return {"clips": self.clips}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _permutation(self, seed: int, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng((EPOCH, seed, epoch)).permutation(self.clips)

    def steps_per_epoch(self, size: int) -> int:
        return max(1, self.clips // size)

    def choose(self, seed: int, step: int, size: int) -> NDArray[np.int64]:
        """Clip numbers of batch ``step``: ``(size,)``."""
        if size > self.clips:
            rounds = -(-size // self.clips)
            orders = [self._order(seed, step * rounds + number) for number in range(rounds)]
            return np.concatenate(orders)[:size]
        epoch, place = divmod(step, self.steps_per_epoch(size))
        return self._order(seed, epoch)[place * size : (place + 1) * size]


class Weighted:
    """Sources are drawn by weight, clips of a source uniformly, none twice in a batch.

    A source with fewer clips than its share of a batch gives them all, and the rest of its share
    goes to the others; where all clips together are fewer than a batch takes, they come again.
    """

    def __init__(self, clips_of_source: Sequence[NDArray[np.int64]], weights: Sequence[float]) -> None:
        self.clips_of_source = list(clips_of_source)
        self.weights = np.asarray(weights, dtype=np.float64)

    def steps_per_epoch(self, size: int) -> int:
        return max(1, sum(map(len, self.clips_of_source)) // size)

    def _counts(self, random: np.random.Generator, size: int) -> NDArray[np.int64]:
        room = np.array([len(clips) for clips in self.clips_of_source])
        counts = np.zeros(len(room), dtype=np.int64)
        while counts.sum() < size:
            share = np.where(counts < room, self.weights, 0.0)
            more = random.multinomial(size - counts.sum(), share / share.sum())
            counts = np.minimum(counts + more, room)
        return counts

    def choose(self, seed: int, step: int, size: int) -> NDArray[np.int64]:
        """Clip numbers of batch ``step``: ``(size,)``."""
        random = np.random.default_rng((STEP, seed, step))
        whole, rest = divmod(size, sum(map(len, self.clips_of_source)))
        chosen = [clips for clips in self.clips_of_source for _ in range(whole)]
        for clips, count in zip(self.clips_of_source, self._counts(random, rest), strict=True):
            chosen.append(random.choice(clips, int(count), replace=False))
        return random.permutation(np.concatenate(chosen))


class OneSource:
    """A share of each batch comes from one source; the rest is drawn by another sampler.

    The source is that of a clip drawn by the other sampler, so sources come as often as they do there.
    A source with fewer clips than the share gives them all. No clip comes twice in a batch, unless the
    corpus has fewer clips than a batch takes.

    Args:
        sampler: draws the rest.
        source_of_clip: number of each clip's source, ``(clips,)``.
        share: of the batch, above 0 to below 1.
    """

    def __init__(self, sampler: Permuted | Weighted, source_of_clip: NDArray[np.int64], share: float) -> None:
        self.sampler, self.source_of_clip, self.share = sampler, source_of_clip, share

    def steps_per_epoch(self, size: int) -> int:
        return self.sampler.steps_per_epoch(size)

    def choose(self, seed: int, step: int, size: int) -> NDArray[np.int64]:
        """Clip numbers of batch ``step``: ``(size,)``."""
        drawn = self.sampler.choose(seed, step, size)
        random = np.random.default_rng((ONE_SOURCE, seed, step))
        source = self.source_of_clip[drawn[random.integers(size)]]
        clips = np.flatnonzero(self.source_of_clip == source)
        alike = random.choice(clips, min(round(self.share * size), len(clips)), replace=False)
        others = drawn[~np.isin(drawn, alike)][: size - len(alike)]
        chosen = np.concatenate([alike, others, drawn])[:size]  # drawn again: only of a small corpus
        return random.permutation(chosen)


def spread_kinds(
    weights: Mapping[str, float], kinds: Mapping[str, str], seconds: Mapping[str, float]
) -> dict[str, float]:
    """Weights of sources, from weights that name sources and kinds of sources.

    A kind's weight is divided among those of its sources that have no weight of their own, in proportion to
    the square root of their duration: a long source is drawn more often, but does not drown a short one.

    Args:
        weights: by name of a source or of a kind; a name that is both means the source.
        kinds: kind of each source that has one.
        seconds: duration of each source.

    Raises:
        ValueError: a kind whose sources all have a weight of their own, so that its weight would be lost.
    """
    spread = {
        name: weight for name, weight in weights.items() if name in seconds or name not in kinds.values()
    }
    for kind in weights.keys() - spread.keys():
        roots = {
            source: seconds[source] ** 0.5
            for source in seconds
            if kinds.get(source) == kind and source not in weights
        }
        total = sum(roots.values())
        if not total:
            raise ValueError(f"weight for the kind {kind!r}: every source of it has a weight of its own")
        spread |= {source: weights[kind] * root / total for source, root in roots.items()}
    return spread


def source_weights(weights: Mapping[str, float], sources: Sequence[str]) -> list[float]:
    """Weights in the order of ``sources``.

    Raises:
        ValueError: a name that is no source, a source without a weight, a weight below 0, no weight
            above 0.
    """
    for name, weight in weights.items():
        if name not in sources:
            near = get_close_matches(name, sources, n=3) or sorted(sources)[:10]
            raise ValueError(
                f"weight for {name!r}: no such source in the corpus; the nearest: {', '.join(near)}"
            )
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight {weight} of {name!r}: expected a number of at least 0")
    missing = [name for name in sources if name not in weights]
    if missing:
        raise ValueError(
            f"no weight for {', '.join(missing)}: name every source of the corpus (0 leaves one out)"
        )
    ordered = [float(weights[name]) for name in sources]
    if not any(ordered):
        raise ValueError("all weights are 0: nothing to train on")
    return ordered


def segment_places(
    uniform: NDArray[np.float64], lengths: NDArray[np.int64], segment_samples: int
) -> NDArray[np.int64]:
    """Where segments begin in their clips, uniform over all places.

    Args:
        uniform: random numbers in [0, 1), ``(batch, 2)``.
        lengths: of the clips in samples, ``(batch,)``.

    Returns:
        ``(batch, 2)``. Negative where the clip is shorter than the segment: so many zeros go before it.
    """
    spare = lengths[:, None] - segment_samples
    place = np.floor(uniform * (np.abs(spare) + 1)).astype(np.int64)
    return np.where(spare >= 0, place, -place)


def fill_segment(row: NDArray[np.int16], clip: NDArray[np.int16], place: int) -> None:
    """Copy the segment of ``clip`` that begins at ``place`` into ``row``, which holds zeros."""
    if place >= 0:
        piece = clip[place : place + len(row)]
        row[: len(piece)] = piece
    else:
        row[-place : -place + len(clip)] = clip
