"""CREMA-D, emotions in spoken sentences, in five folds.

--raw: the repository's AudioWAV folder, or an archive of it, with <actor>_<sentence>_<emotion>_<level>.wav;
or what hear-preprocess exports from TensorFlow datasets (train_labels.csv, valid_labels.csv and
test_labels.csv, each with its audio/). Clips get the names that they have there, which decide the folds;
four recordings of the repository are not there, and are left out.

  python -m eval_tasks prepare crema_d --raw CREMA-D/AudioWAV --out tasks/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_files
from eval_tasks.adapters.tfds_names import exported, refuse_cut_down, tfds_names

NAME = re.compile(r"\d{4}_[A-Z]{3}_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX)\.wav")
LEFT_OUT = ("1006_TIE_NEU_XX", "1013_WSI_DIS_XX", "1017_IWW_FEA_XX", "1040_ITH_SAD_XX")
# The splits of TensorFlow datasets: share of the actors, files.
SPLITS = {"train": (0.7, 16), "validation": (0.1, 2), "test": (0.2, 4)}


def actors_by_split(actors: Sequence[str]) -> dict[str, list[str]]:
    """Split -> its actors, shuffled by NumPy's legacy generator with seed 0. Source: tfds' crema_d.py."""
    shuffled = sorted(actors)
    np.random.RandomState(0).shuffle(shuffled)
    splits, share = {}, 0.0
    for split, (part, _) in SPLITS.items():
        start, share = int(share * len(shuffled)), share + part
        end = len(shuffled) if split == "test" else int(share * len(shuffled))
        splits[split] = shuffled[start:end]
    return splits


def find(folders: Sequence[Path], small: bool) -> list[Recording]:
    if found := exported(folders, "crema-d"):
        return found
    refuse_cut_down("crema-d", small)
    paths = {path.stem: path for path in find_files(folders) if NAME.fullmatch(path.name)}
    keys = [key for key in paths if key not in LEFT_OUT]
    for split, actors in actors_by_split(sorted({key.split("_")[0] for key in keys})).items():
        members = [key for key in keys if key.split("_")[0] in actors]
        names = tfds_names(members, "crema-d", split, SPLITS[split][1])
        found += [Recording(name, paths[key], [key.split("_")[2]]) for key, name in names.items()]
    return found


DATA_SET = HearDataSet(
    name="crema_d",
    about=__doc__ or "",
    task_name="tfds_crema_d",
    version="1.0.0",
    split_mode="new_split_kfold",
    modes={"full": Mode(5, folds=5), SMALL: Mode(2, folds=5)},
    find=find,
    recordings=7438,
)
