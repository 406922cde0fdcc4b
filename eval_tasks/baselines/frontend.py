"""The front end that the baselines share: log-mel frames centred on multiples of 10 ms."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SAMPLE_RATE = 16000
N_MELS = 64
FRAME_HOP_MS = 10
LOG_OFFSET = 1e-5
N_FFT, WINDOW, HOP = 1024, SAMPLE_RATE * 25 // 1000, SAMPLE_RATE * FRAME_HOP_MS // 1000  # in samples
F_MIN_HZ, F_MAX_HZ = 60.0, 7800.0
TIMESTAMP_HOP_MS = 50
FRAMES_PER_TIMESTAMP = TIMESTAMP_HOP_MS // FRAME_HOP_MS


def mel_triangles() -> Tensor:
    """``(64, 513)`` float32: triangles of height 1, evenly spaced on the HTK mel scale from 60 to 7800 Hz."""

    def to_mel(hz: float) -> float:
        return 2595 * math.log10(1 + hz / 700)

    mel = torch.linspace(to_mel(F_MIN_HZ), to_mel(F_MAX_HZ), N_MELS + 2, dtype=torch.float64)
    edges_hz = 700 * (10 ** (mel / 2595) - 1)
    bins_hz = torch.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1, dtype=torch.float64)
    rise = (bins_hz - edges_hz[:-2, None]) / edges_hz.diff()[:-1, None]
    fall = (edges_hz[2:, None] - bins_hz) / edges_hz.diff()[1:, None]
    return torch.minimum(rise, fall).clamp(min=0).float()


class LogMel(nn.Module):
    """25 ms windows every 10 ms, 64 mel bands from 60 to 7800 Hz, natural logarithm of the power.

    Frame ``i`` is centred on ``10 * i`` ms; there are zeros before the clip and after it.
    """

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WINDOW, dtype=torch.float32), False)
        self.register_buffer("filters", mel_triangles(), False)

    def forward(self, audio: Tensor) -> Tensor:
        """``(clips, samples)`` at 16 kHz to ``(clips, frames, 64)``, ``frames = samples // 160 + 1``.

        Raises:
            ValueError: audio that is not two-dimensional, or has no samples.
        """
        if audio.dim() != 2 or audio.shape[1] == 0:
            raise ValueError(f"audio {tuple(audio.shape)}: expected (clips, samples), at least one sample")
        spectrum = torch.stft(
            audio.float(), N_FFT, HOP, WINDOW, self.window, pad_mode="constant", return_complex=True
        )
        return torch.log(self.filters @ spectrum.abs().square() + LOG_OFFSET).transpose(1, 2)


def timestamps_ms(clips: int, frames: int, device: torch.device) -> Tensor:
    """``(clips, steps)``: 0, 50, 100, ... ms, as many as there are frames for, none after the end."""
    steps = (frames - 1) // FRAMES_PER_TIMESTAMP + 1
    row = torch.arange(steps, dtype=torch.float64, device=device) * TIMESTAMP_HOP_MS
    return row.float().expand(clips, steps)
