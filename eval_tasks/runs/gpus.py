"""Which GPU each process of a run sees."""

from __future__ import annotations

import os
from collections.abc import Sequence

from eval_tasks.errors import UserError
from eval_tasks.install.devices import Devices, trouble

HIDDEN = [""]  # of CUDA_VISIBLE_DEVICES: no GPU at all


def visible_devices(gpus: Sequence[str] | None, found: Devices) -> list[str] | None:
    """Values of ``CUDA_VISIBLE_DEVICES`` that tasks get in turn; None leaves the variable as it is.

    Args:
        gpus: numbers as torch counts them here, ``["all"]``, or ``["none"]`` to compute on the CPU. None
            takes the first GPU, where there is one.
        found: see :func:`eval_tasks.install.devices.devices`.

    Raises:
        UserError: a GPU that is not there, or GPUs that heareval cannot use as the environment is.
    """
    if gpus is not None and list(gpus) in (["none"], HIDDEN):
        return HIDDEN
    for what, remedy in trouble(found):
        raise UserError(f"{what}: {remedy}; or compute on the CPU, with --gpus none")
    if gpus is None:
        return None
    there = [str(number) for number in range(len(found["gpus"]))]
    wanted = there if list(gpus) == ["all"] else [gpu.strip() for gpu in gpus]
    absent = [gpu for gpu in wanted if gpu not in there]
    if absent or not wanted:
        have = f"GPUs {', '.join(there)} ({', '.join(found['gpus'])})" if there else "no CUDA GPU"
        raise UserError(
            f"--gpus {','.join(gpus)}: torch {found['torch']} sees {have} here; give some of these, or leave "
            "--gpus out"
        )
    # Where a scheduler has chosen, say 2 and 3, torch counts these as 0 and 1.
    chosen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return [chosen[int(gpu)] for gpu in wanted] if chosen else wanted
