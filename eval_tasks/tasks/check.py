"""Find what would break a run before hours are spent on it, file by file.

Task folders: files that are missing or not to be read, metadata that the runners do not know, labels
outside the vocabulary, events outside their clip, splits that share audio, two folders of one name (the
runners keep their results by folder name), clips that are missing, broken, or of the wrong rate, length
or number of channels; and, with --out, a disk that the embeddings would fill. The exit status is
1 if anything is wrong.

  python -m eval_tasks check tasks/
  python -m eval_tasks check tasks/ --sample-rate 16000 --quick --out runs/ --embedding-size 2048
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eval_tasks.errors import UserError
from eval_tasks.files import free_bytes
from eval_tasks.tasks.check_audio import check_audio
from eval_tasks.tasks.check_description import Problem, check_labels, check_metadata, check_vocabulary
from eval_tasks.tasks.task_folder import METADATA_FILE, VOCABULARY_FILE, TaskFolder, task_paths

TIMESTAMP_HOP_MS = 50  # the widest that HEAR allows for all tasks
EMBEDDING_COPIES = 2  # the runner writes each embedding to a file of its own and to one file of all
DEFAULT_EMBEDDING_SIZE = 2048


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
    rates = task.sample_rates if sample_rate is None else [sample_rate]
    if not rates:
        problems.append(
            Problem(task.path, "no audio: expected a folder named by its sample rate, such as 16000")
        )
    for rate in rates:
        problems += check_audio(task, splits, rate, quick, jobs)
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
        sample_rate: in Hz, of the audio to look at; None looks at every rate that is there.
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
    parser.add_argument(
        "--sample-rate", type=int, metavar="HZ", help="audio of this rate only (default: of every rate there)"
    )
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
        print(f"problems: {len(problems)}")
        return 1
    print(f"tasks looked at: {len(task_paths(args.tasks))}, nothing wrong")
    return 0
