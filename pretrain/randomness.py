"""Seeds: all that is random in a step is a function of (seed, step, rank), so a resume needs no state."""

from __future__ import annotations

import numpy as np


def step_seed(seed: int, step: int, rank: int) -> int:
    """A seed in ``[0, 2**63)`` for one step of one process."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0] >> 1)
