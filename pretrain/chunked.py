"""Backward through a batch that does not fit in memory at once, as GradCache does (arXiv 2101.06983).

The contrastive loss needs the embeddings of the whole batch; their graph does not fit. So: embed the
batch in chunks without a graph, take the loss and its gradient on the embeddings, then embed each
chunk again with a graph and send its part of the gradient through. The result is the gradient of
the whole batch, except that batch norm sees a chunk at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

Metrics = TypeVar("Metrics")


def random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


def restore_random_state(device: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


@contextmanager
def running_statistics_kept(model: nn.Module) -> Iterator[None]:
    """Batch norm normalises by the batch, as in training, but leaves its running statistics alone."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@dataclass(frozen=True)
class Chunks:
    """How a batch is cut.

    Attributes:
        segments: most rows that the encoder sees at once; 0 for all.
        blocks: the batch consists of so many equal blocks (views), and no chunk has rows of two of them.
        recompute: embed chunks twice, to hold the graph of only one chunk at a time. Without it all
            graphs are held and nothing is computed twice.
    """

    segments: int = 0
    blocks: int = 1
    recompute: bool = True


def draw_chunks(rows: int, chunks: Chunks) -> list[Tensor]:
    """Row numbers of each chunk, drawn at random within a block; together they are all rows, each once."""
    block = rows // chunks.blocks
    count = math.ceil(block / chunks.segments) if chunks.segments else 1
    return [
        chunk
        for number in range(chunks.blocks)
        for chunk in (number * block + torch.randperm(block)).tensor_split(count)
    ]


def backward_in_chunks(
    encoder: nn.Module,
    log_mel: Tensor,
    loss_of: Callable[[Tensor], tuple[Tensor, Metrics]],
    chunks: Chunks,
) -> Metrics:
    """Add the gradient of ``loss_of(encoder(log_mel))`` to the parameters.

    The rows of a chunk are drawn at random, so that the batch-norm statistics, which differ from
    chunk to chunk, do not tell which segments belong together.

    Args:
        encoder: ``(rows, ...)`` to h, ``(rows, T', d)``.
        log_mel: all segments of the batch, ``(rows, ...)``.
        loss_of: h of all rows, in order, to the loss and whatever is to be returned.
        chunks: how the batch is cut.

    Returns:
        The second of what ``loss_of`` returns.
    """
    device = log_mel.device
    if chunks.blocks == 1 and (not chunks.segments or len(log_mel) <= chunks.segments):
        loss, metrics = loss_of(encoder(log_mel))
        loss.backward()
        return metrics

    drawn = [chunk.to(device) for chunk in draw_chunks(len(log_mel), chunks)]
    place = torch.cat(drawn).argsort()
    if not chunks.recompute:
        loss, metrics = loss_of(torch.cat([encoder(log_mel[chunk]) for chunk in drawn])[place])
        loss.backward()
        return metrics

    states, embedded = [], []
    with torch.no_grad():
        for chunk in drawn:
            states.append(random_state(device))
            embedded.append(encoder(log_mel[chunk]))
    h = torch.cat(embedded)[place].requires_grad_()
    loss, metrics = loss_of(h)
    loss.backward()
    assert h.grad is not None
    with running_statistics_kept(encoder):
        for chunk, state in zip(drawn, states, strict=True):
            restore_random_state(device, state)
            encoder(log_mel[chunk]).backward(h.grad[chunk])
    return metrics
