"""Similarity of two sets of representations: bilinear (equations 1 and 3) or cosine (equation 8)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BilinearSimilarity(nn.Module):
    """``s(a, b) = a^T W b``: the form of equations 1 and 3, with its trained matrix W.

    Args:
        dim: d, the size of a representation; W is ``(d, d)``.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        # The scale of a linear layer: similarities then start with a deviation of about one.
        bound = dim**-0.5
        self.weight = nn.Parameter(torch.empty(dim, dim).uniform_(-bound, bound))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """``(..., rows, d)`` and ``(..., columns, d)`` to ``(..., rows, columns)``."""
        return (a @ self.weight) @ b.transpose(-1, -2)


class CosineSimilarity(nn.Module):
    """``s(a, b) = a^T b / (|a| |b|)``, divided by a temperature (equation 8 and the line after it).

    Args:
        temperature: 0.2 in the paper.
    """

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature={temperature}: expected a number above 0 (the paper has 0.2)")
        self.temperature = temperature

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """``(..., rows, d)`` and ``(..., columns, d)`` to ``(..., rows, columns)``."""
        return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).transpose(-1, -2) / self.temperature


def make_similarity(kind: str, dim: int, temperature: float = 0.2) -> nn.Module:
    """``bilinear`` or ``cosine`` by name.

    Raises:
        ValueError: another name.
    """
    if kind == "bilinear":
        return BilinearSimilarity(dim)
    if kind == "cosine":
        return CosineSimilarity(temperature)
    raise ValueError(f"similarity={kind!r}: expected 'bilinear' or 'cosine'")
