"""The shallow networks g_clip, g_frame and g_pitch on top of h, for pretraining only."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from pretrain.settings import Settings


@dataclass(frozen=True)
class Representations:
    """What the losses see of one view.

    Attributes:
        clip: z_clip, ``(batch, d)``.
        frame: z_frame, ``(batch, T', d)``.
        pitch: z_pitch, ``(batch, T')``.
        h: ``(batch, T', d)``, what the three are made of.
        log_mel: ``(batch, n_mels, frames)``, what h is made of.
    """

    clip: Tensor
    frame: Tensor
    pitch: Tensor
    h: Tensor
    log_mel: Tensor

    def parts(self, count: int) -> list[Representations]:
        """The representations of ``count`` equal parts of the batch."""
        fields = (self.clip, self.frame, self.pitch, self.h, self.log_mel)
        return [
            Representations(*part) for part in zip(*(field.chunk(count) for field in fields), strict=True)
        ]


class Heads(nn.Module):
    """One linear layer each: the paper says "shallow neural network" and no more.

    Where the encoder leaves h without LayerNorm and tanh (``normalize_h=false``), each head begins with
    its own, as in the authors' code. The bilinear matrices W that compare the heads' outputs belong to
    the similarities, not to the heads.

    Args:
        settings: sizes, and how h is pooled over time for g_clip.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.pooling = settings.clip_pooling
        self.clip = make_head(settings, settings.model.embedding_dim)
        self.frame = make_head(settings, settings.model.embedding_dim)
        self.pitch = make_head(settings, 1)

    def forward(self, h: Tensor, log_mel: Tensor) -> Representations:
        """h, ``(batch, T', d)``, to its representations; the log-mel goes with them as it is."""
        pooled = h.mean(dim=1) if self.pooling == "average" else h.amax(dim=1)
        return Representations(self.clip(pooled), self.frame(h), self.pitch(h).squeeze(-1), h, log_mel)


def make_head(settings: Settings, size: int) -> nn.Module:
    """A linear layer from h to ``size`` numbers, after LayerNorm and tanh where the encoder has none."""
    dim = settings.model.embedding_dim
    linear = nn.Linear(dim, size)
    return linear if settings.model.normalize_h else nn.Sequential(nn.LayerNorm(dim), nn.Tanh(), linear)
