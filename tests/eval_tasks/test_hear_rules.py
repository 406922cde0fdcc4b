"""HEAR's rules for splits, folds and subsets, against pandas and known outcomes."""

import random
from collections import Counter

import pytest
from raw_sounds import pandas_sample

from eval_tasks.adapters import hear_rules


def test_lengths_of_modes_are_those_of_the_task_sheet():
    assert hear_rules.clips_within(5, 1.0) == {"train": 16000, "valid": 2000, "test": 2000}
    assert 16000 + 2000 + 4890 == 22890, "Speech Commands 5h keeps the whole test set"
    assert sum(hear_rules.clips_within(5, 4.0).values()) == 5000, "NSynth 5h"
    assert hear_rules.clips_within(50, 4.0)["train"] == 40000


@pytest.mark.parametrize("count", [0, 1, 7, 40, 100])
def test_subsample_is_pandas_sample(count):
    stems = [f"word_{number:03d}" for number in range(40)]
    random.Random(1).shuffle(stems)
    for split in hear_rules.SPLITS:
        assert hear_rules.subsample(stems, split, count) == pandas_sample(stems, split, count)
    assert hear_rules.subsample(stems, "train", None) == sorted(stems)


def test_split_by_percent():
    keys = {f"scene{number}" for number in range(72)}
    split = hear_rules.split_by_percent(keys, 20, 20)
    order = sorted(keys)
    random.Random("split_train_test_val").shuffle(order)
    assert {key for key in keys if split[key] == "valid"} == set(order[:14])
    assert {key for key in keys if split[key] == "test"} == set(order[14:28])
    assert Counter(split.values()) == {"train": 44, "valid": 14, "test": 14}


@pytest.mark.parametrize("there", ["test", "valid"])
def test_a_missing_split_is_a_tenth_of_the_whole(there):
    """Of 100 clips 10 are in a split of the data set's own: the other split is 10 of the 90 that are left."""
    keys = {"train": {f"k{n}" for n in range(90)}, there: {f"t{n}" for n in range(10)}}
    missing = "valid" if there == "test" else "test"
    assert Counter(hear_rules.complete_splits(keys, 10, 10).values()) == {"train": 80, missing: 10}
    neither = hear_rules.complete_splits({"train": keys["train"]}, 10, 20)
    assert Counter(neither.values()) == {"train": 63, "valid": 9, "test": 18}


def test_folds_hold_every_label_and_are_the_first_shuffle_that_does():
    labels = {f"key{number:02d}": {"rare" if number < 3 else "common"} for number in range(12)}
    folds = hear_rules.split_into_folds(labels, 3)
    assert sorted(folds[key] for key in ("key00", "key01", "key02")) == ["fold00", "fold01", "fold02"]
    for seed in ("split_k_folds", *(f"split_k_folds_retry_{i}" for i in range(999))):
        order = sorted(labels)
        random.Random(seed).shuffle(order)
        thirds = [order[0:4], order[4:8], order[8:12]]
        if all(any(labels[key] == {"rare"} for key in third) for third in thirds):
            break
    assert [{key for key in labels if folds[key] == f"fold0{i}"} for i in range(3)] == [*map(set, thirds)]


def test_shuffles_have_not_changed_with_python_or_numpy():
    """Golden values: another order would make other splits than the published ones."""
    keys = list("abcdefghij")
    assert "".join(hear_rules.subsample(keys, "train", 4)) == "bcij"
    parts = hear_rules.split_by_percent(set(keys), 30, 30)
    assert "".join(key for key in keys if parts[key] == "valid") == "eij"
    folds = hear_rules.split_into_folds({key: {"x"} for key in keys}, 5)
    assert "".join(folds[key][-1] for key in keys) == "4320203141"
