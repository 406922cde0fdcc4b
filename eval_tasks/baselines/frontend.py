"""The front end that the baselines share: log-mel frames centred on multiples of 10 ms."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

SAMPLE_RATE = 16000
N_MELS = 64
FRAME_HOP_MS = 10
LOG_OFFSET = 1e-5
TIMESTAMP_HOP_MS = 50
FRAMES_PER_TIMESTAMP = TIMESTAMP_HOP_MS // FRAME_HOP_MS


class LogMel(nn.Module):
    """25 ms windows every 10 ms, 64 mel bands from 60 to 7800 Hz, natural logarithm of the power.

    Frame ``i`` is centred on ``10 * i`` ms; there are zeros before the clip and after it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mel = MelSpectrogram(
            sample_rate=SAMPLE_RATE,
            n_fft=1024,
            win_length=SAMPLE_RATE * 25 // 1000,
            hop_length=SAMPLE_RATE * FRAME_HOP_MS // 1000,
            f_min=60.0,
            f_max=7800.0,
            n_mels=N_MELS,
            power=2.0,
            center=True,
            pad_mode="constant",
        )

    def forward(self, audio: Tensor) -> Tensor:
        """``(clips, samples)`` at 16 kHz to ``(clips, frames, 64)``, ``frames = samples // 160 + 1``.

        Raises:
            ValueError: audio that is not two-dimensional, or has no samples.
        """
        if audio.dim() != 2 or audio.shape[1] == 0:
            raise ValueError(f"audio {tuple(audio.shape)}: expected (clips, samples), at least one sample")
        return torch.log(self.mel(audio) + LOG_OFFSET).transpose(1, 2)


def timestamps_ms(clips: int, frames: int, device: torch.device) -> Tensor:
    """``(clips, steps)``: 0, 50, 100, ... ms, as many as there are frames for, none after the end."""
    steps = (frames - 1) // FRAMES_PER_TIMESTAMP + 1
    row = torch.arange(steps, dtype=torch.float64, device=device) * TIMESTAMP_HOP_MS
    return row.float().expand(clips, steps)
