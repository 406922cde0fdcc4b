"""Cross-view frame loss, beyond the paper: find the same time in the pitch-shifted segment."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def cross_view_loss(
    similarity: nn.Module,
    frames: Tensor,
    shifted_frames: Tensor,
    candidates: Tensor | None = None,
    first: int = 0,
) -> Tensor:
    """Cross-entropy of picking, for frame t of x, frame t of x-hat.

    Equation 4 with m = 0 is met almost at once, since a frame's positive is the frame itself. Here
    the positive sounds different, so the frames must agree in what happens at that time. The authors'
    code has this loss, commented out.

    Args:
        similarity: ``(..., rows, d)``, ``(..., columns, d)`` to ``(..., rows, columns)``.
        frames: ``(batch, T', d)``, z_frame of x.
        shifted_frames: ``(batch, T', d)``, z_frame of x-hat.
        candidates: ``(rows, d)``, frames of x-hat of all segments of all processes, one after the
            other, to pick from; None: only the frames of the same segment.
        first: row of ``candidates`` where ``shifted_frames`` begin.

    Raises:
        ValueError: other shapes.
    """
    if frames.dim() != 3 or frames.shape != shifted_frames.shape:
        raise ValueError(
            f"frames {tuple(frames.shape)} and shifted_frames {tuple(shifted_frames.shape)}: expected "
            "(batch, frames, d) twice"
        )
    batch, time = frames.shape[:2]
    if candidates is None:
        scores = similarity(frames, shifted_frames).flatten(0, 1)
        own = torch.arange(time, device=scores.device).repeat(batch)
    else:
        scores = similarity(frames.flatten(0, 1), candidates)
        own = torch.arange(first, first + batch * time, device=scores.device)
    return F.cross_entropy(scores, own)
