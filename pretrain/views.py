"""Views of a clip (paper, section 2): two segments x and x', and x-hat, x at another pitch or filtered."""

from __future__ import annotations

import numpy as np
import soxr
import torch
from torch import Tensor, nn

from hear_msss.config import ModelConfig
from hear_msss.frontend import FrontEnd, warp_frequency
from pretrain.settings import PITCH_SHIFTS
from pretrain.x_hat import FILTER_KNOTS_HZ, XHat

INT16_SCALE = 1 / 32768


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
    def forward(self, anchor: Tensor, positive: Tensor, x_hat: XHat | None = None) -> Tensor:
        """Log-mels of all views, one after the other.

        Args:
            anchor: x, ``(batch, samples)``, int16, 16 kHz.
            positive: x', the same shape.
            x_hat: what makes x-hat of x; without it there is no x-hat.

        Returns:
            ``(2 * batch, n_mels, frames)`` of x, x', or ``(3 * batch, n_mels, frames)`` of x, x', x-hat.

        Raises:
            ValueError: segments or an x-hat of another shape or type.
        """
        if anchor.dtype != torch.int16 or anchor.dim() != 2 or anchor.shape != positive.shape:
            raise ValueError(
                f"anchor {anchor.dtype} {tuple(anchor.shape)} and positive {positive.dtype} "
                f"{tuple(positive.shape)}: expected int16 (batch, samples) twice"
            )
        waveform = torch.cat([anchor, positive]).to(self.curves.dtype) * INT16_SCALE
        power = self.front_end.power(waveform)
        if x_hat is not None:
            check_x_hat(x_hat, len(anchor))
            power = torch.cat([power, self.power_of_x_hat(waveform, power, x_hat)])
        return self.front_end.log_mel(power)

    def power_of_x_hat(self, waveform: Tensor, power: Tensor, x_hat: XHat) -> Tensor:
        """Power spectra of x-hat, ``(batch, bins, frames)``: first the pitch, then background, then filter.

        Args:
            waveform: samples whose first ``batch`` rows are x, ``(rows, samples)``.
            power: their power spectra, ``(rows, bins, frames)``.
            x_hat: what makes x-hat.
        """
        if self.pitch_shift == "waveform":
            shifted = [
                shift_pitch_of_waveform(x, float(a)) for x, a in zip(waveform, x_hat.ratio, strict=False)
            ]
            changed = self.front_end.power(torch.stack(shifted))
        else:
            changed = warp_frequency(power[: len(x_hat.ratio)], x_hat.ratio)
        if x_hat.share is not None:
            changed = mix_with_neighbor(changed, x_hat.share)
        if x_hat.gain_db is not None:
            changed = changed * (10 ** (x_hat.gain_db @ self.curves / 10))[..., None]
        return changed


def check_x_hat(x_hat: XHat, batch: int) -> None:
    """Raises ValueError where what makes x-hat is not of the batch's size."""
    wanted = {"ratio": (batch,), "gain_db": (batch, len(FILTER_KNOTS_HZ)), "share": (batch,)}
    for name, shape in wanted.items():
        value = getattr(x_hat, name)
        if value is not None and value.shape != shape:
            raise ValueError(f"{name} of x-hat {tuple(value.shape)}: expected {shape}")
