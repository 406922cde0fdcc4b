"""What the training loop reads from, whatever is behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor


class SegmentSource(Protocol):
    """A corpus that gives batches of anchors and positives, as int16 at 16 kHz.

    Attributes:
        location: where the corpus is, as a resumed run finds it again.
    """

    location: str

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
                resumed run continues bit for bit.
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
