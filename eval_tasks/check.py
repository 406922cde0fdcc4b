"""Find what would break a run before hours are spent on it, file by file.

Task folders: files that are missing or not to be read, metadata that the runners do not know, labels
outside the vocabulary, events outside their clip, splits that share audio, two folders of one name (the
runners keep their results by folder name), clips that are missing, broken, or of the wrong rate, length
or number of channels; and, with --out, a disk that the embeddings would fill. Ends with status 1 if there
is anything.

  python -m eval_tasks check tasks/ --sample-rate 16000
  python -m eval_tasks check tasks/ --sample-rate 16000 --quick --out runs/ --embedding-size 2048
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas
import soundfile

from eval_tasks.errors import UserError
from eval_tasks.files import free_bytes
from eval_tasks.task_folder import METADATA_FILE, VOCABULARY_FILE, TaskFolder, task_paths

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
TIMESTAMP_HOP_MS = 50  # the widest that HEAR allows for all tasks
EMBEDDING_COPIES = 2  # the runner writes each embedding to a file of its own and to one file of all
DEFAULT_EMBEDDING_SIZE = 2048


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
    duration = metadata["sample_duration"]
    if duration is not None and not (isinstance(duration, int | float) and duration > 0):
        yield Problem(file, f"sample_duration is {duration!r}, expected seconds above 0, or null")
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
    for name, entries in content.items():
        if "/" in name or "\\" in name:
            yield Problem(file, f"clip {name!r}: expected a file name without a folder")
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


def wrong_event(event: Any, duration_s: float | None) -> str | None:
    """What is wrong with an event of a split file, if anything."""
    if not isinstance(event, dict) or not {"label", "start", "end"} <= set(event):
        return f"event {event!r}: expected label, start and end"
    start, end = event["start"], event["end"]
    if not all(isinstance(value, int | float) for value in (start, end)):
        return f"event {event!r}: expected start and end in ms"
    if not 0 <= start <= end:
        return f"event {event!r}: expected 0 <= start <= end, in ms"
    if duration_s is not None and end > duration_s * 1000 + 1:
        return f"event {event!r} ends after the clip, which has {duration_s * 1000:g} ms"
    return None


class ClipReport(NamedTuple):
    """What is found out about one clip.

    Attributes:
        frames: length, where the clip is sound.
        digest: of its samples, where these were wanted and are not all zero.
        message: what is wrong with it.
    """

    frames: int | None = None
    digest: bytes | None = None
    message: str | None = None


def check_clip(path: Path, sample_rate: int, decode: bool) -> ClipReport:
    """Look at the header of a clip, and at its samples if ``decode``."""
    if not path.is_file():
        return ClipReport(message="missing")
    digest = None
    try:
        info = soundfile.info(path)
        if info.samplerate != sample_rate:
            return ClipReport(message=f"has {info.samplerate} Hz in the folder of {sample_rate} Hz")
        if info.channels != 1:
            return ClipReport(message=f"has {info.channels} channels, expected mono")
        if info.frames == 0:
            return ClipReport(message="holds no samples")
        if decode:
            audio, _ = soundfile.read(path, dtype="float32")
            if len(audio) != info.frames:
                return ClipReport(message=f"breaks off: {len(audio)} of {info.frames} frames can be read")
            if not np.isfinite(audio).all():
                return ClipReport(message="holds samples that are not numbers")
            digest = hashlib.blake2b(audio.tobytes(), digest_size=16).digest() if audio.any() else None
    except soundfile.LibsndfileError as error:
        return ClipReport(message=f"cannot be read: {error.error_string}")
    return ClipReport(info.frames, digest)


def check_audio(
    task: TaskFolder, splits: dict[str, dict[str, list[Any]]], sample_rate: int, quick: bool, jobs: int
) -> Iterator[Problem]:
    if sample_rate not in task.sample_rates:
        yield Problem(
            task.path,
            f"no audio at {sample_rate} Hz, there is {task.sample_rates or 'none'}: "
            f"python -m eval_tasks resample {task.path} --sample-rate {sample_rate}",
        )
        return
    # In a hurry only clips of the same name are compared across splits.
    uses = Counter(name for split in splits for name in splits[split])
    clips = [(split, name) for split in splits for name in splits[split]]
    paths = [task.audio_path(sample_rate, *clip) for clip in clips]
    check = joblib.delayed(check_clip)
    # Threads: reading audio releases the interpreter's lock.
    reports = joblib.Parallel(n_jobs=jobs, prefer="threads")(
        check(path, sample_rate, not quick or uses[name] > 1)
        for path, (_, name) in zip(paths, clips, strict=True)
    )
    lengths = Counter(report.frames for report in reports if report.frames)
    usual = lengths.most_common(1)[0][0] if lengths else 0
    expected = None if task.sample_duration_s is None else task.sample_duration_s * sample_rate
    first_seen: dict[bytes, tuple[str, str]] = {}
    for path, (split, name), report in zip(paths, clips, reports, strict=True):
        frames = report.frames
        if report.message:
            yield Problem(path, report.message)
        elif expected is not None and frames and abs(frames - expected) > 1:
            yield Problem(path, f"has {frames} samples, expected {expected:g} ({task.sample_duration_s} s)")
        elif expected is not None and frames != usual:
            yield Problem(path, f"has {frames} samples, the others {usual}: clips are read in batches")
        if report.digest:
            other_split, other = first_seen.setdefault(report.digest, (split, name))
            if other_split != split:
                yield Problem(path, f"the same audio is in split {other_split} as {other!r}")


def check_task(task: TaskFolder, sample_rate: int | None, quick: bool, jobs: int) -> list[Problem]:
    problems = [*check_metadata(task), *check_vocabulary(task)]
    vocabulary = set() if any(p.path.name == VOCABULARY_FILE for p in problems) else set(task.vocabulary)
    splits: dict[str, dict[str, list[Any]]] = {}
    for split in task.splits:
        try:
            splits[split] = task.split(split)
        except UserError as error:
            file = task.path / f"{split}.json"
            problems.append(Problem(file, str(error).removeprefix(f"{file}: ")))
            continue
        if vocabulary:
            problems += check_labels(task, split, splits[split], vocabulary)
    if sample_rate is not None:
        problems += check_audio(task, splits, sample_rate, quick, jobs)
    return problems


def embedding_bytes(task: TaskFolder, embedding_size: int) -> float:
    """Disk that the runner's float32 embeddings of a task take, about.

    Timestamps are taken every 50 ms, and clips of varying length as 10 s.
    """
    clips = sum(len(task.split(split)) for split in task.splits)
    rows = clips
    if task.is_event:
        rows *= round((task.sample_duration_s or 10.0) * 1000 / TIMESTAMP_HOP_MS) + 1
    return EMBEDDING_COPIES * 4.0 * rows * embedding_size


def check_tasks(
    paths: Iterable[str | Path],
    sample_rate: int | None = None,
    quick: bool = False,
    out: Path | None = None,
    embedding_size: int = DEFAULT_EMBEDDING_SIZE,
    jobs: int = 1,
) -> list[Problem]:
    """Everything in task folders that would break a run.

    Args:
        paths: task folders, or folders of them.
        sample_rate: in Hz, of the audio to look at; None leaves the audio out.
        quick: look at the headers of audio files only, do not decode them.
        out: where embeddings will be written; None leaves out the check for space.
        embedding_size: numbers in one embedding, for the check for space.
        jobs: threads.
    """
    problems: list[Problem] = []
    try:
        folders = task_paths(paths)
    except UserError as error:
        return [Problem(Path(), str(error))]
    by_name: dict[str, Path] = {}
    needed_bytes = 0.0
    for folder in folders:
        name = folder.resolve().name
        other = by_name.setdefault(name, folder)
        if other != folder:
            problems.append(Problem(folder, f"has the name of {other}: results are kept by folder name"))
        try:
            task = TaskFolder.open(folder)
            found = check_task(task, sample_rate, quick, jobs)
            needed_bytes += 0 if found else embedding_bytes(task, embedding_size)
        except UserError as error:
            found = [Problem(folder / METADATA_FILE, str(error))]
        problems += found
    if out is not None and needed_bytes > free_bytes(out):
        problems.append(
            Problem(
                out,
                f"embeddings of size {embedding_size} need about {needed_bytes / 1e9:.1f} GB, "
                f"{free_bytes(out) / 1e9:.1f} GB are free",
            )
        )
    return problems


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tasks", nargs="+", metavar="TASK", help="task folder, or a folder of them")
    parser.add_argument("--sample-rate", type=int, metavar="HZ", help="look at the audio of this rate")
    parser.add_argument("--quick", action="store_true", help="headers of audio files only, no decoding")
    parser.add_argument("--out", type=Path, metavar="DIR", help="see whether embeddings fit there")
    parser.add_argument(
        "--embedding-size",
        type=int,
        default=DEFAULT_EMBEDDING_SIZE,
        metavar="N",
        help="numbers in one embedding (default: %(default)s)",
    )
    parser.add_argument(
        "--jobs", type=int, default=-1, metavar="N", help="threads (default: one for each core)"
    )


def run(args: argparse.Namespace) -> int:
    problems = check_tasks(args.tasks, args.sample_rate, args.quick, args.out, args.embedding_size, args.jobs)
    for problem in problems:
        print(problem)
    if problems:
        print(f"{len(problems)} problems")
        return 1
    print(f"{len(task_paths(args.tasks))} tasks: nothing wrong")
    return 0
