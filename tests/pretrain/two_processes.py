"""For test_distributed.py: each process takes its clips and leaves what it computed."""

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from pretrain.augmentation import Augmentation
from pretrain.chunked import Chunks, backward_in_chunks
from pretrain.config_layers import layered, read_config, shipped_configs
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
from pretrain.optimization import make_optimizer
from pretrain.run_state import RunState
from pretrain.step import take_step

CLIPS = 8
WHOLE_ENCODER = "cross_view"  # its losses take negatives of every kind from all processes
CONFIGS = [name for name, folder in shipped_configs().items() if folder != "corpus"]
BEYOND = {"both directions": {"clip_both_directions": True}, "x-hat": {"clip_x_hat": True}}


class SmallEncoder(nn.Module):
    """A stand-in for the encoder with the shapes of its input and output, in microseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 512)

    def forward(self, log_mel: Tensor) -> Tensor:
        return torch.tanh(self.linear(log_mel.unflatten(2, (3, 32)).mean(3).transpose(1, 2)))


def make_learner(seed: int, config: str) -> Learner:
    """In float64 and with batch norm in eval mode, so that rows do not depend on each other."""
    layers = [read_config("cpu"), BEYOND[config] if config in BEYOND else read_config(config)]
    settings = layered([*layers, {"drop_connect_rate": 0, "precision": "float32"}])
    torch.manual_seed(seed)
    with ExitStack() as small:
        if config != WHOLE_ENCODER:
            small.enter_context(patch("pretrain.learner.Encoder", lambda *_: SmallEncoder()))
            small.enter_context(patch("pretrain.learner.use_fast_gradients"))
        learner = Learner(settings).double().eval()
    for name, buffer in learner.named_buffers():
        if name.endswith("running_var"):
            buffer.fill_(0.05)
    return learner


def make_batch() -> tuple[Tensor, Tensor]:
    """Log-mels ``(3, clips, 64, 96)`` of x, x' and x-hat, and ratios."""
    generator = torch.Generator().manual_seed(3)
    log_mel = torch.randn(3, CLIPS, 64, 96, generator=generator, dtype=torch.float64) * 4 - 4
    return log_mel, torch.linspace(0.8, 1.2, CLIPS, dtype=torch.float64)


def make_spectrum() -> Tensor:
    """Spectrum targets ``(2, clips, 3, 256)`` of x and x'."""
    generator = torch.Generator().manual_seed(4)
    return torch.randn(2, CLIPS, 3, 256, generator=generator, dtype=torch.float64)


def clips_of(rank: int, processes: int, parts: int) -> Tensor:
    """A process's clips. Part k of each of them together are part k of the whole batch."""
    return torch.arange(CLIPS).view(parts, processes, -1)[:, rank].flatten()


def gradients(learner: Learner, clips: Tensor, chunks: Chunks) -> dict[str, Tensor]:
    """Of the loss of these clips, averaged over the processes, and the loss itself."""
    settings = learner.loss.settings
    log_mel, ratio = make_batch()
    mine = log_mel[: settings.view_count, clips].flatten(0, 1)
    x_hat = Augmentation(ratio=ratio[clips]) if settings.needs_x_hat else None
    spectrum = make_spectrum()[:, clips].flatten(0, 1) if settings.delta else None
    metrics = backward_in_chunks(
        learner, mine, lambda h: learner.losses(h, x_hat, spectrum, parts=settings.accumulate), chunks
    )
    average_gradients(learner)
    return {name: p.grad for name, p in learner.named_parameters() if p.grad is not None} | {
        "loss": metrics["loss"]
    }


def fresh_state() -> RunState:
    """A run with the small encoder, in float64, the same on all processes."""
    settings = layered([read_config("cpu"), {"steps": 3, "batch_size": CLIPS, "chunk_segments": 0}])
    state = RunState.fresh(settings, torch.device("cpu"))
    torch.manual_seed(1)
    state.learner.encoder = SmallEncoder()
    state.learner.double()
    return replace(state, optimizer=make_optimizer(state.learner, settings))


def one_step(rank: int, processes: int) -> dict[str, Any]:
    """Of training: what was embedded, the ratios of x-hat, and the parameters afterwards."""
    state, seen = fresh_state(), {}
    state.views.double().register_forward_hook(
        lambda module, args, log_mel: seen.update(log_mel=log_mel, ratio=args[2].x_hat.ratio)
    )
    generator = torch.Generator().manual_seed(rank)
    shape = (2, CLIPS // processes, state.settings.model.segment_samples)
    anchor, positive = torch.randint(-9000, 9000, shape, generator=generator, dtype=torch.int16)
    take_step(state, (anchor, positive), 0.01)
    return seen | {"parameters": dict(state.learner.named_parameters())}


def run_as(rank: int, processes: int, port: int, out: Path) -> None:
    """As one of several processes that torchrun has started."""
    group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in group.items()} | {"MASTER_ADDR": "127.0.0.1"}
    torch.set_num_threads(1)
    join_processes("cpu")
    rank = process_rank()
    found = {}
    for config in [*CONFIGS, *BEYOND]:
        learner = make_learner(rank, config)  # other weights on each process, until the copy
        copy_from_first(learner)
        clips = clips_of(rank, process_count(), learner.loss.settings.accumulate)
        found[config] = gradients(learner, clips, Chunks(4))
    found["step"] = one_step(rank, process_count())
    norm = torch.nn.BatchNorm1d(1)
    norm.running_mean.fill_(rank)
    average_gradients(norm)
    found["running_mean"] = norm.running_mean
    found["gathered"] = gather_rows(torch.full((2, 1), float(rank)))
    found["largest"] = agree_on_largest(1.0 + rank, 5.0 - rank)
    torch.save(found, out / f"{rank}.pt")
    leave_processes()
