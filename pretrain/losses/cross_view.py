"""Cross-view frame loss, beyond the paper: find the same time in the pitch-shifted segment."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def cross_view_loss(
    similarity: nn.Module, frames: Tensor, shifted_frames: Tensor, other_segments: bool = False
) -> Tensor:
    """Cross-entropy of picking, for frame t of x, frame t of x-hat.

    Equation 4 with m = 0 is met almost at once, since a frame's positive is the frame itself. Here
    the positive has another pitch, so the frames must agree in what happens at that time.

    Args:
        similarity: ``(..., rows, d)``, ``(..., columns, d)`` to ``(..., rows, columns)``.
        frames: ``(batch, T', d)``, z_frame of x.
        shifted_frames: ``(batch, T', d)``, z_frame of x-hat.
        other_segments: take as negatives the frames of the other segments of this process as well
            as the other times of the same segment.
    """
    if frames.dim() != 3 or frames.shape != shifted_frames.shape:
        raise ValueError(
            f"frames {tuple(frames.shape)} and shifted_frames {tuple(shifted_frames.shape)}: expected "
            "(batch, frames, d) twice"
        )
    if other_segments:
        scores = similarity(frames.flatten(0, 1), shifted_frames.flatten(0, 1))
        same = torch.arange(len(scores), device=scores.device)
    else:
        scores = similarity(frames, shifted_frames).flatten(0, 1)
        same = torch.arange(frames.shape[1], device=scores.device).repeat(len(frames))
    return F.cross_entropy(scores, same)
