"""FSD50K, 200 kinds of sounds, several in a clip, clips of 0.3 to 30 s.

--raw: FSD50K.dev_audio.zip and FSD50K.eval_audio.zip, each with its parts (.z01, ...) in the same folder,
and FSD50K.ground_truth.zip; or their folders. Splits are the authors' own; twelve clips of the development
set that are longer than 30 s are left out, and clips keep their length.

  python -m eval_tasks prepare fsd50k --out tasks/ \\
      --raw FSD50K.dev_audio.zip FSD50K.eval_audio.zip FSD50K.ground_truth.zip
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_one
from eval_tasks.errors import UserError

SPLITS = {"train": "train", "val": "valid"}
TOO_LONG = (
    *("83298", "83299", "121351", "121426", "121471", "121472", "124796", "124797", "124800", "124834"),
    *("124858", "397150"),
)


def find(folders: Sequence[Path], small: bool) -> list[Recording]:
    recordings = []
    for part in ("dev", "eval"):
        table = find_one(folders, f"{part}.csv", "FSD50K")
        audio = find_one(folders, f"FSD50K.{part}_audio", "FSD50K")
        with table.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        try:
            for row in rows:
                if row["fname"] not in TOO_LONG:
                    recordings.append(
                        Recording(
                            row["fname"],
                            audio / f"{row['fname']}.wav",
                            sorted(row["labels"].split(",")),
                            split=SPLITS[row["split"]] if part == "dev" else "test",
                        )
                    )
        except (KeyError, AttributeError):
            raise UserError(f"{table}: expected the columns fname, labels and, in dev.csv, split") from None
    return recordings


DATA_SET = HearDataSet(
    name="fsd50k",
    about=__doc__ or "",
    task_name="fsd50k",
    version="v1.0",
    split_mode="trainvaltest",
    modes={"full": Mode(None), SMALL: Mode(None)},
    find=find,
    recordings=51185,
    scores=("mAP", "d_prime", "aucroc", "top1_acc"),
    multilabel=True,
)
