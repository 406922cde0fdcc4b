"""HEAR module: the log-mel spectrogram itself.

Scene: mean and deviation of each band over the clip. Timestamps: the bands every 50 ms, averaged over
the 50 ms around.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval_tasks.baselines.frontend import FRAMES_PER_TIMESTAMP, N_MELS, SAMPLE_RATE, LogMel, timestamps_ms


class LogMelModel(nn.Module):
    """Attributes as HEAR asks for them."""

    sample_rate = SAMPLE_RATE
    scene_embedding_size = 2 * N_MELS
    timestamp_embedding_size = N_MELS

    def __init__(self) -> None:
        super().__init__()
        self.log_mel = LogMel()


def load_model(model_file_path: str = "") -> LogMelModel:
    """There are no weights: ``model_file_path`` is part of the HEAR API and not used."""
    return LogMelModel()


def get_scene_embeddings(audio: Tensor, model: LogMelModel) -> Tensor:
    """``(clips, samples)`` to ``(clips, 128)``: 64 means, then 64 standard deviations."""
    frames = model.log_mel(audio)
    return torch.cat([frames.mean(dim=1), frames.std(dim=1, correction=0)], dim=1)


def get_timestamp_embeddings(audio: Tensor, model: LogMelModel) -> tuple[Tensor, Tensor]:
    """``(clips, samples)`` to embeddings ``(clips, steps, 64)`` and times ``(clips, steps)`` in ms."""
    frames = model.log_mel(audio)
    times = timestamps_ms(len(frames), frames.shape[1], frames.device)
    side = FRAMES_PER_TIMESTAMP // 2
    bands = F.pad(frames.transpose(1, 2), (side, side), mode="replicate")
    embeddings = F.avg_pool1d(bands, FRAMES_PER_TIMESTAMP, stride=FRAMES_PER_TIMESTAMP)
    return embeddings.transpose(1, 2)[:, : times.shape[1]], times
