"""What the spectrum readout asks of each frame of h: the spectrum of its 320 ms, whitened.

Beyond the paper. The clip and frame losses let h forget what does not tell clips apart, pitch first of all.
``pretrain.losses.spectrum`` has a linear layer estimate these targets from h, so that h must keep them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hear_msss.config import ModelConfig
from hear_msss.encoder import TIME_STRIDE

PATCH_FRAMES = 4  # log-mel frames (40 ms) that are averaged to one
LOWEST_NOTE, HIGHEST_NOTE = 31.0, 111.0  # MIDI numbers, 49 Hz to 4978 Hz
BANDS_PER_SEMITONE = 2
FINE_FFT = 8192
TARGET_LIMIT = 5.0  # standard deviations; rare outliers, such as digital silence, must not rule the loss


def note_to_hz(note: Tensor) -> Tensor:
    """MIDI note number to frequency: 69 is 440 Hz, 12 make an octave."""
    return 440.0 * 2 ** ((note - 69) / 12)


class FineSpectrum(nn.Module):
    """Log power of each frame of h in bands half a semitone apart: the log-mel cannot tell low notes apart.

    One Hann window as long as a frame of h (320 ms, 5120 samples) lies at the middle of each frame; triangles
    reach from a band's lower to its upper neighbour, or as far as the window resolves where that is more.

    Args:
        config: of the front end.
    """

    window: Tensor
    bank: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.window_samples = TIME_STRIDE * config.hop_length
        # The middle of the first frame's 32 windows of the front end.
        middle = ((TIME_STRIDE - 1) * config.hop_length + config.win_length) // 2
        self.first_sample = middle - self.window_samples // 2
        step = 1 / BANDS_PER_SEMITONE
        notes = torch.arange(LOWEST_NOTE - step, HIGHEST_NOTE + 1.5 * step, step, dtype=torch.float64)
        edges_hz = note_to_hz(notes)
        centre_hz = edges_hz[1:-1, None]
        resolution_hz = 2 * config.sample_rate / self.window_samples
        low_hz = torch.minimum(edges_hz[:-2, None], centre_hz - resolution_hz)
        high_hz = torch.maximum(edges_hz[2:, None], centre_hz + resolution_hz)
        bins_hz = torch.linspace(0, config.sample_rate / 2, FINE_FFT // 2 + 1, dtype=torch.float64)
        rise = (bins_hz - low_hz) / (centre_hz - low_hz)
        fall = (high_hz - bins_hz) / (high_hz - centre_hz)
        triangles = torch.minimum(rise, fall).clamp(min=0)
        self.register_buffer("bank", (triangles / triangles.sum(1, keepdim=True)).float(), persistent=False)
        # Scaled so that noise has the level that it has in the front end's power spectrum.
        short, long = torch.hann_window(config.win_length), torch.hann_window(self.window_samples)
        scale = math.sqrt(float(short.square().sum() / long.square().sum()))
        self.register_buffer("window", long * scale, persistent=False)
        self.log_offset = config.log_offset
        self.bands = len(self.bank)

    def forward(self, waveform: Tensor) -> Tensor:
        """Segments ``(batch, samples)`` in [-1, 1] to ``(batch, T', bands)``."""
        frames = waveform[:, self.first_sample :].unfold(1, self.window_samples, self.window_samples)
        power = torch.fft.rfft(frames * self.window, FINE_FFT).abs().square()
        return torch.log(power @ self.bank.T + self.log_offset)


def mel_patches(log_mel: Tensor) -> Tensor:
    """Log-mel ``(batch, n_mels, frames)`` to means of 4 frames, ``(batch, T', n_mels * 8)``."""
    patches = log_mel.unflatten(-1, (-1, TIME_STRIDE // PATCH_FRAMES, PATCH_FRAMES)).mean(-1)
    return patches.permute(0, 2, 1, 3).flatten(2)


def whitening(values: Tensor, components: int, shrink: float) -> tuple[Tensor, Tensor]:
    """Mean ``(size,)`` and matrix ``(size, components)`` that whiten values ``(..., size)``.

    Columns are eigenvectors of the covariance, the largest first, each divided by its standard deviation.

    Args:
        values: samples, more of them than components.
        components: how many.
        shrink: share of the largest variance that is added to each, so that noise is not blown up.
    """
    rows = values.double().flatten(0, -2)
    mean = rows.mean(0)
    centred = rows - mean
    variance, vectors = torch.linalg.eigh(centred.T @ centred / len(rows))
    variance, vectors = variance.flip(0)[:components].clamp(min=0), vectors.flip(1)[:, :components]
    return mean.float(), (vectors / (variance + shrink * variance[0]).sqrt()).float()


class SpectrumTarget(nn.Module):
    """Whitened principal components of the log-mel and of the fine spectrum of each frame of h.

    Whitened, because the largest components are level and tilt: at their own scale they are nearly all of the
    variance, and h holds them anyway.

    Args:
        config: of the front end.
        components: of each of the two.
        shrink: see ``whitening``.
    """

    mel_mean: Tensor
    mel_matrix: Tensor
    fine_mean: Tensor
    fine_matrix: Tensor

    def __init__(self, config: ModelConfig, components: int = 128, shrink: float = 1e-3) -> None:
        super().__init__()
        self.fine_spectrum = FineSpectrum(config)
        mel = config.n_mels * TIME_STRIDE // PATCH_FRAMES
        fine = self.fine_spectrum.bands
        if not 1 <= components <= min(mel, fine):
            raise ValueError(f"spectrum_components={components}: expected 1 to {min(mel, fine)}")
        self.components, self.shrink = components, shrink
        self.size = 2 * components
        self.register_buffer("mel_mean", torch.zeros(mel))
        self.register_buffer("mel_matrix", torch.zeros(mel, components))
        self.register_buffer("fine_mean", torch.zeros(fine))
        self.register_buffer("fine_matrix", torch.zeros(fine, components))

    @torch.no_grad()
    def measure(self, waveform: Tensor, log_mel: Tensor) -> None:
        """Set the whitening from segments of the corpus; arguments of ``forward``."""
        fine = self.fine_spectrum(waveform)
        for name, values in (("mel", mel_patches(log_mel)), ("fine", fine)):
            mean, matrix = whitening(values, self.components, self.shrink)
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_matrix").copy_(matrix)

    @torch.no_grad()
    def forward(self, waveform: Tensor, log_mel: Tensor) -> Tensor:
        """Targets of segments.

        Args:
            waveform: ``(batch, samples)`` in [-1, 1].
            log_mel: of the same segments, ``(batch, n_mels, frames)``.

        Returns:
            ``(batch, T', 2 * components)``, the log-mel's first, within 5 standard deviations.
        """
        mel = (mel_patches(log_mel) - self.mel_mean) @ self.mel_matrix
        fine = (self.fine_spectrum(waveform) - self.fine_mean) @ self.fine_matrix
        return torch.cat([mel, fine], dim=-1).clamp(-TARGET_LIMIT, TARGET_LIMIT)
