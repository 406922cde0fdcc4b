"""The state of a run on disk: a kill at any moment leaves the last whole one."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from pretrain.files import open_replacing

CHECKPOINT = "checkpoint.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the run's checkpoint. ``state`` holds tensors and plain values only.

    Raises:
        OSError: the disk does not take it; the checkpoint before stays.
    """
    path = folder / CHECKPOINT
    with open_replacing(path, "wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # of torch's writer, which hides what the disk said
            if isinstance(error.__context__, OSError):
                refused = error.__context__
                raise OSError(refused.errno, refused.strerror, str(path)) from None
            raise


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """The run's checkpoint, on the CPU; nothing is unpickled but tensors and plain values.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is cut short, or no checkpoint.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give the folder of a run that wrote a checkpoint")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}): the file is cut short or of another kind"
        ) from error
    if not isinstance(state, dict) or not {"step", "learner", "average"} <= state.keys():
        raise ValueError(f"{path} is no checkpoint of a training run")
    return state
