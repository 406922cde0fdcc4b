"""What is drawn at random to make x-hat of x: a pitch, a filter, a background (paper, section 2.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.settings import Settings

FILTER_KNOTS_HZ = (62.5, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
FILTER_SEED = 0x66696C74  # sets the seeds of filters apart from those of ratios
BACKGROUND_SEED = 0x6D6978  # sets the seeds of backgrounds apart from both


@dataclass(frozen=True)
class XHat:
    """What makes x-hat of each segment x of a batch.

    Attributes:
        ratio: ``(batch,)``, frequency ratio of x-hat to x; 1 keeps the pitch.
        gain_db: ``(batch, knots)``, gains of a filter at ``FILTER_KNOTS_HZ``; None: no filter.
        share: ``(batch,)``, share of another clip's sound in the power of x-hat; None: no background.
    """

    ratio: Tensor
    gain_db: Tensor | None = None
    share: Tensor | None = None


def draw_x_hat(batch: int, settings: Settings, seed: int, device: torch.device) -> XHat | None:
    """x-hat as the settings say, a function of the seed; None where no loss needs x-hat."""
    if not settings.needs_x_hat:
        return None
    ratio = draw_uniform(batch, settings.ratio_min, settings.ratio_max, seed).to(device)
    gain_db = draw_filter(batch, settings.filter_db, seed).to(device) if settings.filter_db else None
    share = None
    if settings.mix_share:
        share = draw_uniform(batch, 0, settings.mix_share, seed ^ BACKGROUND_SEED).to(device)
    return XHat(ratio, gain_db, share)


def draw_uniform(batch: int, low: float, high: float, seed: int) -> Tensor:
    """``(batch,)`` numbers, uniform in ``[low, high]``, a function of the seed."""
    uniform = torch.rand(batch, generator=torch.Generator().manual_seed(seed))
    return low + (high - low) * uniform


def draw_filter(batch: int, deviation_db: float, seed: int) -> Tensor:
    """Gains of random filters at ``FILTER_KNOTS_HZ``, ``(batch, knots)``, normal, a function of the seed."""
    generator = torch.Generator().manual_seed(seed ^ FILTER_SEED)
    return deviation_db * torch.randn(batch, len(FILTER_KNOTS_HZ), generator=generator)
