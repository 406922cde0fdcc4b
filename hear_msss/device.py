"""Which device computes, and what suits it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Windows through the encoder at once. A window takes about 1.5 MB of activations in float32: few keep a
# CPU's caches warm and its memory small; a GPU needs many to be busy (docs/speed.md).
CHUNK_SIZES = {"cpu": 32, "mps": 64, "cuda": 1024}
# Frames of which the full power spectrum is held at once, over all clips: 8 kB each.
BLOCK_FRAMES = {"cpu": 4096, "mps": 4096, "cuda": 32768}
PRECISIONS = {
    "float32": torch.float32,
    "tf32": torch.float32,  # on CUDA, products of the convolutions are rounded, see hear_msss.tf32
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def chunk_size(chosen: int | None, device: torch.device) -> int:
    """The chosen number of windows, or the one that suits the device."""
    return chosen or CHUNK_SIZES.get(device.type, CHUNK_SIZES["cuda"])


def block_frames(device: torch.device) -> int:
    """Frames of the power spectrum that suit the device."""
    return BLOCK_FRAMES.get(device.type, BLOCK_FRAMES["cpu"])


def find_device(name: str = "", backend: str = "torch") -> torch.device:
    """The device that is named; without a name the first CUDA GPU, else Apple's GPU, else the CPU.

    Raises:
        ValueError: no such device here, or one that the backend does not compute on.
    """
    if backend == "onnxruntime":
        if name not in ("", "cpu"):
            raise ValueError(f"device {name!r}: backend onnxruntime computes on the CPU, torch on GPUs")
        return torch.device("cpu")
    if not name:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device {name!r}: expected cpu, cuda, cuda:1 and so on, or mps") from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            build = "" if torch.version.cuda else ", a build for the CPU alone,"
            seen = f"cuda:0 to cuda:{count - 1}" if count else "no CUDA GPU"
            raise ValueError(f"device {name!r}: torch {torch.__version__}{build} sees {seen} here")
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device {name!r}: torch {torch.__version__} sees no GPU of Apple's here")
    return device


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """``torch.set_default_dtype`` for what runs inside."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
