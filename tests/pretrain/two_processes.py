"""Run by torchrun in test_distributed.py: each process takes its rows and leaves what it computed."""

import sys
from pathlib import Path

import torch

from pretrain.chunked import backward_in_chunks
from pretrain.distributed import (
    agree_on_largest,
    average_gradients,
    copy_from_first,
    gather_rows,
    join_processes,
    leave_processes,
    process_count,
    process_rank,
)
from pretrain.learner import Learner
from pretrain.settings import Settings
from pretrain.x_hat import XHat

CLIPS = 6


def make_learner(seed: int, similarity: str) -> Learner:
    """In float64 and with batch norm in eval mode, so that rows do not depend on each other."""
    torch.manual_seed(seed)
    learner = (
        Learner(Settings(steps=1, drop_connect_rate=0, similarity=similarity, gamma=0.5)).double().eval()
    )
    for name, buffer in learner.named_buffers():
        if name.endswith("running_var"):
            buffer.fill_(0.05)
    return learner


def make_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Log-mels ``(3, clips, 64, 96)`` of x, x' and x-hat, and ratios."""
    generator = torch.Generator().manual_seed(3)
    log_mel = torch.randn(3, CLIPS, 64, 96, generator=generator, dtype=torch.float64) * 4 - 4
    return log_mel, torch.linspace(0.8, 1.2, CLIPS, dtype=torch.float64)


def gradients(learner: Learner, rows: slice, chunk_segments: int) -> dict[str, torch.Tensor]:
    log_mel, ratio = make_batch()
    mine, x_hat = log_mel[:, rows].flatten(0, 1), XHat(ratio[rows])
    backward_in_chunks(learner, mine, lambda h: learner.losses(h, x_hat), chunk_segments)
    average_gradients(learner)
    return {name: p.grad for name, p in learner.named_parameters() if p.grad is not None}


def main(out: Path) -> None:
    join_processes("cpu")
    rank, clips = process_rank(), CLIPS // process_count()
    found = {}
    for similarity in ("bilinear", "cosine"):
        learner = make_learner(rank, similarity)  # other weights on each process, until the copy
        copy_from_first(learner)
        found[similarity] = gradients(learner, slice(rank * clips, (rank + 1) * clips), chunk_segments=4)
    norm = torch.nn.BatchNorm1d(1)
    norm.running_mean.fill_(rank)
    average_gradients(norm)
    found["running_mean"] = norm.running_mean
    found["gathered"] = gather_rows(torch.full((2, 1), float(rank)))
    found["largest"] = agree_on_largest(1.0 + rank, 5.0 - rank)
    torch.save(found, out / f"{rank}.pt")
    leave_processes()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
