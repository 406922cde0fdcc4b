"""A task folder of three short clips, to be spoilt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from eval_tasks.tasks.task_folder import write_description

RATE = 16000
METADATA: dict[str, Any] = {
    "task_name": "beeps",
    "version": "v1",
    "mode": "full",
    "embedding_type": "scene",
    "prediction_type": "multiclass",
    "split_mode": "trainvaltest",
    "sample_duration": 0.1,
    "evaluation": ["top1_acc"],
    "splits": ["train", "valid", "test"],
}


def make_beeps(folder: Path) -> Path:
    """The task folder ``tasks/beeps-v1-full``, and the sound file ``mine.wav`` next to ``tasks``."""
    task = folder / "tasks/beeps-v1-full"
    content = {split: {f"{split}.wav": ["a"]} for split in METADATA["splits"]}
    write_description(task, METADATA, content, ["a"])
    sound = 0.1 * np.random.default_rng(0).standard_normal(RATE // 10)
    for split in METADATA["splits"]:
        (task / str(RATE) / split).mkdir(parents=True)
        soundfile.write(task / str(RATE) / split / f"{split}.wav", sound, RATE)
    soundfile.write(folder / "mine.wav", sound, RATE)
    return task
