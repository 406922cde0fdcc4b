"""Rates on any device: warm up, wait for the device before and after, repeat."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch

AT_LEAST_S = 0.02  # a shorter run is repeated within one measurement
ONE_ROUND_S = 0.5  # a longer run is measured once
WARM_UPS = 2


def now(device: torch.device) -> float:
    """Seconds, after all work that the device was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def rates(run: Callable[[], object], items: float, device: torch.device, rounds: int) -> list[float]:
    """Items per second of each round.

    Args:
        run: what is measured.
        items: number of them in one run.
        device: that ``run`` computes on.
        rounds: measurements, after two runs that are not counted. A long run is measured once, by the second.
    """
    for _ in range(WARM_UPS):
        begin = now(device)
        run()
        once_s = now(device) - begin
    if once_s > ONE_ROUND_S:
        return [items / once_s]
    repeats = max(1, math.ceil(AT_LEAST_S / once_s))
    measured = []
    for _ in range(rounds):
        begin = now(device)
        for _ in range(repeats):
            run()
        measured.append(repeats * items / (now(device) - begin))
    return measured


def summary(name: str, measured: list[float]) -> dict[str, float]:
    """The fields of a row that hold a rate: median, lowest and highest."""
    return {name: statistics.median(measured), "lowest": min(measured), "highest": max(measured)}
