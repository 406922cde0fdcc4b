"""Free Spoken Digits 1.0.9, ten digits by five speakers, in five folds.

--raw: the repository's archive (free-spoken-digit-dataset-1.0.9.tar.gz), or its folder, with
recordings/<digit>_<speaker>_<number>.wav; or what hear-preprocess exports from TensorFlow datasets
(train_labels.csv and audio/). Clips get the names that they have there, which decide the folds.
The task is not of the 19: it is the smallest of hear-preprocess.

  python -m eval_tasks prepare spoken_digit --raw free-spoken-digit-dataset-1.0.9.tar.gz --out tasks/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_files
from eval_tasks.adapters.tfds_names import exported, refuse_cut_down, tfds_names

NAME = re.compile(r"(\d)_[a-z]+_\d+\.wav")


def find(folders: Sequence[Path], small: bool) -> list[Recording]:
    if found := exported(folders, "spoken-digit", int):
        return found
    refuse_cut_down("spoken-digit", small)
    paths = {path.stem: path for path in find_files(folders) if NAME.fullmatch(path.name)}
    names = tfds_names(paths, "spoken-digit", "train", 1)
    return [Recording(name, paths[key], [int(key[0])]) for key, name in names.items()]


DATA_SET = HearDataSet(
    name="spoken_digit",
    about=__doc__ or "",
    task_name="spoken_digit",
    version="1.0.9",
    split_mode="new_split_kfold",
    modes={"full": Mode(0.56, folds=5), SMALL: Mode(0.56, folds=5)},
    find=find,
    recordings=2500,
    scores=("top1_acc",),
)
