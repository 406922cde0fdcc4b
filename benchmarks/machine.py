"""The machine under the numbers: its name, its matmul peak, and what an encoder window costs."""

from __future__ import annotations

import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from hear_msss.weights import untrained_encoder

MATMUL_SIZE = 2048


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def matmul_gflops(rounds: int = 5) -> float:
    """Median float32 matrix product of torch on its present number of threads, in GFLOP/s."""
    a = torch.randn(MATMUL_SIZE, MATMUL_SIZE)
    torch.mm(a, a)
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        torch.mm(a, a)
        times.append(time.perf_counter() - begin)
    return 2 * MATMUL_SIZE**3 / statistics.median(times) / 1e9


def window_gflop() -> float:
    """Floating-point operations of the encoder for one window of 960 ms."""
    encoder = untrained_encoder()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(torch.zeros(1, encoder.config.n_mels, encoder.config.segment_frames))
    return counter.get_total_flops() / 1e9


def describe(threads: list[int]) -> dict[str, Any]:
    peak = {}
    before = torch.get_num_threads()
    for count in threads:
        torch.set_num_threads(count)
        peak[count] = matmul_gflops()
    torch.set_num_threads(before)
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "cpu": cpu_name(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "matmul_gflops": peak,
        "window_gflop": window_gflop(),
    }
