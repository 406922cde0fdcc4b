"""VoxLingua107, the ten most frequent languages of its development set, in five folds.

--raw: dev.zip, or its folder, with <language>/*.wav. Were the tenth and the eleventh language equally
frequent, the choice of hear-preprocess would depend on the order of a file system, and is refused here.

  python -m eval_tasks prepare vox_lingua_top10 --raw dev.zip --out tasks/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_files
from eval_tasks.errors import UserError

LANGUAGES = 10


def find(folders: Sequence[Path], small: bool) -> list[Recording]:
    paths = find_files(folders)
    # Of equally frequent ones the first in the alphabet, as hear-preprocess has it where folders are sorted.
    ranked = Counter(sorted(path.parent.name for path in paths)).most_common()
    if not small and len(ranked) > LANGUAGES and ranked[LANGUAGES - 1][1] == ranked[LANGUAGES][1]:
        (tenth, count), (eleventh, _) = ranked[LANGUAGES - 1 : LANGUAGES + 1]
        raise UserError(
            f"VoxLingua107: {tenth} and {eleventh} both have {count} recordings, so that the ten most "
            "frequent languages are not defined: fetch dev.zip again"
        )
    chosen = {language for language, _ in ranked[:LANGUAGES]}
    return [Recording(path.stem, path, [path.parent.name]) for path in paths if path.parent.name in chosen]


DATA_SET = HearDataSet(
    name="vox_lingua_top10",
    about=__doc__ or "",
    task_name="vox_lingua_top10",
    version="hear2021",
    split_mode="new_split_kfold",
    modes={"full": Mode(18.64, folds=5), SMALL: Mode(2, folds=5)},
    find=find,
    recordings=972,
)
