"""LibriCount, 0 to 10 speakers at once, in five folds.

--raw: LibriCount10-0dB.zip, or its folder, with test/<speakers>_<id>.wav.

  python -m eval_tasks prepare libricount --raw LibriCount10-0dB.zip --out tasks/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_files

NAME = re.compile(r"(10|\d)_[0-9a-f]+\.wav")


def find(folders: Sequence[Path], small: bool) -> list[Recording]:
    paths = [path for path in find_files(folders) if NAME.fullmatch(path.name)]
    return [Recording(path.stem, path, [int(path.name.split("_")[0])]) for path in paths]


DATA_SET = HearDataSet(
    name="libricount",
    about=__doc__ or "",
    task_name="libricount",
    version="v1.0.0-hear2021",
    split_mode="new_split_kfold",
    modes={"full": Mode(5.0, folds=5), SMALL: Mode(2, folds=5)},
    find=find,
    recordings=5720,
)
