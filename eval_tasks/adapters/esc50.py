"""ESC-50, environmental sounds, in the folds of its authors.

--raw: the repository's archive (ESC-50-master.zip), or its folder, with meta/esc50.csv and audio/.

  python -m eval_tasks prepare esc50 --raw ESC-50-master.zip --out tasks/
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_one
from eval_tasks.errors import UserError


def find(folders: Sequence[Path], small: bool) -> list[Recording]:
    table = find_one(folders, "esc50.csv", "ESC-50")
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    try:
        return [
            Recording(
                Path(row["filename"]).stem,
                table.parent.parent / "audio" / row["filename"],
                [row["category"]],
                split=f"fold{int(row['fold']) - 1:02d}",
            )
            for row in rows
        ]
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{table}: expected the columns filename, fold and category") from None


DATA_SET = HearDataSet(
    name="esc50",
    about=__doc__ or "",
    task_name="esc50",
    version="v2.0.0",
    split_mode="presplit_kfold",
    modes={"full": Mode(5), SMALL: Mode(2)},
    find=find,
    recordings=2000,
)
