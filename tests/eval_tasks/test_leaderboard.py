"""Which folder is a published task, the leaderboard's numbers of it, and chance."""

import pandas as pd
import pytest

from eval_tasks.report.leaderboard import NAMED, derive, leaderboard, published_task, reference_scores
from eval_tasks.report.table import chance, display_names
from eval_tasks.runs.results import ModelFolder
from eval_tasks.tasks.registry import hear_tasks
from eval_tasks.tasks.task_folder import write_description


def describe(folder, splits, vocabulary, evaluation, **more):
    metadata = {
        "task_name": "t",
        "version": "v1",
        "mode": "full",
        "embedding_type": "scene",
        "prediction_type": "multiclass",
        "split_mode": "trainvaltest",
        "sample_duration": 4.0,
        "evaluation": evaluation,
        "splits": list(splits),
    }
    return write_description(folder, {**metadata, **more}, splits, vocabulary)


@pytest.mark.parametrize(
    ("share", "folder", "published"),
    [
        (1.0, None, True),
        (0.996, None, True),  # a clip more or less, as mirrors have it
        (0.97, None, False),
        (1.03, None, False),
        (0.6, None, False),
        (1.0, "my_own-v1-full", False),
    ],
)
def test_a_published_task_has_its_name_and_its_size(tmp_path, share, folder, published):
    entry = next(entry for entry in hear_tasks() if entry.leaderboard == "Beijing Opera")
    name = entry.folders[0]
    task_name, rest = name.split("-", 1)
    version, mode = rest.rsplit("-", 1)
    clips = {f"{clip}.wav": ["x"] for clip in range(round(share * entry.clips))}
    splits = {"train": clips, "valid": {}, "test": {}}
    named = {"task_name": task_name, "version": version, "mode": mode}
    task = describe(tmp_path / (folder or name), splits, list("wxyz"), ["top1_acc"], **named)
    assert published_task(task) is (entry if published else None)


def test_models_of_one_name_are_told_apart_by_the_folder_they_lie_in(tmp_path):
    models = [
        ModelFolder(tmp_path / place) for place in ("a/tiny", "b/tiny", "b/eval_tasks.baselines.logmel")
    ]
    assert display_names(models) == ["a/tiny", "b/tiny", "b/logmel"]
    assert display_names(models[1:]) == ["tiny", "logmel"]


def test_leaderboard_numbers_against_a_slow_loop(monkeypatch):
    systems = [*NAMED, "other"]
    values = [0.1, None, 0.3, 0.9, 0.5, 0.2, 0.4]
    table = pd.DataFrame({"Model": systems, "URL": "u", "Submission Date": "d", "Task A": values})
    monkeypatch.setattr("eval_tasks.report.leaderboard.leaderboard", lambda: derive(table))
    found = reference_scores("Task A")
    known = sorted(value for value in values if value is not None)
    assert found.pop("leaderboard best") == 0.9
    assert found.pop("leaderboard median") == (known[2] + known[3]) / 2
    assert found == {name: value for name, value in zip(NAMED, values, strict=False) if value is not None}
    assert set(leaderboard().index) == {entry.leaderboard for entry in hear_tasks()}


@pytest.mark.parametrize(
    ("metric", "expected"), [("top1_acc", 1 / 4), ("mAP", 3 / 8), ("aucroc", 0.5), ("d_prime", 0.0)]
)
def test_chance(tmp_path, metric, expected):
    splits = {"train": {}, "valid": {}, "test": {"a.wav": ["w", "x"], "b.wav": ["w"]}}
    assert chance(describe(tmp_path / "t", splits, list("wxyz"), [metric]), metric) == expected


def test_chance_among_the_keys_of_a_piano(tmp_path):
    """88 notes, of twelve chroma."""
    splits = {split: {} for split in ("train", "valid", "test")}
    task = describe(tmp_path / "t", splits, [str(21 + n) for n in range(88)], ["pitch_acc", "chroma_acc"])
    assert (chance(task, "pitch_acc"), chance(task, "chroma_acc")) == (1 / 88, 1 / 12)
