"""Low and middle levels beside h: what the last layer has averaged away, pitch and onsets, is there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hear_msss.config import ModelConfig
from hear_msss.encoder import TAPPED, TIME_STRIDE, Encoder

LOCAL = slice(TIME_STRIDE // 2 - 2, TIME_STRIDE // 2 + 2)  # log-mel frames in the middle of a frame of h
STD_FLOOR = 1e-3
LIMIT = 10.0  # standard deviations; sounds unlike any of the pretraining corpus go no further


def level_sizes(config: ModelConfig) -> dict[str, int]:
    """Numbers for each frame of h by level, in their order."""
    return {"blocks": sum(TAPPED.values()), "log_mel": 3 * config.n_mels}


def choices() -> tuple[str, ...]:
    """What the option ``features`` can be."""
    return ("h", "h+blocks", "h+log_mel", "h+blocks+log_mel", "blocks+log_mel", "blocks", "log_mel")


class Features(nn.Module):
    """An encoder that returns chosen levels side by side, for each frame of h.

    ``h`` is the paper's embedding. ``blocks`` are channel means over frequency of five inner blocks.
    ``log_mel`` are, for each band, the mean of the 4 frames in the middle of the 320 ms that a frame
    of h stands for, and mean and standard deviation over those 320 ms. All but h are standardised by
    statistics of the pretraining corpus that the weights carry, so that a predictor which takes
    embeddings as they are sees one scale.

    Args:
        encoder: with its level statistics.
        features: one of :func:`choices`.
    """

    def __init__(self, encoder: Encoder, features: str) -> None:
        super().__init__()
        if features not in choices():
            raise ValueError(f"features={features!r}: expected one of {list(choices())}")
        self.encoder, self.config = encoder, encoder.config
        self.parts = features.split("+")
        sizes, first = level_sizes(encoder.config), 0
        for level, size in sizes.items():
            if level in self.parts:
                span = slice(first, first + size)
                self.register_buffer(f"mean_{level}", encoder.level_mean[span].clone())
                self.register_buffer(f"std_{level}", encoder.level_std[span].clone())
            first += size
        self.size = sum((sizes | {"h": encoder.config.embedding_dim})[part] for part in self.parts)

    def forward(self, log_mel: Tensor) -> Tensor:
        """``(batch, n_mels, frames)`` to ``(batch, T', size)``."""
        feature_map, taps = self.encoder.trunk(log_mel, tuple(TAPPED) if "blocks" in self.parts else ())
        joined = []
        for part in self.parts:
            if part == "h":
                joined.append(self.encoder.head(feature_map))
                continue
            level = block_means(taps) if part == "blocks" else log_mel_statistics(log_mel)
            standard = (level - getattr(self, f"mean_{part}")) / getattr(self, f"std_{part}")
            joined.append(standard.clamp(-LIMIT, LIMIT))
        return torch.cat(joined, dim=-1)


def block_means(taps: list[Tensor]) -> Tensor:
    """Feature maps ``(batch, channels, bands, frames)`` to ``(batch, T', sum of channels)``."""
    coarse = taps[-1].shape[-1]
    means = [tap.mean(dim=2).unflatten(-1, (coarse, tap.shape[-1] // coarse)).mean(dim=-1) for tap in taps]
    return torch.cat(means, dim=1).transpose(1, 2)


def log_mel_statistics(log_mel: Tensor) -> Tensor:
    """``(batch, n_mels, frames)`` to ``(batch, T', 3 * n_mels)``: local mean, mean, deviation."""
    parts = log_mel.unflatten(-1, (log_mel.shape[-1] // TIME_STRIDE, TIME_STRIDE))
    mean = parts.mean(dim=-1)
    deviation = (parts - mean[..., None]).square().mean(dim=-1).sqrt()
    return torch.cat([parts[..., LOCAL].mean(dim=-1), mean, deviation], dim=1).transpose(1, 2)


@torch.no_grad()
def measure_levels(encoder: Encoder, log_mel: Tensor) -> None:
    """Set an encoder's level statistics to those of some segments, ``(segments, n_mels, frames)``."""
    levels = [
        torch.cat([block_means(encoder.trunk(chunk, tuple(TAPPED))[1]), log_mel_statistics(chunk)], dim=-1)
        for chunk in log_mel.split(64)
    ]
    frames = torch.cat(levels).flatten(0, 1).double()
    encoder.level_mean.copy_(frames.mean(dim=0))
    encoder.level_std.copy_(frames.std(dim=0).clamp(min=STD_FLOOR))
