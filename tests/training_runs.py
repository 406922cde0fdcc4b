"""Small training runs: settings, a corpus in memory, and the command line as a process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from pretrain.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("batch_size=2", "log_every=5", "validation_batch_size=2")


class Noise:
    """A corpus in memory; ``at_step`` is called when batch k is asked for."""

    location = "noise"

    def __init__(self, at_step=lambda step: None):
        self.at_step = at_step

    def batches(self, *, batch_size, segment_samples, seed, first_step=0, rank=0, world_size=1):
        step = first_step
        while True:
            self.at_step(step)
            random = np.random.default_rng((seed, step, rank))
            pair = random.integers(-9000, 9000, (2, batch_size, segment_samples), dtype=np.int16)
            yield torch.from_numpy(pair[0]), torch.from_numpy(pair[1])
            step += 1

    def validation(self, *, batch_size, segment_samples, seed):
        yield next(self.batches(batch_size=3, segment_samples=segment_samples, seed=99))

    def steps_per_epoch(self, global_batch_size):
        return 2

    def summary(self):
        return {"clips": "endless"}


def sets(*assignments: str) -> list[str]:
    return [word for assignment in assignments for word in ("--set", assignment)]


def settings(**values) -> Settings:
    return Settings(**{"steps": 4, "batch_size": 2, "validate_every": 0, **values})


def same(a, b) -> bool:
    """Whether two states are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def start(arguments: list[str], processes: int = 0) -> subprocess.Popen:
    """``python -m pretrain``, or the same under torchrun."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    launcher = []
    if processes:
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, "pretrain", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
