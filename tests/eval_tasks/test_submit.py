"""A leaderboard entry from hand-made results of all 19 tasks."""

import csv
import json
import shutil
import subprocess

import pytest

from eval_tasks.__main__ import main
from eval_tasks.errors import UserError
from eval_tasks.files import write_json
from eval_tasks.report import submit, validator
from eval_tasks.report.entry import Entry
from eval_tasks.report.leaderboard import leaderboard
from eval_tasks.runs.describe import ask
from eval_tasks.runs.results import ModelFolder
from eval_tasks.tasks.registry import hear_tasks
from eval_tasks.tasks.task_folder import write_description

INFO = {
    "module": "a_module",
    "model": "weights/weights.pt",
    "model_options": {"hop_ms": 20},
    "model_sha256": "12ab",
    "module_sha256": "34cd",
    "sample_rate": 16000,
    "parameters": 4_700_000,
    "scene_embedding_size": 1536,
    "timestamp_embedding_size": 512,
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
    """A copy of these; a module that has not changed and that validates, and its weights."""
    monkeypatch.setattr(submit, "ask", lambda *args: dict(INFO))
    good = subprocess.CompletedProcess([], 0, stdout="Looks good!\n")
    monkeypatch.setattr(validator.subprocess, "run", lambda *args, **kwargs: good)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/weights.pt").touch()
    return ModelFolder(shutil.copytree(scored, tmp_path / "ours"))


def test_a_complete_entry(model, tmp_path):
    entry = Entry(
        "Ours",
        "https://example.org/ours",
        team="The team",
        authors="A. Uthor",
        paper="https://example.org/paper",
        description="A small CNN.",
        training_data=("speech", "music"),
    )
    out = submit.submit(model, tmp_path / "entry", entry)
    header, row = csv.reader((out / "row.csv").open())
    assert header == ["Model", "URL", "Submission Date", *leaderboard().index]
    assert row[:2] == ["Ours", "https://example.org/ours"]
    values = dict(zip(header[3:], map(float, row[3:]), strict=True))
    for number, entry in enumerate(hear_tasks()):  # several folders: their mean
        extra = (len(entry.folders) - 1) / 20
        assert values[entry.leaderboard] == pytest.approx((number + 1) / 100 + extra)
    assert "Looks good!" in (out / "validator.log").read_text()
    written = json.loads((out / "model.json").read_text())
    assert {**written, **INFO, "model": "weights.pt"} == written  # no path of ours
    assert "heareval==2021.1.3" in (out / "environment.txt").read_text()
    how = (out / "REPRODUCE.md").read_text()
    assert "12ab" in how and "34cd" in how
    assert """--model weights.pt --model-options '{"hop_ms": 20}'""" in how
    request = (out / "PULL_REQUEST.md").read_text()
    for line in """**Team Name:** The team
        **Model Name:** Ours
        **Author(s):** A. Uthor
        **Model URL/GitHub:** https://example.org/ours
        **Paper Link:** https://example.org/paper
        **Model Description:** A small CNN.
        * [x] speech
        * [ ] broad-domain
        * [x] music
        **Number of Model Trainable Parameters:** 4700000
        **Scene Embedding Dimensions:** 1536
        **Timestamp Embedding Dimensions:** 512
        * [x] yes
        * [ ] no""".splitlines():
        assert f"{line.strip()}\n" in request


def lacking_two(model):
    """One task without a score, one that is not the published one."""
    first, second = hear_tasks()[1], hear_tasks()[2]
    (model.path / "predictions/default" / first.folders[0] / "prediction-done.json").unlink()
    add_scored_task(model.path, second.folders[0], second, 0.5, clips=10)
    return first, second


def test_refused_with_the_list_of_what_is_wanting(model, tmp_path):
    first, second = lacking_two(model)
    with pytest.raises(UserError) as refusal:
        submit.submit(model, tmp_path / "entry", Entry("Ours"))
    message = str(refusal.value)
    assert "2 of 19 tasks" in message
    assert f"{first.title}: {first.folders[0]} has no score" in message
    assert f"is not the published task (10 clips, not {second.clips})" in message and "--partial" in message
    assert not (tmp_path / "entry").exists()


def test_a_partial_entry_says_what_is_missing_and_why(model, tmp_path):
    first, second = lacking_two(model)
    entry = Entry("Ours", why_partial="Too few cores.")
    out = submit.submit(model, tmp_path / "entry", entry)
    header, row = csv.reader((out / "row.csv").open())
    blank = {column for column, value in zip(header, row, strict=True) if value == ""}
    assert blank == {"URL", first.leaderboard, second.leaderboard}
    request = (out / "PULL_REQUEST.md").read_text()
    assert "* [ ] yes\n* [x] no\n" in request and "Too few cores." in request
    assert f"* {first.title}: {first.folders[0]} has no score" in request
    assert "--partial 'Too few cores.'" in (out / "REPRODUCE.md").read_text()
    assert entry.still_to_fill_in[0] == "--url" and "--training-data" in entry.still_to_fill_in


def test_weights_are_found_from_any_folder(model, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    weights = str(tmp_path / "weights/weights.pt")
    assert submit.find_weights(model, "") == weights  # recorded as it was typed, above the results
    (tmp_path / "weights").rename(elsewhere / "moved")
    with pytest.raises(UserError, match=r"weights/weights.pt are not there: .* --model FILE"):
        submit.find_weights(model, "")
    assert submit.find_weights(model, "moved/weights.pt") == str(elsewhere / "moved/weights.pt")


def test_stand_ins_alone_are_refused(model, tmp_path):
    with pytest.raises(UserError, match="19 of 19 tasks are missing"):
        submit.submit(model, tmp_path / "entry", Entry("Ours", why_partial="so"), grid="faster")


def test_refused_where_the_weights_changed(model, tmp_path, monkeypatch):
    monkeypatch.setattr(submit, "ask", lambda *args: {**INFO, "model_sha256": "other"})
    with pytest.raises(UserError, match="model_sha256 changed since"):
        submit.submit(model, tmp_path / "entry", Entry("Ours"))


def test_refused_where_the_validator_does(model, tmp_path, monkeypatch):
    bad = subprocess.CompletedProcess([], 1, stdout="ModelError: timestamps\n")
    monkeypatch.setattr(validator.subprocess, "run", lambda *args, **kwargs: bad)
    with pytest.raises(UserError, match="ModelError: timestamps"):
        submit.submit(model, tmp_path / "entry", Entry("Ours"))
    assert not (tmp_path / "entry").exists()


def test_nothing_is_overwritten(model, tmp_path):
    (tmp_path / "entry").mkdir()
    with pytest.raises(UserError, match="is there already"):
        submit.submit(model, tmp_path / "entry", Entry("Ours"))


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


def test_the_real_validator_is_asked():
    valid, log = validator.validate("not_a_hear_module", "weights.pt", {})
    assert not valid and "No module named 'not_a_hear_module'" in log
    assert log.startswith("$ python -m hearvalidator.validate not_a_hear_module --model weights.pt\n")


def test_the_validator_runs_with_the_options_that_were_scored(tmp_path, monkeypatch):
    """A module that is valid with the options only: without them its sample rate is none of HEAR's."""
    (tmp_path / "optional_hear.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    valid, log = validator.validate("optional_hear", "", {"sample_rate": 16_000})
    assert valid and "Looks good!" in log, log
    assert log.startswith('# scored_module is optional_hear with the options {"sample_rate": 16000}\n')
    valid, log = validator.validate("optional_hear", "", {"sample_rate": 8_000})
    assert not valid and "sample rate of 8000" in log


MODULE = """
import torch


class Model(torch.nn.Module):
    scene_embedding_size = timestamp_embedding_size = 1


def load_model(model_file_path="", sample_rate=8_000):
    model = Model()
    model.sample_rate = sample_rate
    return model


def get_scene_embeddings(audio, model):
    return audio.mean(1, keepdim=True)


def get_timestamp_embeddings(audio, model):
    times = 50.0 * torch.arange(audio.shape[1] // 800 + 1).expand(len(audio), -1)
    return torch.zeros(*times.shape, 1), times
"""
