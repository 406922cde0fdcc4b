"""DCASE 2016 task 2, office sound events in synthetic scenes, split HEAR's own way.

--raw: dcase2016_task2_train_dev.zip and dcase2016_task2_test_public.zip, or their folders, each with
annotation/*.txt (start, end in seconds, label; separated by tabs) and sound/*.wav. HEAR leaves the
single training events out, puts the development and the public test scenes together and splits them
anew, 60 % for training and 20 % each for validation and test.

  python -m eval_tasks prepare dcase2016_task2 --out tasks/ \\
      --raw dcase2016_task2_train_dev.zip dcase2016_task2_test_public.zip
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval_tasks.adapters.hear_rules import SPLITS, split_by_percent
from eval_tasks.adapters.plan import Clip, Plan, cut_events, make_plan
from eval_tasks.errors import UserError

CLIP_S = 120.0
VALID_PERCENT = TEST_PERCENT = 20
SCENES = 72  # development 18, public test 54
MODES = ("full", "small")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="full",
        help="small: as many scenes as there are, for cut-down archives (default: %(default)s)",
    )


def plan(folders: Sequence[Path], args: argparse.Namespace) -> Plan:
    metadata = {
        "task_name": "dcase2016_task2",
        "version": "hear2021",
        "mode": args.mode,
        "embedding_type": "event",
        "prediction_type": "multilabel",
        "split_mode": "trainvaltest",
        "sample_duration": CLIP_S,
        "evaluation": ["event_onset_200ms_fms", "segment_1s_er"],
    }
    annotations: dict[str, Path] = {}
    # Not what begins with a dot: archives packed on a Mac hold such doubles.
    for file in sorted(path for folder in folders for path in folder.rglob("annotation/[!.]*.txt")):
        if annotations.setdefault(file.stem, file) != file:
            raise UserError(f"{file} and {annotations[file.stem]}: two scenes of one name")
    if not annotations or (args.mode == "full" and len(annotations) != SCENES):
        raise UserError(
            f"{', '.join(map(str, folders))}: found {len(annotations)} scenes (annotation/*.txt), expected "
            f"{SCENES}: give both archives, or --mode small for cut-down ones"
        )
    splits: dict[str, list[Clip]] = {split: [] for split in SPLITS}
    for stem, split in split_by_percent(set(annotations), VALID_PERCENT, TEST_PERCENT).items():
        source = annotations[stem].parent.parent / "sound" / f"{stem}.wav"
        if not source.is_file():
            raise UserError(f"{source} is missing, {annotations[stem]} names it: fetch the archive again")
        splits[split].append(Clip(f"{stem}.wav", source, cut_events(read_events(annotations[stem]), CLIP_S)))
    return make_plan(metadata, splits)


def read_events(file: Path) -> list[dict[str, Any]]:
    """Events of a scene, in ms.

    Raises:
        UserError: a line that is not start, end, label.
    """
    events = []
    with file.open(newline="", encoding="utf-8") as stream:
        for number, row in enumerate(csv.reader(stream, delimiter="\t"), start=1):
            try:
                start_s, end_s, label = row
                start_ms, end_ms = float(start_s) * 1000, float(end_s) * 1000
            except ValueError:
                raise UserError(
                    f"{file}, line {number}: {row}: expected start and end in seconds and a label, "
                    "separated by tabs"
                ) from None
            events.append({"label": label, "start": start_ms, "end": end_ms})
    return events
