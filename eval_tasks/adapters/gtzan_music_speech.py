"""GTZAN Music Speech, music against speech, in ten folds.

--raw: music_speech.tar.gz, or its folder, with music_wav/*.wav and speech_wav/*.wav; or what
hear-preprocess exports from TensorFlow datasets (train_labels.csv and audio/). Clips get the names that
they have there, which decide the folds.

  python -m eval_tasks prepare gtzan_music_speech --raw music_speech.tar.gz --out tasks/
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_files
from eval_tasks.adapters.tfds_names import exported, refuse_cut_down, tfds_names

LABELS = {"music_wav": "music", "speech_wav": "speech"}
FILES = 4  # of TensorFlow datasets


def find(folders: Sequence[Path], small: bool) -> list[Recording]:
    if found := exported(folders, "gtzan-music-speech"):
        return found
    refuse_cut_down("gtzan-music-speech", small)
    paths = {path.name: path for path in find_files(folders) if path.parent.name in LABELS}
    names = tfds_names(paths, "gtzan-music-speech", "train", FILES) if len(paths) >= FILES else {}
    return [Recording(name, paths[key], [LABELS[paths[key].parent.name]]) for key, name in names.items()]


DATA_SET = HearDataSet(
    name="gtzan_music_speech",
    about=__doc__ or "",
    task_name="tfds_gtzan_music_speech",
    version="1.0.0",
    split_mode="new_split_kfold",
    modes={"full": Mode(30.0, folds=10), SMALL: Mode(2, folds=10)},
    find=find,
    recordings=128,
)
