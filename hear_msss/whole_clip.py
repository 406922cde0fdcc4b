"""A clip through the encoder in one pass, as the paper's authors embed it, instead of window by window.

The encoder is a stack of convolutions: over a longer log-mel it gives a longer h, a frame every 320 ms.
Memory grows with the clip. Squeeze and excitation averages over the whole clip, whereas each window has its
own average.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hear_msss.config import ModelConfig
from hear_msss.encoder import TIME_STRIDE


def padded_frames(samples: int, config: ModelConfig) -> int:
    """Log-mel frames that a clip is filled up to: whole frames of h, at least one window."""
    frames = max(config.frames(samples), 1)
    whole = -(-frames // TIME_STRIDE) * TIME_STRIDE
    return max(whole, config.segment_frames)


def padded(audio: Tensor, config: ModelConfig) -> Tensor:
    """``(sounds, samples)`` with zeros behind: ``padded_frames`` frames of log-mel."""
    frames = padded_frames(audio.shape[1], config)
    wanted = (frames - 1) * config.hop_length + config.win_length
    return F.pad(audio, (0, max(0, wanted - audio.shape[1])))


def frame_count(samples: int, config: ModelConfig) -> int:
    """Frames of h whose middle does not lie after the end of the clip; at least one."""
    first = times_ms(1, config)[0] * config.sample_rate / 1000
    stride = TIME_STRIDE * config.hop_length
    count = int((samples - first) // stride) + 1 if samples >= first else 1
    return min(count, padded_frames(samples, config) // TIME_STRIDE)


def times_ms(count: int, config: ModelConfig) -> np.ndarray:
    """Middles of the first ``count`` frames of h in ms, float64: about 170, 490, 810 ...

    A frame stands for 32 frames of log-mel, from the first one's first sample to the last one's last.
    """
    stride = TIME_STRIDE * config.hop_length
    middle = ((TIME_STRIDE - 1) * config.hop_length + config.win_length) / 2
    return (np.arange(count, dtype=np.float64) * stride + middle) * 1000 / config.sample_rate


def times_like(audio: Tensor, count: int, config: ModelConfig) -> Tensor:
    """``(sounds, count)`` float32 on the audio's device."""
    row = torch.from_numpy(times_ms(count, config)).float().to(audio.device)
    return row.expand(audio.shape[0], -1).clone()
