"""GTZAN Genre, ten kinds of music, in ten folds.

--raw: genres.tar.gz, or its folder, with <genre>.<number>.wav or .au; or what hear-preprocess exports from
TensorFlow datasets (train_labels.csv and audio/). Clips get the names that they have there, which decide
the folds.

  python -m eval_tasks prepare gtzan --raw genres.tar.gz --out tasks/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_files
from eval_tasks.adapters.tfds_names import exported, refuse_cut_down, tfds_names

NAME = re.compile(r"([a-z]+)\.\d{5}\.(wav|au)")
FILES = 32  # of TensorFlow datasets


def find(folders: Sequence[Path], small: bool) -> list[Recording]:
    if found := exported(folders, "gtzan"):
        return found
    refuse_cut_down("gtzan", small)
    # The key is the name as a .wav, which is what TensorFlow datasets was made from.
    paths = {f"{path.stem}.wav": path for path in find_files(folders, "*.*") if NAME.fullmatch(path.name)}
    names = tfds_names(paths, "gtzan", "train", FILES) if len(paths) >= FILES else {}
    return [Recording(name, paths[key], [key.split(".")[0]]) for key, name in names.items()]


DATA_SET = HearDataSet(
    name="gtzan",
    about=__doc__ or "",
    task_name="tfds_gtzan",
    version="1.0.0",
    split_mode="new_split_kfold",
    modes={"full": Mode(30.0, folds=10), SMALL: Mode(2, folds=10)},
    find=find,
    recordings=1000,
)
