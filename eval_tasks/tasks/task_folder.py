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
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from eval_tasks.errors import UserError
from eval_tasks.files import read_json, refuse_pipe, unsafe_name, write_json, write_text
from hear_msss.audio import HIGHEST_HZ, LOWEST_HZ

METADATA_FILE = "task_metadata.json"
VOCABULARY_FILE = "labelvocabulary.csv"
LARGEST = 1e12  # of times and durations, in seconds or ms
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
            UserError: no task folder, or metadata that is not JSON, lacks a key, holds a value of another
                kind, or names a split that would lie outside the folder.
        """
        path = Path(path)
        file = path / METADATA_FILE
        if not file.is_file():
            raise UserError(f"{path} is no task folder: expected {METADATA_FILE} in it")
        metadata = read_json(file)
        missing = [key for key in REQUIRED_METADATA if key not in metadata]
        if missing:
            raise UserError(f"{file} lacks {missing}: expected what hear-preprocess writes")
        if problem := wrong_metadata(metadata):
            raise UserError(f"{file}: {problem}")
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
        refuse_pipe(file)
        try:
            with file.open(newline="", encoding="utf-8") as stream:
                rows = list(csv.DictReader(stream))
            by_index = {int(row["idx"]): row["label"] for row in rows}
        except FileNotFoundError:
            raise UserError(f"{file} is missing: make or download the task again") from None
        except (csv.Error, KeyError, TypeError, ValueError):
            raise UserError(f"{file}: expected the columns idx and label, idx a whole number") from None
        if not rows or sorted(by_index) != list(range(len(rows))) or None in by_index.values():
            raise UserError(f"{file}: expected the indices 0 to {len(rows) - 1}, each once, with labels")
        return [by_index[index] for index in range(len(rows))]

    def split(self, split: str) -> dict[str, list[Any]]:
        """File name -> list of labels (``str``), or of events ``{"label", "start", "end"}`` in ms.

        Raises:
            UserError: no such file, not a JSON object of lists of labels or events, or a clip whose name
                would lie outside the folder.
        """
        file = self.path / f"{split}.json"
        content = read_json(file)
        problems = [f"clip {problem}" for name in content if (problem := unsafe_name(name))]
        for name, entries in content.items():
            if problem := wrong_entries(entries, self.is_event):
                problems.append(f"clip {name!r}: {problem}")
        if problems:
            more = [f"and {len(problems) - 20} more"] if len(problems) > 20 else []
            raise UserError(f"{file}: " + "\n  ".join([*problems[:20], *more]))
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
        names = [child.name for child in self.path.iterdir() if child.is_dir()]
        rates = [int(name) for name in names if re.fullmatch("[1-9][0-9]*", name)]
        return sorted(rate for rate in rates if LOWEST_HZ <= rate <= HIGHEST_HZ)

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


def wrong_metadata(metadata: Mapping[str, Any]) -> str:
    """What is wrong with the kinds of values, or with the names of splits; '' if nothing."""
    for key in ("task_name", "version", "mode", "embedding_type", "prediction_type", "split_mode"):
        if not isinstance(metadata[key], str):
            return f"{key} is {metadata[key]!r}, expected a text"
    for key in ("splits", "evaluation"):
        value = metadata[key]
        if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
            return f"{key} is {value!r}, expected a list of names"
        if len(set(value)) != len(value):
            return f"{key} is {value!r}, expected each name once"
    for split in metadata["splits"]:
        if problem := unsafe_name(split):
            return f"split {problem}"
    duration = metadata["sample_duration"]
    if duration is not None and not is_number(duration, above=0):
        return f"sample_duration is {duration!r}, expected seconds above 0, or null"
    return ""


def wrong_entries(entries: Any, is_event: bool) -> str:
    """What is wrong with a clip's labels or events, if anything; times are left to ``check``."""
    if not isinstance(entries, list):
        return f"expected a list of labels or events, found {entries!r}"
    if not is_event:
        wrong = [label for label in entries if isinstance(label, bool) or not isinstance(label, str | int)]
        return f"label {wrong[0]!r}: expected a text" if wrong else ""
    for event in entries:
        if not isinstance(event, dict) or not {"label", "start", "end"} <= set(event):
            return f"event {event!r}: expected label, start and end"
        if isinstance(event["label"], bool) or not isinstance(event["label"], str | int):
            return f"event {event!r}: expected a text as label"
        if not is_number(event["start"]) or not is_number(event["end"]):
            return f"event {event!r}: expected start and end in ms"
    return ""


def is_number(value: Any, above: float = -math.inf) -> bool:
    """True for a number of sensible size, which JSON's NaN, Infinity, true and 1e999 are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return above < value and abs(value) < LARGEST


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
