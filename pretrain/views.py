"""Views of a clip (paper, section 2): two segments x and x', and x-hat, x at another pitch or filtered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import soxr
import torch
from torch import Tensor, nn

from hear_msss.config import ModelConfig
from hear_msss.frontend import FrontEnd, warp_frequency
from pretrain.augmentation import FILTER_KNOTS_HZ, Augmentation, Augmentations
from pretrain.settings import PITCH_SHIFTS

INT16_SCALE = 1 / 32768


def filter_curves(frequencies_hz: Tensor) -> Tensor:
    """Share of each knot's gain in dB that a frequency has, ``(knots, frequencies)``: linear over octaves."""
    knots = torch.log2(torch.tensor(FILTER_KNOTS_HZ))
    place = torch.log2(frequencies_hz.clamp(FILTER_KNOTS_HZ[0], FILTER_KNOTS_HZ[-1]))
    return (1 - (place[None, :] - knots[:, None]).abs()).clamp(min=0)


def mix_with_neighbor(power: Tensor, share: Tensor, places: int = 1) -> Tensor:
    """Mix another row into each row of power spectra; ``share`` ``(batch,)`` is its part of the mean power.

    The other row is ``places`` further on. Each row keeps its level. A silent row stays silent; the share of
    a silent other row is silence.
    """
    level = power.mean((1, 2), keepdim=True)
    other, other_level = power.roll(-places, 0), level.roll(-places, 0)
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
    def forward(self, anchor: Tensor, positive: Tensor, augmentations: Augmentations | None = None) -> Tensor:
        """Log-mels of all views, one after the other.

        Args:
            anchor: x, ``(batch, samples)``, int16, 16 kHz.
            positive: x', the same shape.
            augmentations: changes to x and x', and what makes x-hat; by default nothing, and no x-hat.

        Returns:
            ``(2 * batch, n_mels, frames)`` of x, x', or ``(3 * batch, n_mels, frames)`` of x, x', x-hat.

        Raises:
            ValueError: segments or augmentations of another shape or type.
        """
        if anchor.dtype != torch.int16 or anchor.dim() != 2 or anchor.shape != positive.shape:
            raise ValueError(
                f"anchor {anchor.dtype} {tuple(anchor.shape)} and positive {positive.dtype} "
                f"{tuple(positive.shape)}: expected int16 (batch, samples) twice"
            )
        augmentations = augmentations or Augmentations()
        x, x_prime = (segments.to(self.curves.dtype) * INT16_SCALE for segments in (anchor, positive))
        if augmentations.positive.noise is not None:
            x_prime = x_prime + augmentations.positive.noise
        power, power_prime = self.front_end.power(torch.cat([x, x_prime])).chunk(2)
        changed = [
            self.change(power, augmentations.anchor),
            self.change(power_prime, augmentations.positive),
        ]
        if augmentations.x_hat is not None:
            changed.append(self.make_x_hat(x, power, augmentations.x_hat))
        return self.front_end.log_mel(torch.cat(changed))

    def make_x_hat(self, waveform: Tensor, power: Tensor, augmentation: Augmentation) -> Tensor:
        """Power spectra of x-hat, ``(batch, bins, frames)``.

        Args:
            waveform: x, ``(batch, samples)``.
            power: its power spectra, ``(batch, bins, frames)``.
            augmentation: what makes x-hat of x.
        """
        if self.pitch_shift == "waveform" and augmentation.ratio is not None:
            ratios = augmentation.ratio.tolist()
            shifted = [shift_pitch_of_waveform(row, a) for row, a in zip(waveform, ratios, strict=True)]
            power = self.front_end.power(torch.stack(shifted).to(waveform))
            augmentation = replace(augmentation, ratio=None)
        return self.change(power, augmentation)

    def change(self, power: Tensor, augmentation: Augmentation) -> Tensor:
        """Power spectra ``(batch, bins, frames)`` at another pitch, with background, filtered, louder."""
        check_sizes(augmentation, len(power))
        if augmentation.ratio is not None:
            power = warp_frequency(power, augmentation.ratio)
        if augmentation.background_share is not None:
            power = mix_with_neighbor(power, augmentation.background_share, augmentation.background_from)
        if augmentation.filter_db is not None:
            power = power * decibels_to_power(augmentation.filter_db @ self.curves)[..., None]
        if augmentation.gain_db is not None:
            power = power * decibels_to_power(augmentation.gain_db)[:, None, None]
        return power


def decibels_to_power(decibels: Tensor) -> Tensor:
    """Gains in dB to factors of the power."""
    return 10 ** (decibels / 10)


def check_sizes(augmentation: Augmentation, batch: int) -> None:
    """Raises ValueError where an augmentation is not for a batch of this size."""
    wanted = {
        "ratio": (batch,),
        "background_share": (batch,),
        "filter_db": (batch, len(FILTER_KNOTS_HZ)),
        "gain_db": (batch,),
    }
    for name, shape in wanted.items():
        value = getattr(augmentation, name)
        if value is not None and value.shape != shape:
            raise ValueError(f"{name} {tuple(value.shape)}: expected {shape}")
