"""Optimizer, learning-rate schedule and moving average of the weights."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pretrain.settings import Settings

LONGEST_WARM_UP = 0.1  # share of the budget: a run that ends inside its warm-up learns next to nothing


def make_optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Adam or AdamW in its fused form; only weights of two or more dimensions decay."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.learning_rate, fused=True)


def learning_rate(settings: Settings, step: int, progress: float, warming: float | None = None) -> float:
    """The rate of a step.

    Args:
        settings: peak rate, warm-up and schedule.
        step: number of steps taken before it.
        progress: spent share of the budget, 0 to 1.
        warming: the share of the budget that counts for the end of the warm-up: ``progress``, or less where a
            first step compiled the encoder for minutes.
    """
    warming = progress if warming is None else warming
    warm_up = max((step + 1) / max(1, settings.warmup_steps), warming / LONGEST_WARM_UP)
    rate = settings.learning_rate * min(1.0, warm_up)
    if settings.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return rate


def make_average(model: nn.Module, decay: float) -> AveragedModel | None:
    """A moving average of parameters and batch-norm statistics; None where the decay is 0."""
    if not decay:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
