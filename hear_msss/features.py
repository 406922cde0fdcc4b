"""Lower levels in addition to h. They keep what the last layer averages away: pitch and onsets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hear_msss.config import ModelConfig
from hear_msss.encoder import TIME_STRIDE, Encoder

BLOCK_CHANNELS = {2: 24, 4: 40, 7: 80, 10: 112, 14: 192}  # inner blocks of the encoder that are a level
MIDDLE_FRAMES = slice(TIME_STRIDE // 2 - 2, TIME_STRIDE // 2 + 2)  # of the log-mel, within a frame of h
STD_FLOOR = 1e-3
LIMIT = 10.0  # standard deviations; sounds unlike any of the pretraining corpus go no further
# Chosen on validation splits. Each component is divided by its deviation plus a share of the largest one:
# without this share, a component of almost no variance would be noise at full scale. The log-mel weighs
# double, because it resolves pitch best.
SHRINK = 0.025
WEIGHTS = {"h": 1.0, "blocks": 1.0, "log_mel": 2.0}


@dataclass(frozen=True)
class Levels:
    """Statistics of all levels, h, blocks and log-mel side by side, over segments of a corpus.

    They are measured when weights are made and travel with them; training has no part in them.

    Attributes:
        mean: ``(T', size)``, a mean for each frame of a window.
        std: ``(size,)``.
        components: ``(size, n)``, makes n components of standardised levels; n is ``size``, but 512 in
            weights of earlier versions.
    """

    mean: Tensor
    std: Tensor
    components: Tensor

    @classmethod
    def shapes(cls, config: ModelConfig, components: int) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor, with ``components`` components, but no more than ``size``."""
        size, frames = sum(level_sizes(config).values()), config.segment_frames // TIME_STRIDE
        return {"mean": (frames, size), "std": (size,), "components": (size, min(components, size))}


def level_sizes(config: ModelConfig) -> dict[str, int]:
    """Numbers for each frame of h by level, in their order."""
    return {"h": config.embedding_dim, "blocks": sum(BLOCK_CHANNELS.values()), "log_mel": 3 * config.n_mels}


def choices() -> tuple[str, ...]:
    """What the option ``features`` can be."""
    joined = ("h", "h+blocks", "h+log_mel", "h+blocks+log_mel", "blocks+log_mel", "blocks", "log_mel")
    return (*joined, "components")


class Features(nn.Module):
    """An encoder that returns chosen levels side by side, or their principal components.

    ``h`` is the paper's embedding. ``blocks`` are channel means over frequency of five inner blocks.
    ``log_mel`` are, for each band, the mean of the 4 frames in the middle of the 320 ms that a frame
    of h stands for, and mean and standard deviation over those 320 ms. All but h are standardised with
    statistics of the pretraining corpus, which are stored in the weights, so that the numbers of an embedding
    have about the same scale.

    ``components`` are principal components of all three levels (h standardised, too), each divided by its
    deviation plus a share of the largest one. There are as many as these levels have numbers, 1152 (512 in
    weights of earlier versions). What the levels have in common is there only once, and small variations
    count more than without this division.

    Args:
        encoder: what makes h and the blocks.
        features: one of :func:`choices`.
        levels: statistics of the encoder's levels.

    Raises:
        ValueError: an unknown choice.
    """

    def __init__(self, encoder: Encoder, features: str, levels: Levels) -> None:
        super().__init__()
        if features not in choices():
            raise ValueError(f"features={features!r}: expected one of {list(choices())}")
        self.encoder, self.config = encoder, encoder.config
        sizes = level_sizes(encoder.config)
        self.names = list(sizes) if features == "components" else features.split("+")
        first = 0
        for name, size in sizes.items():
            if name in self.names:
                span = slice(first, first + size)
                self.register_buffer(f"mean_{name}", levels.mean[:, span].clone())
                self.register_buffer(f"std_{name}", levels.std[span].clone())
            first += size
        self.size = sum(sizes[name] for name in self.names)
        self.components: Tensor | None
        self.register_buffer("components", None)
        if features == "components":
            self.components = levels.components.clone()
            self.size = self.components.shape[1]

    def forward(self, log_mel: Tensor) -> Tensor:
        """``(batch, n_mels, frames)`` to ``(batch, T', size)``."""
        levels = all_levels(self.encoder, log_mel, self.names)
        joined = [
            level
            if name == "h" and self.components is None
            else standardised(level, getattr(self, f"mean_{name}"), getattr(self, f"std_{name}"))
            for name, level in levels.items()
        ]
        together = torch.cat(joined, dim=-1)
        return together if self.components is None else together @ self.components


def all_levels(encoder: Encoder, log_mel: Tensor, names: list[str]) -> dict[str, Tensor]:
    """The chosen levels as they are, ``(batch, T', size)`` each."""
    feature_map, taps = encoder.trunk(log_mel, tuple(BLOCK_CHANNELS) if "blocks" in names else ())
    make = {
        "h": lambda: encoder.head(feature_map),
        "blocks": lambda: block_means(taps),
        "log_mel": lambda: log_mel_statistics(log_mel),
    }
    return {name: make[name]() for name in names}


def standardised(level: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """``(batch, frames, size)`` less ``mean`` ``(T', size)`` in units of ``std`` ``(size,)``, limited.

    Each frame of a window has its own mean, because levels near the edges of a window differ from those in
    its middle, whatever the sound. Frames of a whole clip all lie in the middle.
    """
    if level.shape[-2] != len(mean):
        mean = mean[len(mean) // 2]
    return ((level - mean) / std).clamp(-LIMIT, LIMIT)


def block_means(taps: list[Tensor]) -> Tensor:
    """Feature maps ``(batch, channels, bands, frames)`` to ``(batch, T', sum of channels)``."""
    coarse = taps[-1].shape[-1]
    precise = torch.promote_types(taps[0].dtype, torch.float32)  # of feature maps in half precision
    over_frequency = [tap.mean(dim=2, dtype=precise) for tap in taps]
    means = [x.unflatten(-1, (coarse, x.shape[-1] // coarse)).mean(dim=-1) for x in over_frequency]
    return torch.cat(means, dim=1).transpose(1, 2)


def log_mel_statistics(log_mel: Tensor) -> Tensor:
    """``(batch, n_mels, frames)`` to ``(batch, T', 3 * n_mels)``: local mean, mean, deviation."""
    pieces = log_mel.unflatten(-1, (log_mel.shape[-1] // TIME_STRIDE, TIME_STRIDE))
    mean = pieces.mean(dim=-1)
    deviation = (pieces - mean[..., None]).square().mean(dim=-1).sqrt()
    return torch.cat([pieces[..., MIDDLE_FRAMES].mean(dim=-1), mean, deviation], dim=1).transpose(1, 2)


@torch.no_grad()
def measure_levels(encoder: Encoder, log_mel: Tensor) -> Levels:
    """Statistics of an encoder's levels over some segments, ``(segments, n_mels, frames)``."""
    names = list(level_sizes(encoder.config))
    chunks = [torch.cat([*all_levels(encoder, x, names).values()], dim=-1) for x in log_mel.split(64)]
    frames = torch.cat(chunks).double()
    mean = frames.mean(dim=0)
    std = (frames - mean).flatten(0, 1).std(dim=0).clamp(min=STD_FLOOR)
    components = principal_components(standardised(frames, mean, std), encoder.config)
    return Levels(mean.float(), std.float(), components.float())


def principal_components(levels: Tensor, config: ModelConfig) -> Tensor:
    """The matrix ``(size, size)`` that makes components of standardised levels ``(batch, T', size)``.

    Columns are eigenvectors of the covariance of the weighted levels, the largest first, their largest
    entry positive, divided by the component's deviation plus ``SHRINK`` of the first one's.
    """
    weight = torch.cat(
        [torch.full((size,), WEIGHTS[name], dtype=levels.dtype) for name, size in level_sizes(config).items()]
    )
    weighted = (levels * weight).flatten(0, 1)
    variance, vectors = torch.linalg.eigh(weighted.T @ weighted / len(weighted))
    deviation = variance.flip(0).clamp(min=0).sqrt()
    vectors = vectors.flip(1)
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    components: Tensor = weight[:, None] * vectors * largest.sign() / (deviation + SHRINK * deviation[0])
    return components
