"""Clip-level loss: which segment comes from the same clip? (equations 1 and 2)"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def clip_loss(scores: Tensor, positive: Tensor) -> Tensor:
    """Equation 2, averaged over the anchors: cross-entropy of picking each anchor's positive.

    The sum in the denominator runs over the negatives and the positive itself.

    Args:
        scores: ``(anchors, candidates)``, ``s_clip(x, x')`` of equation 1 between each anchor and the
            positives of the whole mini-batch, those of other processes included.
        positive: ``(anchors,)``, the column of each anchor's own positive.
    """
    if scores.dim() != 2 or positive.shape != scores.shape[:1]:
        raise ValueError(
            f"scores {tuple(scores.shape)} and positive {tuple(positive.shape)}: expected "
            "(anchors, candidates) and (anchors,)"
        )
    return F.cross_entropy(scores, positive)


def clip_accuracy(scores: Tensor, positive: Tensor) -> Tensor:
    """Share of anchors whose own positive scores highest, in [0, 1]; arguments of ``clip_loss``.

    An exact tie counts as a miss, so that a collapsed encoder does not look perfect.
    """
    own = scores.gather(1, positive[:, None])
    return ((scores >= own).sum(1) == 1).to(torch.float32).mean()
