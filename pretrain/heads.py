"""The shallow networks g_clip, g_frame and g_pitch on top of h, for pretraining only."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Representations:
    """What the losses compare, of one view.

    Attributes:
        clip: z_clip, ``(batch, d)``.
        frame: z_frame, ``(batch, T', d)``.
        pitch: z_pitch, ``(batch, T')``.
    """

    clip: Tensor
    frame: Tensor
    pitch: Tensor


class Heads(nn.Module):
    """One linear layer each: the paper says "shallow neural network" and no more.

    The bilinear matrices W that compare their outputs belong to the similarities, not to the heads.

    Args:
        dim: d, channels of h.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.clip = nn.Linear(dim, dim)
        self.frame = nn.Linear(dim, dim)
        self.pitch = nn.Linear(dim, 1)

    def forward(self, h: Tensor) -> Representations:
        """h, ``(batch, T', d)``, to its representations; g_clip takes the average of h over time."""
        return Representations(self.clip(h.mean(dim=1)), self.frame(h), self.pitch(h).squeeze(-1))
