"""HEAR module: random features of log-mel segments, what an untrained network of one layer sees.

Segments of 96 frames (960 ms), times a fixed matrix of normal random numbers, then tanh. Scene: mean
over segments that overlap by half. Timestamps: the segment centred on each, every 50 ms.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval_tasks.baselines.frontend import (
    FRAMES_PER_TIMESTAMP,
    LOG_OFFSET,
    N_MELS,
    SAMPLE_RATE,
    LogMel,
    timestamps_ms,
)

SEGMENT_FRAMES = 96
# Rough level and spread of the log-mel of recordings: keeps tanh out of its flat ends.
LOG_MEL_MEAN = -3.0
LOG_MEL_STD = 5.0
SILENCE = (math.log(LOG_OFFSET) - LOG_MEL_MEAN) / LOG_MEL_STD
CHUNK_SEGMENTS = 1024


class RandomProjection(nn.Module):
    """
    Args:
        embedding_dim: number of random features.
        seed: of the projection; the same seed gives the same model everywhere.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, embedding_dim: int = 512, seed: int = 0) -> None:
        super().__init__()
        self.scene_embedding_size = self.timestamp_embedding_size = embedding_dim
        self.log_mel = LogMel()
        generator = torch.Generator().manual_seed(seed)
        inputs = N_MELS * SEGMENT_FRAMES
        weight = torch.randn(inputs, embedding_dim, generator=generator) / inputs**0.5
        self.register_buffer("weight", weight)
        self.register_buffer("bias", torch.randn(embedding_dim, generator=generator))

    def forward(self, audio: Tensor, hop_frames: int, centred: bool) -> Tensor:
        """``(clips, samples)`` to ``(clips, segments, embedding_dim)``.

        Args:
            audio: at 16 kHz.
            hop_frames: from one segment to the next.
            centred: segment ``i`` is centred on frame ``i * hop_frames``; else the segments start
                with the clip. Where a segment reaches over the clip's ends there is silence.
        """
        frames = (self.log_mel(audio) - LOG_MEL_MEAN) / LOG_MEL_STD
        count = frames.shape[1]
        if centred:
            before, segments = SEGMENT_FRAMES // 2, (count - 1) // hop_frames + 1
        else:
            before, segments = 0, max(0, -(-(count - SEGMENT_FRAMES) // hop_frames)) + 1
        after = max(0, (segments - 1) * hop_frames + SEGMENT_FRAMES - before - count)
        bands = F.pad(frames.transpose(1, 2), (before, after), value=SILENCE)
        windows = bands.unfold(2, SEGMENT_FRAMES, hop_frames)[:, :, :segments].transpose(1, 2)
        # A window is copied before it is multiplied: in chunks, memory does not grow with the clip.
        parts = [
            torch.tanh(part.flatten(2) @ self.weight + self.bias)
            for part in windows.split(max(1, CHUNK_SEGMENTS // len(audio)), dim=1)
        ]
        return torch.cat(parts, dim=1)


def load_model(model_file_path: str = "", embedding_dim: int = 512, seed: int = 0) -> RandomProjection:
    """There are no weights: ``model_file_path`` is part of the HEAR API and not used."""
    return RandomProjection(embedding_dim, seed)


def get_scene_embeddings(audio: Tensor, model: RandomProjection) -> Tensor:
    """``(clips, samples)`` to ``(clips, embedding_dim)``."""
    return model(audio, hop_frames=SEGMENT_FRAMES // 2, centred=False).mean(dim=1)


def get_timestamp_embeddings(audio: Tensor, model: RandomProjection) -> tuple[Tensor, Tensor]:
    """``(clips, samples)`` to embeddings ``(clips, steps, embedding_dim)`` and times in ms."""
    embeddings = model(audio, hop_frames=FRAMES_PER_TIMESTAMP, centred=True)
    times = timestamps_ms(len(audio), audio.shape[1] // (SAMPLE_RATE // 100) + 1, audio.device)
    return embeddings, times
