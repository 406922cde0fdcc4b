"""Task-specific loss: by how much was the pitch shifted? (equation 6)"""

from __future__ import annotations

import torch
from torch import Tensor

from pretrain.settings import PITCH_TARGETS

SEMITONES_PER_OCTAVE = 12.0


def pitch_target(ratio: Tensor, target: str = "ratio_minus_one") -> Tensor:
    """The a of equation 6 from the frequency ratio, ``(batch,)`` to ``(batch,)``.

    Args:
        ratio: frequency ratio of x-hat to x.
        target: ``ratio_minus_one``, zero where nothing is shifted; ``semitones`` (12 log2 ratio);
            ``log2`` (octaves); or ``authors``, ratio ** 12 - 1. The authors' code means to shift by a
            factor 1 + a and to estimate a, but hands log2(1 + a) to a function that takes semitones:
            what is heard has the ratio (1 + a) ** (1/12).

    Raises:
        ValueError: another target.
    """
    if target == "ratio_minus_one":
        return ratio - 1
    if target == "semitones":
        return SEMITONES_PER_OCTAVE * torch.log2(ratio)
    if target == "log2":
        return torch.log2(ratio)
    if target == "authors":
        return ratio**12 - 1
    raise ValueError(f"pitch_target={target!r}: expected one of {', '.join(PITCH_TARGETS)}")


def pitch_loss(pitch: Tensor, shifted_pitch: Tensor, shift: Tensor) -> Tensor:
    """Equation 6, the squared error, averaged over frames and segments.

    Args:
        pitch: ``(batch, T')``, g_pitch of x.
        shifted_pitch: ``(batch, T')``, g_pitch of x-hat.
        shift: ``(batch,)``, from ``pitch_target``; the same for all frames of a segment.
    """
    if pitch.shape != shifted_pitch.shape or shift.shape != pitch.shape[:1]:
        raise ValueError(
            f"pitch {tuple(pitch.shape)}, shifted_pitch {tuple(shifted_pitch.shape)}, shift "
            f"{tuple(shift.shape)}: expected (batch, frames) twice and (batch,)"
        )
    return (shifted_pitch - pitch - shift[:, None]).square().mean()


def pitch_error_semitones(pitch: Tensor, shifted_pitch: Tensor, ratio: Tensor, target: str) -> Tensor:
    """Mean absolute error of the estimated shift in semitones, whatever the target is.

    Arguments of ``pitch_loss`` and ``pitch_target``. An estimate that stands for no ratio (zero or
    less) counts as a ratio of 1/100.
    """
    estimate = shifted_pitch - pitch
    if target in ("ratio_minus_one", "authors"):
        estimate = torch.log2((1 + estimate).clamp(min=0.01))
    if target in ("ratio_minus_one", "log2"):
        estimate = SEMITONES_PER_OCTAVE * estimate
    return (estimate - pitch_target(ratio, "semitones")[:, None]).abs().mean()
