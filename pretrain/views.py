"""Views of a clip (paper, section 2): two segments x and x', and x-hat, x at another pitch or filtered."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soxr
import torch
from torch import Tensor, nn

from hear_msss.config import ModelConfig
from hear_msss.frontend import FrontEnd, warp_frequency

if TYPE_CHECKING:
    from pretrain.settings import Settings

INT16_SCALE = 1 / 32768
PITCH_SHIFTS = ("warp", "waveform")
FILTER = 0x66696C74  # sets the filters' seeds apart from the ratios'
MIX = 0x6D6978  # and those of the shares
FILTER_KNOTS_HZ = (62.5, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)


def draw_ratio(batch: int, low: float, high: float, seed: int) -> Tensor:
    """Frequency ratios of x-hat to x, ``(batch,)``, uniform in ``[low, high]``, a function of the seed."""
    uniform = torch.rand(batch, generator=torch.Generator().manual_seed(seed))
    return low + (high - low) * uniform


def draw_filter(batch: int, deviation_db: float, seed: int) -> Tensor:
    """Gains of random filters at ``FILTER_KNOTS_HZ``, ``(batch, knots)``, normal, a function of the seed."""
    generator = torch.Generator().manual_seed(seed ^ FILTER)
    return deviation_db * torch.randn(batch, len(FILTER_KNOTS_HZ), generator=generator)


class XHat(NamedTuple):
    """What makes x-hat of a batch, in the order ``Views`` takes it; None where a run has no such thing."""

    ratio: Tensor | None = None
    gain_db: Tensor | None = None
    share: Tensor | None = None


def draw_x_hat(batch: int, settings: Settings, seed: int, device: torch.device) -> XHat:
    """Ratios, gains and shares as the settings say, a function of the seed."""
    if not settings.shifts_pitch:
        return XHat()
    ratio = draw_ratio(batch, settings.ratio_min, settings.ratio_max, seed).to(device)
    gain_db = draw_filter(batch, settings.filter_db, seed).to(device) if settings.filter_db else None
    share = draw_ratio(batch, 0, settings.mix_share, seed ^ MIX).to(device) if settings.mix_share else None
    return XHat(ratio, gain_db, share)


def filter_curves(frequencies_hz: Tensor) -> Tensor:
    """Share of each knot's gain in dB that a frequency has, ``(knots, frequencies)``: linear over octaves."""
    knots = torch.log2(torch.tensor(FILTER_KNOTS_HZ))
    place = torch.log2(frequencies_hz.clamp(FILTER_KNOTS_HZ[0], FILTER_KNOTS_HZ[-1]))
    return (1 - (place[None, :] - knots[:, None]).abs()).clamp(min=0)


def mix_with_neighbor(power: Tensor, share: Tensor) -> Tensor:
    """Power spectra with the next row's added, whose part of the mean power is the share, ``(batch,)``.

    The level stays; a silent row stays silent, and beside a silent one the share is of nothing.
    """
    level = power.mean((1, 2), keepdim=True)
    other, other_level = power.roll(-1, 0), level.roll(-1, 0)
    gain = torch.where(other_level > 0, level / other_level, 0.0)
    return torch.lerp(power, gain * other, share[:, None, None])


