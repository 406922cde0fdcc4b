"""Waveform to log-mel (paper, section 3.2), and the frequency warp that makes x-hat from it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.transforms import MelScale, Spectrogram

from hear_msss.config import ModelConfig


class FrontEnd(nn.Module):
    """25 ms windows every 10 ms, power spectrum, 64 mel bands from 60 to 7800 Hz, natural log.

    There is no padding that reaches into the signal: frame ``i`` sees exactly the samples
    ``[i * hop_length, i * hop_length + win_length)``, so a frame does not depend on how a clip was
    cut, and 15,600 samples give exactly 96 frames.
    """

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ModelConfig()
        self.spectrogram = Spectrogram(
            n_fft=config.n_fft,
            win_length=config.win_length,
            hop_length=config.hop_length,
            power=2.0,
            center=False,
        )
        self.mel_scale = MelScale(
            n_mels=config.n_mels,
            sample_rate=config.sample_rate,
            f_min=config.f_min_hz,
            f_max=config.f_max_hz,
            n_stft=config.n_fft // 2 + 1,
        )
        # The FFT is longer than the window, which sits in its middle: zeros where it does not reach.
        self.margin = (config.n_fft - config.win_length) // 2

    def power(self, waveform: Tensor) -> Tensor:
        """``(..., samples)`` to the power spectrum ``(..., n_fft // 2 + 1, frames)``."""
        return self.spectrogram(F.pad(waveform, (self.margin, self.margin)))

    def log_mel(self, power: Tensor) -> Tensor:
        """Power spectrum ``(..., n_fft // 2 + 1, frames)`` to log-mel ``(..., n_mels, frames)``."""
        return torch.log(self.mel_scale(power) + self.config.log_offset)

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
