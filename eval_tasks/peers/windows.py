"""Windows around evenly spaced times, for models that take a sound of one length."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_WINDOWS = 256  # that go through a model at once: memory does not grow with the clip


def hop_samples(hop_ms: float, sample_rate: int) -> int:
    """
    Raises:
        ValueError: a hop that is no whole number of samples, or none.
    """
    samples = hop_ms * sample_rate / 1000
    if not samples.is_integer() or samples <= 0:
        raise ValueError(f"hop_ms={hop_ms}: expected a positive whole number of samples at {sample_rate} Hz")
    return int(samples)


def centred_windows(audio: Tensor, window: int, hop: int) -> Tensor:
    """``(clips, samples)`` to ``(clips, steps, window)``: window ``i`` is centred on sample ``i * hop``.

    The windows lie from the start of a clip to its end; outside the clip are zeros.
    """
    steps = (audio.shape[1] - 1) // hop + 1
    padded = F.pad(audio, (window // 2, window // 2 + hop))
    return padded.unfold(1, window, hop)[:, :steps]


def covering_windows(audio: Tensor, window: int) -> Tensor:
    """``(clips, samples)`` to ``(clips, steps, window)``: half a window apart, zeros behind the end."""
    hop = max(1, window // 2)
    steps = max(0, -(-(audio.shape[1] - window) // hop)) + 1
    return F.pad(audio, (0, (steps - 1) * hop + window - audio.shape[1])).unfold(1, window, hop)


def times_ms(steps: int, hop_ms: float, clips: int, device: torch.device, first_ms: float = 0.0) -> Tensor:
    """``(clips, steps)`` float32, each computed from its index in float64."""
    row = first_ms + hop_ms * torch.arange(steps, dtype=torch.float64)
    return row.float().to(device).expand(clips, steps)
