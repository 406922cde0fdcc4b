"""What is wrong with a task folder's small files: metadata, vocabulary, labels."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas

from eval_tasks.errors import UserError
from eval_tasks.tasks.task_folder import METADATA_FILE, VOCABULARY_FILE, TaskFolder

# What heareval 2021.1.3 knows.
EMBEDDING_TYPES = ("scene", "event")
PREDICTION_TYPES = ("multiclass", "multilabel")
SPLIT_MODES = ("trainvaltest", "presplit_kfold", "new_split_kfold")
SCORES = (
    "top1_acc",
    "pitch_acc",
    "chroma_acc",
    "mAP",
    "d_prime",
    "aucroc",
    "event_onset_200ms_fms",
    "event_onset_50ms_fms",
    "event_onset_offset_50ms_20perc_fms",
    "segment_1s_er",
)


@dataclass(frozen=True)
class Problem:
    """Something that would break a run or make its scores wrong."""

    path: Path
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def check_metadata(task: TaskFolder) -> Iterator[Problem]:
    file = task.path / METADATA_FILE
    metadata = task.metadata
    for key, known in (
        ("embedding_type", EMBEDDING_TYPES),
        ("prediction_type", PREDICTION_TYPES),
        ("split_mode", SPLIT_MODES),
    ):
        if metadata[key] not in known:
            yield Problem(file, f"{key} is {metadata[key]!r}, expected one of {', '.join(known)}")
    if not task.evaluation or not set(task.evaluation) <= set(SCORES):
        yield Problem(file, f"evaluation is {task.evaluation}, expected some of {', '.join(SCORES)}")
    if task.is_event and not task.is_multilabel:
        yield Problem(file, "event tasks are predicted as multilabel only")
    if task.is_folds:
        expected = [f"fold{number:02d}" for number in range(len(task.splits))]
        if sorted(task.splits) != expected or len(expected) < 3:
            yield Problem(file, f"splits are {task.splits}, expected fold00, fold01, ..., three at least")
        if metadata.get("nfolds") != len(task.splits):
            yield Problem(file, f"nfolds is {metadata.get('nfolds')}, there are {len(task.splits)} splits")
    elif sorted(task.splits) != ["test", "train", "valid"]:
        yield Problem(file, f"splits are {task.splits}, expected train, valid and test")


def check_vocabulary(task: TaskFolder) -> Iterator[Problem]:
    file = task.path / VOCABULARY_FILE
    try:
        vocabulary = task.vocabulary
    except UserError as error:
        yield Problem(file, str(error).removeprefix(f"{file}: "))
        return
    unprintable = [label for label in vocabulary if not label.isprintable()]
    if unprintable:
        yield Problem(file, f"label {unprintable[0]!r} holds control characters: rename it")
        return
    for label, count in Counter(vocabulary).items():
        if count > 1:
            yield Problem(file, f"label {label!r} is there {count} times")
    for label, seen in zip(vocabulary, labels_as_the_runner_reads(vocabulary), strict=True):
        if label != seen:
            yield Problem(file, f"the runner would read label {label!r} as {seen!r}: rename it")
    if "chroma_acc" in task.evaluation:
        numeric = [int(label) if label.isdecimal() else None for label in vocabulary]
        first = numeric[0] if numeric else None
        if first is None or numeric != list(range(first, first + len(numeric))):
            yield Problem(file, "chroma accuracy needs MIDI pitches without a gap, in ascending order")


def labels_as_the_runner_reads(labels: list[str]) -> list[str]:
    """heareval reads the vocabulary with pandas, which takes 01 for 1, and NA for no label at all."""
    text = io.StringIO()
    csv.writer(text).writerows([("label",), *((label,) for label in labels)])
    text.seek(0)
    return [str(label) for label in pandas.read_csv(text, skip_blank_lines=False)["label"].tolist()]


def check_labels(
    task: TaskFolder, split: str, content: dict[str, list[Any]], vocabulary: set[str]
) -> Iterator[Problem]:
    file = task.path / f"{split}.json"
    if not content:
        yield Problem(file, "no clips")
    for names in same_but_for_case(content):
        yield Problem(
            file, f"clips {', '.join(names)} differ by case only: macOS and Windows keep one of them"
        )
    for name, entries in content.items():
        if task.is_event:
            labels = []
            for event in entries:
                message = wrong_event(event, task.sample_duration_s)
                if message:
                    yield Problem(file, f"clip {name!r}: {message}")
                else:
                    labels.append(str(event["label"]))
        else:
            labels = entries
            if not task.is_multilabel and len(labels) != 1:
                yield Problem(file, f"clip {name!r} has {len(labels)} labels, expected one (multiclass)")
        for label in sorted(set(labels) - vocabulary):
            yield Problem(file, f"clip {name!r}: label {label!r} is not in {VOCABULARY_FILE}")


def same_but_for_case(names: Iterable[str]) -> list[list[str]]:
    """Names that some file systems take for one: they differ by case or by Unicode form only."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(unicodedata.normalize("NFC", name).casefold(), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def wrong_event(event: Any, duration_s: float | None) -> str | None:
    """What is wrong with the times of an event of a split file, if anything."""
    start, end = event["start"], event["end"]
    if not 0 <= start <= end:
        return f"event {event!r}: expected 0 <= start <= end, in ms"
    if duration_s is not None and end > duration_s * 1000 + 1:
        return f"event {event!r} ends after the clip, which has {duration_s * 1000:g} ms"
    return None
