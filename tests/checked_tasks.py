"""A small task folder to spoil, and what `check` says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

from eval_tasks.tasks.check import check_tasks
from eval_tasks.tasks.task_folder import TaskFolder, write_description

RATE = 8000


def make_task(path: Path, event: bool = False, **changes) -> TaskFolder:
    metadata = {
        "task_name": "noise",
        "version": "v1",
        "mode": "full",
        "embedding_type": "event" if event else "scene",
        "prediction_type": "multilabel" if event else "multiclass",
        "split_mode": "trainvaltest",
        "sample_duration": 0.5,
        "evaluation": ["event_onset_200ms_fms"] if event else ["top1_acc"],
        "splits": ["train", "valid", "test"],
        **changes,
    }
    entry = [{"label": "b", "start": 10.0, "end": 200.0}] if event else ["a"]
    splits = {split: {f"{split}{i}.wav": entry for i in range(3)} for split in metadata["splits"]}
    task = write_description(path, metadata, splits, ["a", "b"])
    for number, split in enumerate(splits):
        for index, name in enumerate(splits[split]):
            write_clip(task, split, name, np.random.default_rng([number, index]).uniform(-0.5, 0.5, 4000))
    return task


def write_clip(
    task: TaskFolder, split: str, name: str, audio: np.ndarray, rate: int = RATE, **options
) -> None:
    path = task.audio_path(RATE, split, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, **options)


def rewrite(task: TaskFolder, file: str, change) -> None:
    path = task.path / file
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def messages(path: Path, **options) -> list[str]:
    return [str(problem) for problem in check_tasks([path], RATE, **options)]
