"""DCASE 2016 task 2, office sound events in synthetic scenes, split HEAR's own way.

--raw: dcase2016_task2_train_dev.zip and dcase2016_task2_test_public.zip, or their folders, each with
annotation/*.txt (start, end in seconds, label; separated by tabs) and sound/*.wav. HEAR leaves the
single training events out, puts the development and the public test scenes together and splits them
anew, 60 % for training and 20 % each for validation and test (in --mode small 80, 10 and 10 %).

  python -m eval_tasks prepare dcase2016_task2 --out tasks/ \\
      --raw dcase2016_task2_train_dev.zip dcase2016_task2_test_public.zip
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_files
from eval_tasks.errors import UserError

CLIP_S = 120.0


def find(folders: Sequence[Path], small: bool) -> list[Recording]:
    recordings = []
    for file in find_files(folders, "annotation/*.txt"):
        source = file.parent.parent / "sound" / f"{file.stem}.wav"
        if not source.is_file():
            raise UserError(f"{source} is missing, {file} names it: fetch the archive again")
        recordings.append(Recording(file.stem, source, read_events(file)))
    return recordings


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


DATA_SET = HearDataSet(
    name="dcase2016_task2",
    about=__doc__ or "",
    task_name="dcase2016_task2",
    version="hear2021",
    split_mode="trainvaltest",
    modes={"full": Mode(CLIP_S, valid_percent=20, test_percent=20), SMALL: Mode(CLIP_S)},
    find=find,
    recordings=72,  # scenes: development 18, public test 54
    scores=("event_onset_200ms_fms", "segment_1s_er"),
    is_event=True,
)
