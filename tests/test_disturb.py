"""A few of the trials of ``disturb.py`` and some of the input of ``fuzz.py``, which do hundreds on demand."""

from __future__ import annotations

import sys

import pytest

if sys.platform == "linux":
    from disturb import trials
    from disturbed_verbs import VERBS
    from fuzz import tried
    from mounts import can_mount

MOUNTS = sys.platform == "linux" and can_mount()
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("resample", ["kill", "double"]),
        ("download", ["kill", "double", "starve"]),
        ("submit", ["double", "starve"]),
        ("run", ["kill"]),
        ("embed webdataset", ["kill"]),
        ("embed parquet in parts", ["kill", "double"]),
        ("pack", ["kill", "double"]),
        ("train", ["double"]),
        ("pretrain export", ["starve"]),
    ],
)
def test_a_disturbed_verb_comes_to_the_undisturbed_result(name: str, kinds: list[str]) -> None:
    [verb] = [verb for verb in VERBS if verb.name == name]
    assert [trial for trial in trials(verb, kinds, seed=1) if trial.problems] == []


@pytest.mark.skipif(not MOUNTS, reason="only root may mount a disk in memory")
@pytest.mark.parametrize("name", ["pack", "download", "report"])
def test_a_full_and_a_read_only_disk_are_a_sentence_and_lose_nothing(name: str) -> None:
    [verb] = [verb for verb in VERBS if verb.name == name]
    assert [trial for trial in trials(verb, ["full", "locked"], seed=1) if trial.problems] == []


@pytest.mark.parametrize(
    "kind",
    [
        *("task folders (check)", "results", "pickles", "tables"),
        *("options", "settings", "tensors", "weights files", "command lines"),
    ],
)
def test_random_input_gives_documented_errors_only(kind: str) -> None:
    count = 6 if kind == "weights files" else 40
    assert [error for outcome, error in tried(kind, count, seed=7) if outcome == "wrong"] == []
