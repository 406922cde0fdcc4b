"""Which GPU each process of a run sees."""

import pytest
from tiny_tasks import RATE, tiny

from eval_tasks import __main__ as command_line
from eval_tasks.errors import UserError
from eval_tasks.runs import harness, run
from eval_tasks.runs.gpus import visible_devices

INFO = {
    "module": "tiny_hear",
    "model": "",
    "model_sha256": "",
    "module_sha256": "12ab",
    "model_options": {},
    "scene_embedding_size": 2,
    "timestamp_embedding_size": 2,
    "sample_rate": RATE,
    "versions": {},
}


def on_gpus(monkeypatch, **devices):
    """The module as if it had been described on a machine with these devices; what processes are given."""
    found = {
        "torch": "2.13.0",
        "gpus": [],
        "mps": False,
        "tensorflow_gpus": None,
        "name_error": "",
        **devices,
    }
    monkeypatch.setattr(run, "ask", lambda *args: {**INFO, "devices": found})
    given = []
    monkeypatch.setattr(harness, "environment", lambda threads, gpu: given.append(gpu) or {})
    return given


def test_gpus_are_given_in_turn(tasks, tmp_path, started, monkeypatch):
    given = on_gpus(monkeypatch, gpus=["A", "B"])
    tiny(tasks, tmp_path, gpus=["0", "1"])
    assert sorted(given) == ["0", "1"]


@pytest.mark.parametrize(("gpus", "seen"), [(None, None), (["none"], ""), ([""], "")])
def test_the_gpu_is_used_where_there_is_one_unless_it_is_hidden(
    tasks, tmp_path, started, monkeypatch, gpus, seen
):
    given = on_gpus(monkeypatch, gpus=["A"])
    tiny(tasks, tmp_path, gpus=gpus)
    assert given == [seen, seen]


def test_a_gpu_that_heareval_cannot_use_is_told_before_anything_begins(tasks, tmp_path, started, monkeypatch):
    given = on_gpus(monkeypatch, gpus=["A"], tensorflow_gpus=0)
    with pytest.raises(UserError, match=r"TensorFlow sees no GPU.*pip uninstall tensorflow.*--gpus none"):
        tiny(tasks, tmp_path)
    assert given == []
    tiny(tasks, tmp_path, gpus=["none"])
    assert given == ["", ""]


def test_gpus_that_are_not_there_are_refused(monkeypatch):
    two = {"torch": "2.13.0", "gpus": ["A", "B"], "tensorflow_gpus": None, "name_error": ""}
    with pytest.raises(UserError, match=r"--gpus 0,2: torch 2.13.0 sees GPUs 0, 1 \(A, B\)"):
        visible_devices(["0", "2"], two)
    with pytest.raises(UserError, match="sees no CUDA GPU here"):
        visible_devices(["0"], {**two, "gpus": []})
    assert visible_devices(["all"], two) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-abc")
    assert visible_devices(["1", "0"], two) == ["GPU-abc", "2"]


def test_one_task_at_once_for_each_gpu_that_is_named(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(run, "run_tasks", lambda *args: calls.append(args[3]) or [])
    words = ["run", "--module", "m", "--tasks", str(tmp_path), "--out", str(tmp_path)]
    for more in ([], ["--gpus", "0,1"], ["--gpus", "0,1", "--jobs", "4"]):
        assert command_line.main([*words, *more]) == 0
    assert [(settings.gpus, settings.jobs) for settings in calls] == [
        (None, 1),
        (["0", "1"], 2),
        (["0", "1"], 4),
    ]
