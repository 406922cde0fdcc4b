"""A leaderboard entry from hand-made results of all 19 tasks."""

import csv
import json
import shutil
import subprocess

import pytest

from eval_tasks.__main__ import main
from eval_tasks.errors import UserError
from eval_tasks.files import write_json
from eval_tasks.report import submit
from eval_tasks.report.leaderboard import leaderboard
from eval_tasks.runs.describe import ask
from eval_tasks.runs.results import ModelFolder
from eval_tasks.tasks.registry import hear_tasks
from eval_tasks.tasks.task_folder import write_description

INFO = {
    "module": "a_module",
    "model": "weights.pt",
    "model_options": {"hop_ms": 20},
    "model_sha256": "12ab",
    "module_sha256": "34cd",
    "sample_rate": 16000,
    "versions": {"heareval": "2021.1.3"},
}


def add_scored_task(model, name, entry, score, clips):
    folder = model / "predictions/default" / name
    task_name, rest = name.split("-", 1)
    version, mode = rest.rsplit("-", 1)
    metadata = {
        "task_name": task_name,
        "version": version,
        "mode": mode,
        "embedding_type": "scene",
        "prediction_type": "multiclass",
        "split_mode": "trainvaltest",
        "sample_duration": 1.0,
        "evaluation": [entry.score],
        "splits": ["train", "valid", "test"],
    }
    content = {"train": {f"{clip}.wav": [] for clip in range(clips)}, "valid": {}, "test": {}}
    write_description(folder, metadata, content, ["x"])
    write_json(folder / "test.predicted-scores.json", {"test": {f"test_{entry.score}": score}})
    (folder / "prediction-done.json").touch()


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """All 19 tasks, as large as the published ones, with scores 0.01, 0.02, ..."""
    folder = tmp_path_factory.mktemp("scored")
    write_json(folder / "model.json", INFO)
    for number, entry in enumerate(hear_tasks()):
        for place, name in enumerate(entry.folders):
            add_scored_task(folder, name, entry, (number + 1) / 100 + place / 10, entry.clips)
    return folder


@pytest.fixture
def model(scored, tmp_path, monkeypatch):
    """A copy of these; a module that has not changed and that validates."""
    monkeypatch.setattr(submit, "ask", lambda *args: dict(INFO))
    good = subprocess.CompletedProcess([], 0, stdout="Looks good!\n")
    monkeypatch.setattr(submit.subprocess, "run", lambda *args, **kwargs: good)
    return ModelFolder(shutil.copytree(scored, tmp_path / "ours"))


def test_a_complete_entry(model, tmp_path):
    out = submit.submit(model, tmp_path / "entry", "Ours", "https://example.org/ours")
    header, row = csv.reader((out / "row.csv").open())
    assert header == ["Model", "URL", "Submission Date", *leaderboard().index]
    assert row[:2] == ["Ours", "https://example.org/ours"]
    values = dict(zip(header[3:], map(float, row[3:]), strict=True))
    for number, entry in enumerate(hear_tasks()):  # several folders: their mean
        extra = (len(entry.folders) - 1) / 20
        assert values[entry.leaderboard] == pytest.approx((number + 1) / 100 + extra)
    assert "Looks good!" in (out / "validator.log").read_text()
    written = json.loads((out / "model.json").read_text())
    assert {**written, **INFO} == written
    assert "heareval==2021.1.3" in (out / "environment.txt").read_text()
    how = (out / "REPRODUCE.md").read_text()
    assert "12ab" in how and "34cd" in how
    assert """--model weights.pt --model-options '{"hop_ms": 20}'""" in how


def test_refused_with_the_list_of_what_is_wanting(model, tmp_path):
    first, second = hear_tasks()[1], hear_tasks()[2]
    (model.path / "predictions/default" / first.folders[0] / "prediction-done.json").unlink()
    add_scored_task(model.path, second.folders[0], second, 0.5, clips=10)
    with pytest.raises(UserError) as refusal:
        submit.submit(model, tmp_path / "entry", "Ours", "")
    message = str(refusal.value)
    assert "2 of 19 tasks" in message
    assert f"{first.title}: {first.folders[0]} has no score" in message
    assert f"is not the published task (10 clips, not {second.clips})" in message
    assert not (tmp_path / "entry").exists()


def test_stand_ins_alone_are_refused(model, tmp_path):
    with pytest.raises(UserError, match="19 of 19 tasks are missing"):
        submit.submit(model, tmp_path / "entry", "Ours", "", grid="faster")


def test_refused_where_the_weights_changed(model, tmp_path, monkeypatch):
    monkeypatch.setattr(submit, "ask", lambda *args: {**INFO, "model_sha256": "other"})
    with pytest.raises(UserError, match="model_sha256 changed since"):
        submit.submit(model, tmp_path / "entry", "Ours", "")


def test_refused_where_the_validator_does(model, tmp_path, monkeypatch):
    bad = subprocess.CompletedProcess([], 1, stdout="ModelError: timestamps\n")
    monkeypatch.setattr(submit.subprocess, "run", lambda *args, **kwargs: bad)
    with pytest.raises(UserError, match="ModelError: timestamps"):
        submit.submit(model, tmp_path / "entry", "Ours", "")
    assert not (tmp_path / "entry").exists()


def test_nothing_is_overwritten(model, tmp_path):
    (tmp_path / "entry").mkdir()
    with pytest.raises(UserError, match="is there already"):
        submit.submit(model, tmp_path / "entry", "Ours", "")


def test_a_real_module_is_asked_what_it_is_and_validated(scored, tmp_path, capsys):
    """Nothing is replaced here: `submit` of a baseline, by the command line."""
    folder = shutil.copytree(scored, tmp_path / "logmel")
    info = ask("eval_tasks.baselines.logmel")
    write_json(folder / "model.json", {**info, "module_sha256": "of other code"})
    command = ["submit", str(folder), "--out", str(tmp_path / "entry"), "--url", "https://example.org"]
    assert main(command) == 1
    assert "module_sha256 changed since" in capsys.readouterr().err
    write_json(folder / "model.json", info)
    assert main(command) == 0
    log = (tmp_path / "entry/validator.log").read_text()
    assert log.startswith("$ python -m hearvalidator.validate eval_tasks.baselines.logmel\n")
    assert "Looks good!" in log
    assert info["module_sha256"] in (tmp_path / "entry/REPRODUCE.md").read_text()
