"""HEAR's rules for splitting and subsampling, seed for seed.

Source: hear-preprocess 2021.1.1, whose outcome on the same data these must equal. Its shuffles are those
of Python's ``random`` seeded with a string, and of pandas' ``sample``, which draws from NumPy's legacy
generator, frozen for ever; tests hold both to their values.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence, Set

import numpy as np

from eval_tasks.errors import UserError

SPLITS = ("train", "valid", "test")
# Of the keys, where a data set brings no split of its own.
TRAIN_PERCENT, VALID_PERCENT, TEST_PERCENT = 80, 10, 10
FOLD_SEEDS = ("split_k_folds", *(f"split_k_folds_retry_{number}" for number in range(999)))


def subsample(stems: Sequence[str], split: str, max_clips: int | None) -> list[str]:
    """The clips of a split that a mode of limited length keeps.

    Args:
        stems: file names without their ending.
        split: its name, which seeds the choice.
        max_clips: None keeps all.
    """
    if max_clips is None:
        return sorted(stems)
    digest = hashlib.sha1(f"SubsampleSplit({split})".encode()).hexdigest()
    generator = np.random.RandomState(int(digest, 16) % (2**32 - 1))
    order = generator.choice(len(stems), size=len(stems), replace=False)
    ordered = sorted(stems)
    return sorted(ordered[index] for index in order[:max_clips])


def clips_within(hours: float, clip_s: float) -> dict[str, int]:
    """Most clips of each split in a mode of so many hours of training and validation audio."""
    percent = {"train": TRAIN_PERCENT, "valid": VALID_PERCENT, "test": TEST_PERCENT}
    return {
        split: int(3600 * hours * percent[split] / (TRAIN_PERCENT + VALID_PERCENT) / clip_s)
        for split in SPLITS
    }


def split_by_percent(keys: Set[str], valid_percent: float, test_percent: float) -> dict[str, str]:
    """Key -> train, valid or test; what shares a key stays together."""
    shuffled = sorted(keys)
    random.Random("split_train_test_val").shuffle(shuffled)
    valid = round(len(shuffled) * valid_percent / 100)
    test = round(len(shuffled) * test_percent / 100)
    names = ["valid"] * valid + ["test"] * test + ["train"] * (len(shuffled) - valid - test)
    return dict(zip(shuffled, names, strict=True))


def complete_splits(
    keys: Mapping[str, Set[str]], valid_percent: float, test_percent: float
) -> dict[str, str]:
    """Training key -> its split: what of valid and test the data set does not bring is cut from training.

    Args:
        keys: split -> keys of its clips.
        valid_percent: of the whole, where the data set brings neither; else of what it leaves, in proportion.
        test_percent: the same.
    """
    if keys.get("test"):
        valid_percent, test_percent = valid_percent / ((100 - test_percent) / 100), 0
    if keys.get("valid"):
        valid_percent, test_percent = 0, test_percent / ((100 - valid_percent) / 100)
    return split_by_percent(keys.get("train", set()), valid_percent, test_percent)


def fold_names(folds: int) -> list[str]:
    return [f"fold{number:02d}" for number in range(folds)]


def split_into_folds(
    labels_by_key: Mapping[str, Set[str]], folds: int, all_labels: bool = True
) -> dict[str, str]:
    """Key -> fold00, fold01, ...; what shares a key stays together.

    Args:
        labels_by_key: key -> labels of its clips.
        folds: how many.
        all_labels: take the first of 1000 shuffles that gives each fold every label; else the first.

    Raises:
        UserError: no shuffle does.
    """
    every_label = set().union(*labels_by_key.values())
    for seed in FOLD_SEEDS:
        shuffled = sorted(labels_by_key)
        random.Random(seed).shuffle(shuffled)
        parts = [list(part) for part in np.array_split(np.array(shuffled, dtype=object), folds)]
        if not all_labels or all(
            set().union(*(labels_by_key[key] for key in part)) == every_label for part in parts
        ):
            return {key: f"fold{number:02d}" for number, part in enumerate(parts) for key in part}
    raise UserError(
        f"no split into {folds} folds gives each of them all {len(every_label)} labels: give fewer folds, "
        "drop rare labels, or give the folds in a column"
    )
