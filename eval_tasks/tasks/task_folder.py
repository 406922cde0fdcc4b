"""The HEAR task folder: the one description of it that everything here uses.

::

    <task>-<version>-<mode>/
        task_metadata.json      task_name, version, mode, embedding_type, splits, ...
        labelvocabulary.csv     idx,label
        <split>.json            file name -> labels, or events with start and end in ms
        <sample rate>/<split>/  the audio, under the names in the json

Source: the folders that hear-preprocess publishes, as heareval reads them. A folder of a sample rate
that exists is complete: it is made under another name and renamed once the last clip is in it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from eval_tasks.errors import UserError
from eval_tasks.files import write_json, write_text

METADATA_FILE = "task_metadata.json"
VOCABULARY_FILE = "labelvocabulary.csv"
UNFINISHED = ".partial"  # ends the names of folders that are being made
REQUIRED_METADATA = (
    "task_name",
    "version",
    "mode",
    "embedding_type",
    "prediction_type",
    "split_mode",
    "sample_duration",
    "evaluation",
    "splits",
)


@dataclass(frozen=True)
class TaskFolder:
    """A task folder on disk; files are read when asked for.

    Attributes:
        path: the folder.
        metadata: task_metadata.json as it is.
    """

    path: Path
    metadata: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> TaskFolder:
        """
        Raises:
            UserError: no task folder, or metadata that is not JSON or lacks a key.
        """
        path = Path(path)
        file = path / METADATA_FILE
        try:
            metadata = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path} is no task folder: expected {METADATA_FILE} in it") from None
        except ValueError as error:
            raise UserError(f"{file} is not JSON ({error}): make or download the task again") from None
        missing = [key for key in REQUIRED_METADATA if key not in metadata]
        if missing:
            raise UserError(f"{file} lacks {missing}: expected what hear-preprocess writes")
        return cls(path, metadata)

    @property
    def name(self) -> str:
        """The folder's name, by which the runners call the task."""
        return self.path.resolve().name

    @property
    def task_name(self) -> str:
        return str(self.metadata["task_name"])

    @property
    def is_event(self) -> bool:
        """True: labels have a start and an end, and timestamp embeddings are judged."""
        return bool(self.metadata["embedding_type"] == "event")

    @property
    def is_multilabel(self) -> bool:
        return bool(self.metadata["prediction_type"] == "multilabel")

    @property
    def is_folds(self) -> bool:
        """True: cross-validation over ``splits``; else these are train, valid and test."""
        return bool(self.metadata["split_mode"] != "trainvaltest")

    @property
    def splits(self) -> list[str]:
        return list(self.metadata["splits"])

    @property
    def evaluation(self) -> list[str]:
        """Names of the scores, the main one first."""
        return list(self.metadata["evaluation"])

    @property
    def sample_duration_s(self) -> float | None:
        """Length of every clip in seconds; None where lengths vary."""
        duration = self.metadata["sample_duration"]
        return None if duration is None else float(duration)

    @cached_property
    def vocabulary(self) -> list[str]:
        """Labels in the order of their index.

        Raises:
            UserError: no such file, or indices that are not 0, 1, 2, ...
        """
        file = self.path / VOCABULARY_FILE
        try:
            with file.open(newline="", encoding="utf-8") as stream:
                rows = list(csv.DictReader(stream))
            by_index = {int(row["idx"]): row["label"] for row in rows}
        except FileNotFoundError:
            raise UserError(f"{file} is missing: make or download the task again") from None
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{file}: expected the columns idx and label, idx a whole number") from None
        if sorted(by_index) != list(range(len(rows))):
            raise UserError(f"{file}: expected the indices 0 to {len(rows) - 1}, each once")
        return [by_index[index] for index in range(len(rows))]

    def split(self, split: str) -> dict[str, list[Any]]:
        """File name -> list of labels (``str``), or of events ``{"label", "start", "end"}`` in ms.

        Raises:
            UserError: no such file, or not a JSON object of lists.
        """
        file = self.path / f"{split}.json"
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{file} is missing: make or download the task again") from None
        except ValueError as error:
            raise UserError(f"{file} is not JSON ({error}): make or download the task again") from None
        if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
            raise UserError(f"{file}: expected an object of file names, each with a list")
        if self.is_event:
            return content
        return {name: [str(label) for label in labels] for name, labels in content.items()}

    def labels(self, split: str) -> dict[str, list[str]]:
        """File name -> labels, without times for events."""
        content = self.split(split)
        if not self.is_event:
            return content
        return {name: [str(event["label"]) for event in events] for name, events in content.items()}

    @property
    def sample_rates(self) -> list[int]:
        """Sample rates in Hz that are here, ascending."""
        return sorted(int(child.name) for child in self.path.iterdir() if child.name.isdecimal())

    def audio_path(self, sample_rate: int, split: str, file_name: str) -> Path:
        return self.path / str(sample_rate) / split / file_name

    def missing_audio(self, sample_rate: int) -> list[Path]:
        """Clips that the split files name and that are not there at this rate."""
        return [
            path
            for split in self.splits
            for path in (self.audio_path(sample_rate, split, name) for name in self.split(split))
            if not path.is_file()
        ]


def task_paths(paths: Iterable[str | Path]) -> list[Path]:
    """Task folders among ``paths``; a folder that is none stands for the task folders in it.

    Returns:
        in order of the paths, then of the names; each folder once.

    Raises:
        UserError: a path that is no task folder and holds none.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if (path / METADATA_FILE).is_file():
            inside = [path]
        else:
            inside = sorted(file.parent for file in path.glob(f"*/{METADATA_FILE}"))
            inside = [f for f in inside if not f.name.startswith(".") and f.suffix != UNFINISHED]
        if not path.exists():
            raise UserError(f"{path} does not exist: expected a task folder or a folder of them")
        if not inside:
            raise UserError(f"{path}: expected a task folder (with {METADATA_FILE}) or a folder of them")
        for folder in inside:
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def find_tasks(paths: Iterable[str | Path]) -> list[TaskFolder]:
    """``task_paths``, opened; raises what these and ``TaskFolder.open`` raise."""
    return [TaskFolder.open(path) for path in task_paths(paths)]


def write_description(
    path: Path,
    metadata: Mapping[str, Any],
    splits: Mapping[str, Mapping[str, Sequence[Any]]],
    vocabulary: Sequence[str],
) -> TaskFolder:
    """Write the three kinds of small files of a task folder (no audio), and open it.

    Args:
        path: the folder, made where it is not there.
        metadata: see ``REQUIRED_METADATA``.
        splits: split -> file name -> labels or events.
        vocabulary: labels in the order of their index.
    """
    path.mkdir(parents=True, exist_ok=True)
    rows = [("idx", "label"), *enumerate(vocabulary)]
    with (path / VOCABULARY_FILE).open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    for split, content in splits.items():
        write_json(path / f"{split}.json", content)
    write_text(path / METADATA_FILE, json.dumps(metadata, indent=1) + "\n")
    return TaskFolder.open(path)
