"""Waveform to log-mel (paper, section 3.2), and the frequency warp that makes x-hat from it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hear_msss.config import ModelConfig


def mel_filters(bins: int, n_mels: int, sample_rate: int, f_min_hz: float, f_max_hz: float) -> Tensor:
    """Triangles of height 1 on the HTK mel scale, mel = 2595 log10(1 + f / 700), evenly spaced in mel.

    Computed in float64 and rounded once. Equal to torchaudio's ``melscale_fbanks`` and librosa's
    ``filters.mel(htk=True, norm=None)``.

    Args:
        bins: of the spectrum, evenly from 0 Hz to ``sample_rate / 2``.
        n_mels: number of bands.
        sample_rate: samples per second.
        f_min_hz, f_max_hz: lower edge of the first band and upper edge of the last.

    Returns:
        ``(n_mels, bins)`` float32.
    """
    frequency_hz = torch.linspace(0, sample_rate / 2, bins, dtype=torch.float64)
    limits_hz = torch.tensor([f_min_hz, f_max_hz], dtype=torch.float64)
    low, high = (2595 * torch.log10(1 + limits_hz / 700)).tolist()
    mel = torch.linspace(low, high, n_mels + 2, dtype=torch.float64)
    edges_hz = 700 * (10 ** (mel / 2595) - 1)
    below, centre, above = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (frequency_hz - below) / (centre - below)
    falling = (above - frequency_hz) / (above - centre)
    return torch.minimum(rising, falling).clamp(min=0).float()


class FrontEnd(nn.Module):
    """25 ms windows every 10 ms, power spectrum, 64 mel bands from 60 to 7800 Hz, natural log.

    There is no padding that reaches into the signal: frame ``i`` sees exactly the samples
    ``[i * hop_length, i * hop_length + win_length)``, so a frame does not depend on how a clip was
    cut, and 15,600 samples give exactly 96 frames.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ModelConfig()
        filters = mel_filters(
            config.n_fft // 2 + 1, config.n_mels, config.sample_rate, config.f_min_hz, config.f_max_hz
        )
        # Both follow from the configuration, so that no state holds them.
        self.register_buffer("window", torch.hann_window(config.win_length, dtype=torch.float32), False)
        self.register_buffer("filters", filters, False)
        # The FFT is longer than the window, which sits in its middle: zeros where it does not reach.
        self.margin = (config.n_fft - config.win_length) // 2

    def power(self, waveform: Tensor) -> Tensor:
        """``(..., samples)`` to the power spectrum ``(..., n_fft // 2 + 1, frames)``."""
        config = self.config
        padded = F.pad(waveform, (self.margin, self.margin))
        spectrum = torch.stft(
            padded.reshape(-1, padded.shape[-1]),
            config.n_fft,
            config.hop_length,
            config.win_length,
            self.window,
            center=False,
            return_complex=True,
        )
        return spectrum.abs().square().reshape(*waveform.shape[:-1], *spectrum.shape[-2:])

    def log_mel(self, power: Tensor) -> Tensor:
        """Power spectrum ``(..., n_fft // 2 + 1, frames)`` to log-mel ``(..., n_mels, frames)``."""
        # Under autocast the product alone would be rounded to half precision, which the logarithm enlarges.
        with torch.autocast(power.device.type, enabled=False):
            return torch.log(self.filters @ power + self.config.log_offset)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(..., samples)`` at 16 kHz, in [-1, 1], to log-mel ``(..., n_mels, frames)``.

        ``frames = (samples - 400) // 160 + 1``; at least 400 samples (one window) are needed.
        """
        return self.log_mel(self.power(waveform))


def warp_frequency(power: Tensor, ratio: Tensor) -> Tensor:
    """Shift the pitch of power spectra: what was at frequency f is afterwards at ``f * ratio``.

    This is x-hat of the paper (section 2.3), made without leaving the spectrum: the ratio is exact,
    the frames stay where they are. Between bins the power is interpolated linearly; above the
    highest source bin (a ratio below 1 runs out of spectrum) the last bin is repeated, so that no
    artificial cut-off tells the ratio.

    Args:
        power: ``(batch, bins, frames)``, bins linear in frequency from 0 Hz.
        ratio: ``(batch,)``, above 0; 1 is the identity.

    Returns:
        ``(batch, bins, frames)``
    """
    if power.dim() != 3 or ratio.shape != power.shape[:1]:
        raise ValueError(
            f"power {tuple(power.shape)} and ratio {tuple(ratio.shape)}: expected "
            "(batch, bins, frames) and (batch,)"
        )
    batch, bins, _ = power.shape
    source = torch.arange(bins, device=power.device, dtype=torch.float64) / ratio.double()[:, None]
    source = source.clamp_(max=bins - 1)
    below = source.floor().long()
    above = (below + 1).clamp_(max=bins - 1)
    weight = (source - below).to(power.dtype)[..., None]
    row = torch.arange(batch, device=power.device)[:, None]
    return torch.lerp(power[row, below], power[row, above], weight)
