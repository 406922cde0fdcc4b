"""Frame-level loss: which frames of the segment are near in time? (equations 3 to 5)"""

from __future__ import annotations

import torch
from torch import Tensor


def frame_loss(scores: Tensor, neighbors: int = 0) -> Tensor:
    """Equation 4, averaged over the segments and over the target frame t.

    Positives of frame t are the frames within ``neighbors`` of it, itself included; the denominator
    runs over all frames of the segment. M, the number of positives, is counted at each t, so frames at
    the ends of the segment, with fewer neighbors, weigh the same. As printed, with m = 0, a frame's
    only positive is itself.

    Equation 5 is the mean of this over x, x' and x-hat: concatenate the views along the batch.

    Args:
        scores: ``(batch, T', T')``, ``s_frame(x_t, x_i)`` of equation 3, t along dimension 1.
        neighbors: m; 0 in the paper, at most T' / 2.

    Raises:
        ValueError: another shape, or m out of range.
    """
    if scores.dim() != 3 or scores.shape[1] != scores.shape[2]:
        raise ValueError(f"scores {tuple(scores.shape)}: expected (batch, frames, frames)")
    frames = scores.shape[1]
    if not 0 <= neighbors <= frames / 2:
        raise ValueError(f"neighbors={neighbors}: expected 0 to {frames // 2}, half of {frames} frames")
    time = torch.arange(frames, device=scores.device)
    near = (time[:, None] - time[None, :]).abs() <= neighbors
    positives = scores.masked_fill(~near, -torch.inf).logsumexp(2)
    return ((scores.logsumexp(2) - positives) / near.sum(1)).mean()
