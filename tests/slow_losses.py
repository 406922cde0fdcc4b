"""Equations 1 to 6 and the cross-view loss as slow loops over single numbers."""

import math

import torch

from pretrain.losses import (
    BilinearSimilarity,
    CosineSimilarity,
)

SIZES = [(2, 1, 3), (3, 3, 4), (5, 4, 2)]  # batch, frames, d


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make(kind: str, dim: int) -> torch.nn.Module:
    if kind == "cosine":
        return CosineSimilarity(0.2)
    similarity = BilinearSimilarity(dim).double()
    similarity.weight.data = random(dim, dim, seed=9)
    return similarity


def slow_similarity(similarity: torch.nn.Module, a: torch.Tensor, b: torch.Tensor) -> float:
    """Equations 1 and 3, or 8, for two vectors, term by term."""
    a, b = a.tolist(), b.tolist()
    if isinstance(similarity, CosineSimilarity):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b)) / 0.2
    w = similarity.weight.tolist()
    return sum(a[i] * w[i][j] * b[j] for i in range(len(a)) for j in range(len(b)))


def slow_clip(similarity, anchors, candidates, first: int = 0) -> float:
    """Equation 2; the positive of anchor n is candidate first + n."""
    total = 0.0
    for n, anchor in enumerate(anchors):
        scores = [slow_similarity(similarity, anchor, candidate) for candidate in candidates]
        total -= math.log(math.exp(scores[first + n]) / sum(math.exp(s) for s in scores))
    return total / len(anchors)


def slow_frame(similarity, segments, m: int) -> float:
    """Equation 4, and the mean over t."""
    total = 0.0
    for segment in segments:
        frames = len(segment)
        for t in range(frames):
            scores = [slow_similarity(similarity, segment[t], segment[i]) for i in range(frames)]
            near = [t + tau for tau in range(-m, m + 1) if 0 <= t + tau < frames]
            share = sum(math.exp(scores[i]) for i in near) / sum(math.exp(s) for s in scores)
            total -= math.log(share) / len(near) / frames
    return total / len(segments)


def slow_pitch(pitch, shifted, shift) -> float:
    errors = [
        (float(shifted[n, t]) - float(pitch[n, t]) - float(shift[n])) ** 2
        for n in range(len(pitch))
        for t in range(pitch.shape[1])
    ]
    return sum(errors) / len(errors)


def slow_cross_view(similarity, x, shifted, other_segments: bool) -> float:
    total = 0.0
    for n in range(len(x)):
        for t in range(x.shape[1]):
            own = math.exp(slow_similarity(similarity, x[n, t], shifted[n, t]))
            segments = range(len(x)) if other_segments else [n]
            every = sum(
                math.exp(slow_similarity(similarity, x[n, t], shifted[k, i]))
                for k in segments
                for i in range(x.shape[1])
            )
            total -= math.log(own / every)
    return total / x.shape[0] / x.shape[1]