def shift_pitch_of_waveform(waveform: Tensor, ratio: float, n_fft: int = 512) -> Tensor:
    """Pitch shift in the time domain: stretch by a phase vocoder, then resample to the old length.

    The reference that the frequency warp is compared with: several milliseconds a segment, each one apart.

    Args:
        waveform: ``(samples,)``.
        ratio: frequency ratio of the result to the input.
        n_fft: FFT length of the vocoder in samples.

    Returns:
        ``(samples,)``

    Raises:
        ImportError: torchaudio is not installed, or does not fit this torch.
    """
    try:
        from torchaudio.functional import phase_vocoder
    except (ImportError, OSError) as error:
        raise ImportError(
            f"a pitch shift of the waveform needs torchaudio ({error}): `pip install torchaudio`, or, where "
            "it is installed, `python -m eval_tasks install`; pitch_shift=warp needs none"
        ) from error
    samples, hop = len(waveform), n_fft // 4
    window = torch.hann_window(n_fft)
    # Zeros before the first sample, not a reflection: the vocoder carries the first frame's phases on,
    # and those of a reflected tone cancel (a quarter to two thirds of the level were left at ratios above 1).
    spectrum = torch.stft(waveform.cpu(), n_fft, hop, window=window, pad_mode="constant", return_complex=True)
    advance = torch.linspace(0, torch.pi * hop, n_fft // 2 + 1)[:, None]
    stretched = phase_vocoder(spectrum, 1 / ratio, advance)
    longer = torch.istft(stretched, n_fft, hop, window=window, length=round(samples * ratio))
    resampled = torch.from_numpy(soxr.resample(longer.numpy().astype(np.float32), ratio, 1.0))
    shifted = torch.zeros(samples)
    shifted[: len(resampled)] = resampled[:samples]
    return shifted.to(waveform.device)


class Views(nn.Module):
    """int16 segments to the log-mels of x, x' and x-hat, computed in one go.

    Args:
        config: the front end's.
        pitch_shift: how x-hat is made: ``warp`` moves the power spectrum along frequency before the
            mel filters (exact, batched); ``waveform`` shifts the samples (slow, the reference).
    """

    curves: Tensor

    def __init__(self, config: ModelConfig | None = None, pitch_shift: str = "warp") -> None:
        super().__init__()
        if pitch_shift not in PITCH_SHIFTS:
            raise ValueError(f"pitch_shift={pitch_shift!r}: expected one of {', '.join(PITCH_SHIFTS)}")
        self.front_end = FrontEnd(config)
        self.pitch_shift = pitch_shift
        bins = self.front_end.config.n_fft // 2 + 1
        frequencies_hz = torch.linspace(0, self.front_end.config.sample_rate / 2, bins)
        self.register_buffer("curves", filter_curves(frequencies_hz), persistent=False)

    @torch.no_grad()
    def forward(
        self,
        anchor: Tensor,
        positive: Tensor,
        ratio: Tensor | None = None,
        gain_db: Tensor | None = None,
        share: Tensor | None = None,
    ) -> Tensor:
        """Log-mels of all views, one after the other.

        Args:
            anchor: x, ``(batch, samples)``, int16, 16 kHz.
            positive: x', the same shape.
            ratio: ``(batch,)``, frequency ratio of x-hat to x; without it there is no x-hat.
            gain_db: ``(batch, knots)``, of a filter on x-hat, as ``draw_filter`` makes; else there is none.
            share: ``(batch,)``, of the next clip's x-hat in each x-hat's power, before the filter.

        Returns:
            ``(2 * batch, n_mels, frames)`` of x, x', or ``(3 * batch, n_mels, frames)`` of x, x', x-hat.
        """
        if anchor.dtype != torch.int16 or anchor.dim() != 2 or anchor.shape != positive.shape:
            raise ValueError(
                f"anchor {anchor.dtype} {tuple(anchor.shape)} and positive {positive.dtype} "
                f"{tuple(positive.shape)}: expected int16 (batch, samples) twice"
            )
        gains = (len(anchor), len(FILTER_KNOTS_HZ))
        if gain_db is not None and (ratio is None or gain_db.shape != gains):
            raise ValueError(
                f"gain_db {tuple(gain_db.shape)}{' without a ratio' if ratio is None else ''}: expected "
                f"{gains} and a ratio, since it is x-hat that is filtered"
            )
        if share is not None and (ratio is None or share.shape != (len(anchor),)):
            raise ValueError(
                f"share {tuple(share.shape)}{' without a ratio' if ratio is None else ''}: expected "
                f"{(len(anchor),)} and a ratio, since it is x-hat that others are mixed with"
            )
        waveform = torch.cat([anchor, positive]).float() * INT16_SCALE
        if ratio is not None and self.pitch_shift == "waveform":
            shifted = [shift_pitch_of_waveform(x, float(a)) for x, a in zip(waveform, ratio, strict=False)]
            power = self.front_end.power(torch.cat([waveform, torch.stack(shifted)]))
        else:
            power = self.front_end.power(waveform)
            if ratio is not None:
                power = torch.cat([power, warp_frequency(power[: len(anchor)], ratio)])
        if share is not None:
            power[2 * len(anchor) :] = mix_with_neighbor(power[2 * len(anchor) :], share)
        if gain_db is not None:
            power[2 * len(anchor) :] *= (10 ** (gain_db @ self.curves / 10))[..., None]
        return self.front_end.log_mel(power)
