"""Vocal Imitations, voices that imitate one of 302 sounds, in three folds.

--raw: VocalImitationSet_v1.1.3.zip, or its folder, with vocal_imitations.txt and
vocal_imitations/included/*.wav. The label is the file name of the sound that was imitated.

  python -m eval_tasks prepare vocal_imitation --raw VocalImitationSet_v1.1.3.zip --out tasks/
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_files, find_one
from eval_tasks.errors import UserError

INCLUDED = "included"  # the folder, and the column, of the imitations that were judged to be good


def find(folders: Sequence[Path], small: bool) -> list[Recording]:
    table = find_one(folders, "vocal_imitations.txt", "Vocal Imitations")
    with table.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream, delimiter="\t")
        if not {"imitation_filename", "reference_filename", INCLUDED} <= set(reader.fieldnames or ()):
            raise UserError(
                f"{table}: expected the columns imitation_filename, reference_filename, {INCLUDED}"
            )
        labels = {
            row["imitation_filename"]: row["reference_filename"] for row in reader if row[INCLUDED] == "True"
        }
    recordings = []
    for path in find_files([table.parent / "vocal_imitations" / INCLUDED]):
        if path.name not in labels:
            raise UserError(f"{path}: {table.name} has no included imitation of that name: fetch both again")
        recordings.append(Recording(path.stem, path, [labels[path.name]]))
    return recordings


DATA_SET = HearDataSet(
    name="vocal_imitation",
    about=__doc__ or "",
    task_name="vocal_imitation",
    version="v1.1.3",
    split_mode="new_split_kfold",
    modes={"full": Mode(11.26, folds=3), SMALL: Mode(2, folds=3)},
    find=find,
    recordings=5601,
    scores=("mAP", "d_prime", "aucroc", "top1_acc"),
)
