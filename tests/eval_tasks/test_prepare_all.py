"""Every task whose raw data is found, in one call; and one task from Python."""

from __future__ import annotations

import json
import shutil

import pytest
import raw_trees
import small_trees

import eval_tasks
from eval_tasks.__main__ import main
from eval_tasks.adapters import raw_data as raw_data_module
from eval_tasks.adapters.raw_data import DATA_SETS, raw_data, raw_data_of
from eval_tasks.errors import UserError
from eval_tasks.tasks.registry import hear_tasks


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    """Small archives of two data sets, one of them a folder deeper, and one of NSynth's three."""
    root = tmp_path_factory.mktemp("downloads")
    raw = tmp_path_factory.mktemp("raw")
    small_trees.dcase2016_task2(raw / "dcase")
    small_trees.maestro(raw / "maestro")
    small_trees.nsynth(raw / "nsynth")
    for name, folder in {
        "dcase2016_task2_train_dev-small": raw / "dcase" / "dev",
        "dcase2016_task2_test_public-small": raw / "dcase" / "test",
        "piano/maestro-v3.0.0-small": raw / "maestro",
        "nsynth-train-small": raw / "nsynth" / "train",
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        shutil.make_archive(str(root / name), "zip", folder)
    return root


def test_all(downloads, tmp_path, capsys):
    command = ["prepare", "--all", str(downloads), "--small", "--out", str(tmp_path), "--jobs", "2"]
    assert main([*command, "--sample-rate", "8000"]) == 0
    printed = capsys.readouterr().out
    assert "dcase2016_task2-hear2021-small: made: train 8, valid 1, test 1" in printed
    assert "maestro-v3.0.0-small: made: fold00 1, fold01 1, fold02 1, fold03 1" in printed
    for name in ("nsynth_pitch-v2.2.3-small", "nsynth_pitch_kfold-v2.2.3-small"):
        assert f"{name}: missing: nsynth-valid-small.zip, nsynth-test-small.zip of NSynth" in printed
    assert "esc50-v2.0.0-small: missing: esc50-all_folds-small.zip of ESC-50, from https://" in printed
    assert "2 tasks are in" in printed and "0 failed" in printed
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == [
        "dcase2016_task2-hear2021-small",
        "maestro-v3.0.0-small",
    ]
    assert main([*command, "--sample-rate", "8000"]) == 0
    assert "dcase2016_task2-hear2021-small: already there" in capsys.readouterr().out


def test_a_task_that_fails_leaves_the_others(downloads, tmp_path, capsys):
    """MAESTRO's recordings have two rates, and none is asked for."""
    assert main(["prepare", "--all", str(downloads), "--small", "--out", str(tmp_path), "--jobs", "1"]) == 1
    printed = capsys.readouterr().out
    assert "dcase2016_task2-hear2021-small: made" in printed
    assert "maestro-v3.0.0-small: failed: the raw files have sample rates of [44100, 48000]" in printed


def test_either_all_or_an_adapter(tmp_path, capsys):
    assert main(["prepare", "--out", str(tmp_path)]) == 1
    assert "give --all FOLDER or one adapter" in capsys.readouterr().err
    assert main(["prepare", "--all", str(tmp_path / "nowhere")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_from_python(tmp_path):
    small_trees.dcase2016_task2(tmp_path / "raw")
    task = eval_tasks.prepare(
        "dcase2016_task2", raw=[tmp_path / "raw"], out=tmp_path, mode="small", sample_rates=[4000], jobs=1
    )
    assert task.name == "dcase2016_task2-hear2021-small" and task.sample_rates == [4000]
    with pytest.raises(UserError, match=r"no option \['moed'\]: expected some of mode"):
        eval_tasks.prepare("esc50", raw=[tmp_path], out=tmp_path, moed="small")
    with pytest.raises(UserError, match="no adapter 'esc-50': expected one of speech_commands, nsynth"):
        eval_tasks.prepare("esc-50", raw=[tmp_path])
    with pytest.raises(UserError, match="esc50 has no mode 'tiny': expected one of full, small"):
        eval_tasks.prepare("esc50", raw=[tmp_path], out=tmp_path, mode="tiny")


def test_csv_from_python(tmp_path):
    for number in range(10):
        small_trees.noise(tmp_path / "audio" / f"{number}.wav", 800, 8000)
    rows = "".join(f"{number}.wav,{number % 2}x\n" for number in range(10))
    (tmp_path / "table.csv").write_text(f"file,label\n{rows}")
    record = {"csv": tmp_path / "table.csv", "audio": tmp_path / "audio", "name": "mine"}
    task = eval_tasks.prepare("csv", out=tmp_path, jobs=1, type="scene", **record)
    assert task.name == "mine-v1-full" and task.vocabulary == ["0x", "1x"]
    with pytest.raises(UserError, match="type 'scenes': expected one of scene, event"):
        eval_tasks.prepare("csv", type="scenes", **record)


def test_every_task_has_raw_data_and_every_adapter_is_found():
    for task in hear_tasks():
        assert all(raw_data_of(folder) for folder in task.folders)
    named = [name for entry in raw_data() for name in entry.adapters]
    assert sorted(named) == sorted(DATA_SETS)
    made = {data_set.folder_name(mode) for entry in raw_data() for data_set, mode in entry.tasks(False)}
    assert made == {folder for task in hear_tasks() for folder in task.folders}
    assert raw_data_of("mine-v1-full") is None


def test_whole_raw_data_is_found_by_its_published_names(tmp_path):
    raw_trees.touch(tmp_path, ["ESC-50-master.zip", "more/Hive1_12_06_2018.rar", "mic1raw.wav"])
    by_title = {entry.title: entry.look_in(tmp_path, small=False) for entry in raw_data()}
    assert by_title["ESC-50"] == ([tmp_path / "ESC-50-master.zip"], [])
    found, missing = by_title["Beehive States"]
    assert [path.name for path in found] == ["Hive1_12_06_2018.rar"] and len(missing) == 3
    assert missing[0] == "Hive1_31_05_2018.rar or Hive1_31_05_2018"


def test_list_says_where_raw_data_is(tmp_path, capsys):
    assert main(["list", "--tasks", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for entry in raw_data_module.raw_data():
        assert entry.url in printed and entry.licence in printed
    assert main(["list", "--tasks", str(tmp_path), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["tasks"]
    assert all(task["raw_data"]["url"].startswith("http") for task in listed)
