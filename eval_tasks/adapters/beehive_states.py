"""Beehive States, hives with and without their queen: one hive for training, the other for testing.

--raw: Hive1_12_06_2018.rar, Hive1_31_05_2018.rar, Hive3_14_07_2017.rar and Hive3_28_07_2017.rar, or their
folders, with Hive<number>...QueenBee...wav; "NO" in a name stands for no queen. beehive_states_fold0 trains
on hive 1 and tests on hive 3, beehive_states_fold1 the other way round; a ninth of the training recordings
validates. The two hives were recorded at two sample rates: give --sample-rate.

  python -m eval_tasks prepare beehive_states_fold0 --raw Hive*.rar --sample-rate 16000 --out tasks/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_named
from eval_tasks.adapters.hear_rules import clips_within

NAME = re.compile(r"(Hive[13])[ _].*QueenBee.*\.wav")


def find(train_hive: str, folders: Sequence[Path], small: bool) -> list[Recording]:
    return [
        Recording(
            path.stem,
            path,
            ["NOQUEEN" if "NO" in path.name else "QUEEN"],
            split="train" if match[1] == train_hive else "test",
        )
        for path, match in find_named(folders, NAME)
    ]


def data_set(fold: int, train_hive: str) -> HearDataSet:
    return HearDataSet(
        name=f"beehive_states_fold{fold}",
        about=__doc__ or "",
        task_name=f"beehive_states_fold{fold}",
        version="v2",
        split_mode="trainvaltest",
        modes={"full": Mode(600), "5h": Mode(30, clips_within(5, 30)), SMALL: Mode(2)},
        find=partial(find, train_hive),
        recordings=576,
        scores=("aucroc", "mAP", "d_prime", "top1_acc"),
    )


FOLD0, FOLD1 = data_set(0, "Hive1"), data_set(1, "Hive3")
