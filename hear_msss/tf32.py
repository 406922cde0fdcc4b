"""Float32 that is float32 on CUDA GPUs, whatever torch's flags say.

Torch lets convolutions round float32 to TF32, 10 bits of mantissa, on NVIDIA GPUs since Ampere, and a program
may let matrix products do the same. Embeddings would then differ from the CPU's by far more than 1e-4.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

# Torch's flags belong to the process: of several threads only one at a time may change them and compute. What
# it holds the lock for is the start of the kernels, not their end.
_LOCK = threading.RLock()


@contextmanager
def products(convolutions_in_tf32: bool) -> Iterator[None]:
    """Convolutions in TF32 or in full float32, matrix products in full float32; then flags as before."""
    with _LOCK:
        restore = _set_flags(convolutions_in_tf32)
        try:
            yield
        finally:
            restore()


def _set_flags(convolutions_in_tf32: bool) -> Callable[[], None]:
    """Set the flags; returns what puts them back."""
    if not hasattr(torch.backends.cudnn, "conv"):  # before torch 2.9
        return _set([(torch.backends.cudnn, convolutions_in_tf32), (torch.backends.cuda.matmul, False)])
    wanted = [
        (torch.backends.cudnn.conv, "tf32" if convolutions_in_tf32 else "ieee"),
        (torch.backends.cuda.matmul, "ieee"),
    ]
    try:
        legacy = torch.get_float32_matmul_precision()
    except RuntimeError:  # flags of the old and of the new kind contradict each other: the new ones count
        legacy = "highest"
    if legacy == "highest":
        return _set(wanted, "fp32_precision")
    # torch.compile reads the old flag and raises if it contradicts the new one.
    of_cpu = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = [(of_cpu, of_cpu.fp32_precision), (torch.backends.cuda.matmul, _matmul())]
    torch.backends.cuda.matmul.allow_tf32 = False
    put_back = _set(wanted, "fp32_precision")

    def restore() -> None:
        put_back()
        torch.set_float32_matmul_precision(legacy)
        _set(before, "fp32_precision")

    return restore


def _matmul() -> str:
    value: str = torch.backends.cuda.matmul.fp32_precision
    return value


def _set(wanted: list[tuple[Any, Any]], name: str = "allow_tf32") -> Callable[[], None]:
    """Set a flag of each backend where it has another value; returns what puts those back."""
    before = []
    for backend, value in wanted:
        found = getattr(backend, name)
        if found != value and (found, value) != ("none", "ieee"):  # none: the full float32, too
            before.append((backend, found))
            setattr(backend, name, value)

    def restore() -> None:
        for backend, value in before:
            setattr(backend, name, value)

    return restore


def call(function: Callable[[Tensor], Tensor], given: Tensor, convolutions_in_tf32: bool) -> Tensor:
    """``function(given)``, on CUDA within :func:`products`.

    What ``torch.compile`` makes of it has no flags in it: the compiled graph runs with those of its caller.
    """
    if given.device.type != "cuda" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return function(given)
    with products(convolutions_in_tf32):
        return function(given)
