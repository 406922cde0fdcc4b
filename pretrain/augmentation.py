"""What is drawn at random to change the views of a batch: x-hat's pitch above all (paper, section 2.3)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from pretrain.settings import Settings

FILTER_KNOTS_HZ = (62.5, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
# Each kind of draw has random numbers of its own: the seed of the step with one of these mixed in. They fit
# 32 bits, as torch's generator on the CPU takes no notice of what is above.
FILTER_SEED, BACKGROUND_SEED, GAIN_SEED, NOISE_SEED = 0x66696C74, 0x6D6978, 0x6761696E, 0x6E6F6973
POSITIVE_SEED = 0x706F7369


@dataclass(frozen=True)
class Augmentation:
    """Changes to one view of each clip of a batch, in this order; None: no such change.

    Attributes:
        noise: ``(batch, samples)``, added to the samples, full scale = 1.
        ratio: ``(batch,)``, frequency ratio to the view as it was.
        background_share: ``(batch,)``, share of another clip's sound in the power of the view.
        background_from: the other clip is so many places further on in the batch.
        filter_db: ``(batch, knots)``, gains of a filter at ``FILTER_KNOTS_HZ``.
        gain_db: ``(batch,)``, gain of the whole view.
    """

    noise: Tensor | None = None
    ratio: Tensor | None = None
    background_share: Tensor | None = None
    background_from: int = 1
    filter_db: Tensor | None = None
    gain_db: Tensor | None = None


@dataclass(frozen=True)
class Augmentations:
    """Changes to the views of a batch.

    Attributes:
        anchor: of x.
        positive: of x'.
        x_hat: of x, to make x-hat of it; None: there is no x-hat.
    """

    anchor: Augmentation = field(default_factory=Augmentation)
    positive: Augmentation = field(default_factory=Augmentation)
    x_hat: Augmentation | None = None


def draw_augmentations(batch: int, settings: Settings, seed: int, device: torch.device) -> Augmentations:
    """Augmentations of a batch as the settings say, a function of the seed."""
    gains_db: list[Tensor | None] = [None, None, None]
    if settings.random_gain_db:
        low, high = -settings.random_gain_db, settings.random_gain_db
        gains_db = list(draw_uniform(3 * batch, low, high, seed ^ GAIN_SEED).to(device).chunk(3))
    noise = None
    if settings.positive_noise:
        generator = torch.Generator().manual_seed(seed ^ NOISE_SEED)
        noise = torch.randn(batch, settings.model.segment_samples, generator=generator).to(device)
        noise *= settings.positive_noise
    x_hat = None
    if settings.needs_x_hat:
        x_hat = Augmentation(
            ratio=draw_ratio(batch, settings, seed).to(device),
            background_share=draw_background(batch, settings.mix_share, seed, device),
            filter_db=draw_filter(batch, settings.filter_db, seed, device),
            gain_db=gains_db[2],
        )
    positive = Augmentation(
        noise=noise,
        background_from=2,  # with x-hat's own, x' and x-hat of a clip would be known by their background
        background_share=draw_background(batch, settings.positive_mix_share, seed ^ POSITIVE_SEED, device),
        filter_db=draw_filter(batch, settings.positive_filter_db, seed ^ POSITIVE_SEED, device),
        gain_db=gains_db[1],
    )
    return Augmentations(Augmentation(gain_db=gains_db[0]), positive, x_hat)


def draw_ratio(batch: int, settings: Settings, seed: int) -> Tensor:
    """Frequency ratios of x-hat to x, ``(batch,)``.

    Uniform from ``ratio_min`` to ``ratio_max``; with the pitch target ``authors``, the twelfth root of
    that (see ``pretrain.losses.pitch_target``).
    """
    ratio = draw_uniform(batch, settings.ratio_min, settings.ratio_max, seed)
    return ratio ** (1 / 12) if settings.pitch_target == "authors" else ratio


def draw_uniform(batch: int, low: float, high: float, seed: int) -> Tensor:
    """``(batch,)`` numbers, uniform in ``[low, high]``, a function of the seed."""
    uniform = torch.rand(batch, generator=torch.Generator().manual_seed(seed))
    return low + (high - low) * uniform


def draw_background(batch: int, largest_share: float, seed: int, device: torch.device) -> Tensor | None:
    """Shares of another clip, ``(batch,)``, uniform from 0, a function of the seed; None without a share."""
    if not largest_share:
        return None
    return draw_uniform(batch, 0, largest_share, seed ^ BACKGROUND_SEED).to(device)


def draw_filter(batch: int, deviation_db: float, seed: int, device: torch.device) -> Tensor | None:
    """Gains of random filters at ``FILTER_KNOTS_HZ``, ``(batch, knots)``, normal, a function of the seed.

    None where the deviation is 0.
    """
    if not deviation_db:
        return None
    generator = torch.Generator().manual_seed(seed ^ FILTER_SEED)
    return (deviation_db * torch.randn(batch, len(FILTER_KNOTS_HZ), generator=generator)).to(device)
