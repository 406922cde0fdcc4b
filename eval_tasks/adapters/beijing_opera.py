"""Beijing Opera Percussion, four kinds of gongs and clappers, in five folds.

--raw: beijing_opera_percussion_instrument_1.0.zip, or its folder, with
<id>__ajaysm__<instrument>-<number>.wav.

  python -m eval_tasks prepare beijing_opera --raw beijing_opera_percussion_instrument_1.0.zip --out tasks/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_named

NAME = re.compile(r"\d+__\w+?__(bangu|daluo|naobo|xiaoluo)-\d+\.wav")


def find(folders: Sequence[Path], small: bool) -> list[Recording]:
    return [Recording(path.stem, path, [match[1]]) for path, match in find_named(folders, NAME)]


DATA_SET = HearDataSet(
    name="beijing_opera",
    about=__doc__ or "",
    task_name="beijing_opera",
    version="v1.0-hear2021",
    split_mode="new_split_kfold",
    modes={"full": Mode(4.77, folds=5), SMALL: Mode(2, folds=5)},
    find=find,
    recordings=236,
)
