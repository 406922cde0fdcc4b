"""The weight gradient of depthwise convolutions over small maps, faster on many CPUs.

Where a CPU lacks AVX-512, torch 2.13 takes tens of milliseconds for one of EfficientNet's 5 x 5
depthwise kernels on a last map of 2 x 3; here it is two matrix products.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hear_msss.encoder import Encoder

LARGEST_MAP = {3: 6, 5: 24}  # positions, by kernel; above, torch's own way is faster


@lru_cache
def places(height: int, width: int, kernel: int) -> Tensor:
    """Which weight joins an output to an input position, ``(positions ** 2, kernel ** 2)`` of 0 or 1."""
    row, column = torch.arange(height * width) // width, torch.arange(height * width) % width
    down = row[None, :] - row[:, None] + kernel // 2
    right = column[None, :] - column[:, None] + kernel // 2
    inside = (down >= 0) & (down < kernel) & (right >= 0) & (right < kernel)
    weight = torch.where(inside, down * kernel + right, -1)
    return (weight.flatten()[:, None] == torch.arange(kernel**2)).float()


def weight_gradient(x: Tensor, gradient: Tensor, kernel: int) -> Tensor:
    """Of a depthwise convolution of stride 1 that keeps the size, ``(channels, 1, kernel, kernel)``.

    Args:
        x: its input, ``(batch, channels, height, width)``.
        gradient: of its output, the same shape.
        kernel: odd.
    """
    batch, channels, height, width = x.shape
    outputs = gradient.permute(1, 2, 3, 0).reshape(channels, height * width, batch)
    inputs = x.permute(1, 0, 2, 3).reshape(channels, batch, height * width)
    pairs = (outputs @ inputs).view(channels, -1)
    return (pairs @ places(height, width, kernel).to(pairs)).view(channels, 1, kernel, kernel)


class _SmallMap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        kernel = weight.shape[-1]
        of_input = F.conv2d(gradient, weight.flip(2, 3), padding=kernel // 2, groups=len(weight))
        return of_input, weight_gradient(x, gradient, kernel)


class SmallMapConv2d(nn.Conv2d):
    """A depthwise ``nn.Conv2d`` of stride 1 with the weight gradient above where the map is small."""

    def forward(self, x: Tensor) -> Tensor:
        """As ``nn.Conv2d``."""
        small = x.shape[2] * x.shape[3] <= LARGEST_MAP[self.kernel_size[0]]
        if small and self.training and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            return _SmallMap.apply(x, self.weight)
        return super().forward(x)


def use_fast_gradients(encoder: Encoder) -> Encoder:
    """Let depthwise convolutions take the gradient above, in place, if this CPU gains by it."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        for block in encoder.network._blocks:
            if tuple(block._depthwise_conv.stride) == (1, 1):
                block._depthwise_conv.__class__ = SmallMapConv2d
    return encoder
