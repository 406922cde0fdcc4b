"""Writing a task in HEAR's layout: metadata, vocabulary, labels and audio of each split."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile as sf

from eval_tasks.files import replacing_folder
from eval_tasks.mini.tools import SAMPLE_RATE, Audio

SPLITS = ("train", "valid", "test")
OPUS_COMPRESSION = 0.91  # of libsndfile, 0 to 1: 4 kB a second; Vorbis spends that on a file's headers


@dataclass(frozen=True)
class MiniClip:
    """One audio file with its labels.

    Attributes:
        split: train, valid or test.
        name: file name without folder and extension.
        audio: mono at 16 kHz, in [-1, 1].
        labels: what HEAR's ``<split>.json`` holds for the file: a list of class names, or of
            ``{"label", "start", "end"}`` with times in ms.
        sources: what it was made of (speaker, instrument, samples); no source is in two splits.
    """

    split: str
    name: str
    audio: Audio
    labels: list[Any]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class MiniTask:
    """What ``task_metadata.json`` says, the vocabulary in the order of class indices, and the clips.

    ``param_grid`` replaces values of heareval's grid: its batch of 1024 is a whole mini task, which would
    make every epoch a single step.
    """

    name: str
    embedding_type: str
    prediction_type: str
    duration_s: float
    evaluation: tuple[str, ...]
    vocabulary: Sequence[str]
    clips: Iterable[MiniClip]
    param_grid: dict[str, list[Any]] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        return {
            "task_name": self.name,
            "version": "v1",
            "embedding_type": self.embedding_type,
            "prediction_type": self.prediction_type,
            "split_mode": "trainvaltest",
            "sample_duration": self.duration_s,
            "evaluation": list(self.evaluation),
            "splits": list(SPLITS),
            "mode": "small",
            "evaluation_params": {"task_specific_param_grid": self.param_grid},
        }


def write_task(task: MiniTask, out: Path) -> Path:
    """Write ``out/<name>-v1-small``, with a ``manifest.csv`` that names each file's sources.

    Raises:
        FileExistsError: the task is there already.
    """
    done = out / f"{task.name}-v1-small"
    if done.exists():
        raise FileExistsError(f"{done} is there already: give another folder, or remove it first")
    with replacing_folder(done) as folder:
        write_files(task, folder)
    return done


def write_files(task: MiniTask, folder: Path) -> None:
    (folder / "task_metadata.json").write_text(json.dumps(task.metadata(), indent=1) + "\n")
    with (folder / "labelvocabulary.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("idx", "label"), *enumerate(task.vocabulary)])
    labels: dict[str, dict[str, list[Any]]] = {split: {} for split in SPLITS}
    manifest = []
    for clip in task.clips:
        path = folder / str(SAMPLE_RATE) / clip.split / f"{clip.name}.ogg"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, clip.audio, SAMPLE_RATE, subtype="OPUS", compression_level=OPUS_COMPRESSION)
        labels[clip.split][path.name] = clip.labels
        manifest += [(clip.split, path.name, source) for source in clip.sources]
    for split, entries in labels.items():
        (folder / f"{split}.json").write_text(json.dumps(entries) + "\n")
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("split", "file", "source"), *manifest])
