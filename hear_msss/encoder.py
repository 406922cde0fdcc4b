"""The encoder f: EfficientNet-B0 over log-mel segments (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from efficientnet_pytorch import EfficientNet
from torch import Tensor, nn

from hear_msss.config import ModelConfig

TRUNK_CHANNELS = 1280  # of EfficientNet-B0's last feature map
TIME_STRIDE = 32  # log-mel frames to one frame of h


def use_own_padding(network: nn.Module) -> nn.Module:
    """Let stride-1 convolutions pad for themselves, in place.

    ``efficientnet_pytorch`` pads every convolution by an explicit copy of its input. At stride 1 and
    an odd kernel that padding is symmetric, which the convolution does itself, with the same result
    bit for bit and without the copy. Stride-2 convolutions pad one side more and stay as they are.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and tuple(module.stride) == (1, 1):
            height, width = module.kernel_size
            module.padding = (height // 2, width // 2)
            module.static_padding = nn.Identity()
    return network


def use_fused_swish(network: EfficientNet) -> EfficientNet:
    """Compute x * sigmoid(x) in one kernel, in place; equal to rounding."""
    network._swish = nn.SiLU()
    for block in network._blocks:
        block._swish = nn.SiLU()
    return network


def stock_network(config: ModelConfig, drop_connect_rate: float = 0.2) -> EfficientNet:
    """``efficientnet_pytorch``'s B0 for one-channel segments, without a classifier, as it comes."""
    return EfficientNet.from_name(
        "efficientnet-b0",
        in_channels=1,
        image_size=(config.n_mels, config.segment_frames),
        include_top=False,
        drop_connect_rate=drop_connect_rate,
    )


class Encoder(nn.Module):
    """Log-mel segments to frame embeddings h.

    EfficientNet-B0 with one input channel, average over frequency in the last feature map, a fully
    connected layer 1280 -> 512, LayerNorm, tanh. The configuration may ask for the maximum over
    frequency, and for h without LayerNorm and tanh.

    Args:
        config: front end and sizes.
        drop_connect_rate: probability of skipping the last residual block in training, rising
            linearly from 0 at the first (stochastic depth); 0.2 is ``efficientnet_pytorch``'s.
    """

    def __init__(self, config: ModelConfig | None = None, drop_connect_rate: float = 0.2) -> None:
        super().__init__()
        self.config = config = config or ModelConfig()
        self.network = use_fused_swish(use_own_padding(stock_network(config, drop_connect_rate)))
        self.network.to(memory_format=torch.channels_last)
        self.projection = nn.Linear(TRUNK_CHANNELS, config.embedding_dim)
        self.norm = nn.LayerNorm(config.embedding_dim) if config.normalize_h else nn.Identity()

    def trunk(self, log_mel: Tensor, taps: Sequence[int] = ()) -> tuple[Tensor, list[Tensor]]:
        """The last feature map, and those of chosen inner blocks.

        Args:
            log_mel: ``(batch, n_mels, frames)``; frames a multiple of 32.
            taps: numbers of blocks, 0 to 15, ascending, whose output is wanted too.

        Returns:
            ``(batch, 1280, n_mels / 32, frames / 32)`` and for each tap its
            ``(batch, channels, bands, frames)``.
        """
        config, network = self.config, self.network
        x = (log_mel - config.log_mel_mean) / config.log_mel_std
        x = x.to(network._conv_stem.weight.dtype)  # the convolutions may be in half precision
        x = x.unsqueeze(1).contiguous(memory_format=torch.channels_last)
        x = network._swish(network._bn0(network._conv_stem(x)))
        tapped = []
        drop = network._global_params.drop_connect_rate
        for number, block in enumerate(network._blocks):
            x = block(x, drop_connect_rate=drop * number / len(network._blocks))
            if number in taps:
                tapped.append(x)
        return network._swish(network._bn1(network._conv_head(x))), tapped

    def head(self, feature_map: Tensor) -> Tensor:
        """``(batch, 1280, bands, T')`` to h, ``(batch, T', 512)``; values in (-1, 1) with ``normalize_h``."""
        feature_map = feature_map.to(self.projection.weight.dtype)  # of convolutions in half precision
        average = self.config.frequency_pooling == "average"
        pooled = feature_map.mean(dim=2) if average else feature_map.amax(dim=2)
        projected = self.projection(pooled.transpose(1, 2))
        return torch.tanh(self.norm(projected)) if self.config.normalize_h else projected

    def forward(self, log_mel: Tensor) -> Tensor:
        """``(batch, n_mels, frames)`` to h, ``(batch, T', 512)``; T' = frames / 32 (3 of 96)."""
        return self.head(self.trunk(log_mel)[0])
