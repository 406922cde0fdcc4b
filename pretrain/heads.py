"""The shallow networks g_clip, g_frame, g_pitch (and that of the spectrum) on h, for pretraining only."""

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
        spectrum: estimate of the frames' spectrum, ``(batch, T', numbers)``; None where it is not trained.
        spectrum_target: the spectrum itself, the same shape; None for a view whose spectrum is not estimated.
    """

    clip: Tensor
    frame: Tensor
    pitch: Tensor
    spectrum: Tensor | None = None
    spectrum_target: Tensor | None = None

    def parts(self, count: int) -> list[Representations]:
        """The representations of ``count`` equal parts of the batch."""
        fields = (self.clip, self.frame, self.pitch, self.spectrum, self.spectrum_target)
        chunks = [[None] * count if field is None else field.chunk(count) for field in fields]
        return [Representations(*part) for part in zip(*chunks, strict=True)]


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
        self.spectrum = make_head(settings, 2 * settings.spectrum_components) if settings.delta else None

    def forward(self, h: Tensor, spectrum_target: Tensor | None = None) -> Representations:
        """h, ``(batch, T', d)``, to its representations; the target goes with them as it is."""
        pooled = h.mean(dim=1) if self.pooling == "average" else h.amax(dim=1)
        spectrum = None if self.spectrum is None or spectrum_target is None else self.spectrum(h)
        return Representations(
            self.clip(pooled), self.frame(h), self.pitch(h).squeeze(-1), spectrum, spectrum_target
        )


def make_head(settings: Settings, size: int) -> nn.Module:
    """A linear layer from h to ``size`` numbers, after LayerNorm and tanh where the encoder has none."""
    dim = settings.model.embedding_dim
    linear = nn.Linear(dim, size)
    return linear if settings.model.normalize_h else nn.Sequential(nn.LayerNorm(dim), nn.Tanh(), linear)
