"""Several processes as one: started by torchrun, or a single process without it.

Every process takes its own rows of the global batch. The gradients are averaged once, after the
whole (chunked) backward pass: what DDP computes, without its hooks, which would fire once a chunk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def process_rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def process_count() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def join_processes(device: str = "auto") -> torch.device:
    """Join the group that torchrun started, if any; say which device this process computes on.

    Args:
        device: ``auto`` (this process's own GPU, else the CPU), ``cpu`` or ``cuda``.

    Raises:
        ValueError: cuda is asked for and there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device={device!r}: expected auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda, but torch sees no GPU: check the driver, or set device=cpu")
    use_gpu = device != "cpu" and torch.cuda.is_available()
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if use_gpu:
        torch.cuda.set_device(local_rank)
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():
        # gloo as well as nccl: the few numbers that processes agree on each step stay on the CPU.
        dist.init_process_group("cpu:gloo,cuda:nccl" if use_gpu else "gloo")
    return torch.device("cuda", local_rank) if use_gpu else torch.device("cpu")


def leave_processes() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def wait_for_all() -> None:
    """Return when every process has come here."""
    if process_count() > 1:
        dist.barrier()


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        gathered = [torch.empty_like(rows) for _ in range(process_count())]
        dist.all_gather(gathered, rows.contiguous())
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Every process's loss depends on these rows: their gradients add up, then each takes its own.
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(process_count())[process_rank()]


def gather_rows(rows: Tensor) -> Tensor:
    """Rows of all processes in order of rank, ``(rows, d)`` to ``(processes * rows, d)``, with gradient.

    The gradient that comes back is that of the sum of all processes' losses; all processes must hold
    the same number of rows.
    """
    return _GatherRows.apply(rows) if process_count() > 1 else rows


def average_over_processes(tensors: Sequence[Tensor]) -> None:
    """Replace floating-point tensors by their mean over the processes, in place, in one transfer."""
    if process_count() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= process_count()
    means = flat.split([tensor.numel() for tensor in tensors])
    for tensor, mean in zip(tensors, means, strict=True):
        tensor.copy_(mean.view_as(tensor))


def average_gradients(model: nn.Module) -> None:
    """Gradients, and with them the batch-norm running statistics, become their mean over processes.

    With SyncBatchNorm (GPU) the statistics are equal already. PyTorch has none for the CPU: there
    batch norm sees the rows of its process only, and the running statistics are kept together here.
    """
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    statistics = [buffer for norm in norms for buffer in norm.buffers() if buffer.is_floating_point()]
    average_over_processes(gradients + statistics)


def copy_from_first(model: nn.Module) -> None:
    """Give every process the parameters and buffers of rank 0."""
    if process_count() > 1:
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)


def agree_on_largest(*values: float) -> list[float]:
    """The largest of each value over the processes, so that all of them decide alike."""
    if process_count() == 1:
        return list(values)
    shared = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(shared, op=dist.ReduceOp.MAX)
    return shared.tolist()
