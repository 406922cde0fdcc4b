"""The names that TensorFlow datasets gives to clips, computed from those that the authors gave.

hear-preprocess takes CREMA-D, the two GTZANs and the spoken digits from TensorFlow datasets, and its clips
are called by the place that they have there: ``tfds_id_gtzan-train-tfrecord-00005-of-00032-7`` is the
eighth of the sixth of 32 files. Source: tensorflow_datasets 4.4, core/hashing.py and
core/tfrecords_writer.py: clips are sorted by the MD5 of the split's name and their own key, and divided
over the files evenly. hear-preprocess's own tables of labels, which list all the clips of CREMA-D, GTZAN
and the spoken digits, agree with this rule for every one of them.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from eval_tasks.adapters.hear_data_set import Recording, find_files
from eval_tasks.errors import UserError


def tfds_names(keys: Iterable[str], data_set: str, split: str, files: int) -> dict[str, str]:
    """Key of a clip -> its name in hear-preprocess, without ending.

    Args:
        keys: of all the clips of the split.
        data_set: its name there, with hyphens.
        split: train, validation or test.
        files: how many files the split has there.
    """
    ordered = sorted(keys, key=lambda key: hashlib.md5(f"{split}{key}".encode()).digest())
    ends = [round(len(ordered) * (file / files)) for file in range(files + 1)]
    return {
        key: f"tfds_id_{data_set}-{split}-tfrecord-{file:05d}-of-{files:05d}-{number}"
        for file in range(files)
        for number, key in enumerate(ordered[ends[file] : ends[file + 1]])
    }


def refuse_cut_down(data_set: str, small: bool) -> None:
    """
    Raises:
        UserError: a part of the authors' files: their names depend on all of them.
    """
    if small:
        raise UserError(
            f"{data_set}: no *_labels.csv found: --mode small takes what hear-preprocess exports from "
            "TensorFlow datasets; the names of a part of the authors' files cannot be known"
        )


def exported(folders: Sequence[Path], data_set: str, labels: type = str) -> list[Recording]:
    """The recordings of what hear-preprocess writes out of TensorFlow datasets; none where there is no such.

    It has a table ``<split>_labels.csv`` (filename, label) for each split, and the clips in ``audio/``.

    Raises:
        UserError: a table without these columns, or of another data set.
    """
    found = []
    for table in find_files(folders, "*_labels.csv"):
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if not {"filename", "label"} <= set(reader.fieldnames or ()):
                raise UserError(f"{table}: columns {reader.fieldnames}, expected filename and label")
            for row in reader:
                name = row["filename"]
                if not name.startswith(f"tfds_id_{data_set}-"):
                    raise UserError(f"{table}, line {reader.line_num}: {name} is no clip of {data_set}")
                source = table.parent / "audio" / name
                found.append(Recording(Path(name).stem, source, [labels(row["label"])]))
    return found
