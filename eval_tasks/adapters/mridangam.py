"""Mridangam, ten strokes or six tonics of a drum, in five folds.

--raw: mridangam_stroke_1.5.zip, or its folder, with <id>__<user>__<stroke>-<tonic>-<number>.wav.
mridangam_stroke has the strokes as labels, mridangam_tonic the tonics.

  python -m eval_tasks prepare mridangam_stroke --raw mridangam_stroke_1.5.zip --out tasks/
  python -m eval_tasks prepare mridangam_tonic --raw mridangam_stroke_1.5.zip --out tasks/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_named

NAME = re.compile(
    r"\d+__\w+?__(?P<stroke>bheem|cha|dheem|dhin|num|ta|tha|tham|thi|thom)-(?P<tonic>b|c|csh|d|dsh|e)-\d+\.wav"
)


def find(label: str, folders: Sequence[Path], small: bool) -> list[Recording]:
    return [Recording(path.stem, path, [match[label]]) for path, match in find_named(folders, NAME)]


def data_set(label: str) -> HearDataSet:
    return HearDataSet(
        name=f"mridangam_{label}",
        about=__doc__ or "",
        task_name=f"mridangam_{label}",
        version="v1.5",
        split_mode="new_split_kfold",
        modes={"full": Mode(0.81, folds=5), SMALL: Mode(1, folds=5)},
        find=partial(find, label),
        recordings=6977,
    )


STROKE, TONIC = data_set("stroke"), data_set("tonic")
