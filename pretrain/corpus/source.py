"""What the training loop reads from, whatever is behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

VALIDATION_FRACTION = 0.02  # of the files: enough for a steady figure, little lost to training


class SegmentSource(Protocol):
    """A corpus that gives batches of anchors and positives, as int16 at 16 kHz."""

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
        """Endless batches of x and x', two random segments of the same clip (paper, section 2.1).

        Args:
            batch_size: pairs for this rank; the global batch has ``world_size`` times as many.
            segment_samples: length of a segment. A shorter clip is padded with zeros on both sides,
                at random.
            seed: of all that is random here.
            first_step: where to begin: batch k depends on seed, k, rank and world size alone, so a
                resumed run goes on bit for bit.
            rank, world_size: of a distributed run. No clip is twice in one global batch, if the
                corpus has enough of them.

        Yields:
            Anchors and positives, int16, ``(batch_size, segment_samples)`` each.
        """
        ...

    def validation(
        self, *, batch_size: int, segment_samples: int, seed: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The held-out clips once, always the same: whole batches, or one smaller if there are not
        enough for a whole one. Empty if the corpus has nothing to hold out."""
        ...

    def steps_per_epoch(self, global_batch_size: int) -> int | None:
        """Batches that make one pass over the training clips; None where that is not known."""
        ...

    def summary(self) -> dict[str, Any]:
        """Hours, clips, sources and a hash of the content, for the run folder and the weights."""
        ...


def open_source(
    location: str | Path,
    weights: Mapping[str, float] | None = None,
    validation_fraction: float = VALIDATION_FRACTION,
) -> SegmentSource:
    """Open a corpus for training.

    Args:
        location: a folder made by ``python -m pretrain pack``, or WebDataset shards: a tar file, a
            folder of them, or a path or URL pattern such as ``https://host/clips-{000000..000099}.tar``.
        weights: how often each source is drawn, for every source of a packed corpus. Without it,
            each epoch is a permutation of all clips.
        validation_fraction: of the files, chosen by hash of their name, that training never sees.

    Raises:
        FileNotFoundError, ValueError: no corpus there, or weights that do not fit it.
    """
    if is_packed(location):
        from pretrain.corpus.packed import PackedSource

        return PackedSource(location, weights, validation_fraction)
    if weights is not None:
        raise ValueError(f"{location}: weights per source need a packed corpus; shards have no sources")
    from pretrain.corpus.shards import ShardSource

    return ShardSource(location, validation_fraction)


def is_packed(location: str | Path) -> bool:
    """Whether a location is a packed corpus (or should become one) rather than shards."""
    folder = Path(location).expanduser()
    return folder.is_dir() and not any(".tar" in path.suffixes for path in folder.iterdir())
