"""Odd sound files in prepare, check and resample: read whole, warned about or refused, in one wording."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from odd_sounds import RATE, tone

from eval_tasks.__main__ import main
from eval_tasks.tasks.check import check_tasks
from eval_tasks.tasks.resample import resample_task
from eval_tasks.tasks.task_folder import TaskFolder, write_description


@pytest.fixture
def copies(odd_sounds, tmp_path):
    """The odd files in folders of their own, ``name in the table -> (path, what is right)``."""
    found = {}
    for number, (path, right) in enumerate(odd_sounds.items()):
        if path.is_file() and path.name.isascii():
            copy = tmp_path / "audio" / f"{number}" / path.name
            copy.parent.mkdir(parents=True)
            shutil.copy(path, copy)
            found[f"{number}/{path.name}"] = (copy, right)
    return found


def prepare(folder, files):
    with (folder / "table.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("file", "label"))
        table.writerows((file, "ab"[number % 2]) for number, file in enumerate(files))
    paths = [
        "--csv",
        str(folder / "table.csv"),
        "--audio",
        str(folder / "audio"),
        "--out",
        str(folder / "out"),
    ]
    options = ["--name", "odd", "--type", "scene", "--sample-rate", str(RATE), "--jobs", "1", "--quiet"]
    return main(["prepare", "csv", *paths, *options])


def test_prepare_makes_whole_clips_of_odd_files_and_warns(copies, tmp_path, capsys):
    usable = {file: copy for file, copy in copies.items() if copy[1].seconds is not None}
    assert prepare(tmp_path, usable) == 0
    said = capsys.readouterr().err
    task = TaskFolder.open(tmp_path / "out" / "odd-v1-full")
    made = {name: task.audio_path(RATE, split, name) for split in task.splits for name in task.split(split)}
    for file, (path, right) in usable.items():
        name = Path(file).with_suffix(".wav").as_posix().replace("/", "_")
        seconds = soundfile.info(made[name]).duration
        assert abs(seconds - right.seconds) < right.slack_s, file
        warned = [line for line in said.splitlines() if line.startswith(f"WARNING {path}: ")]
        assert any(right.words in line for line in warned) if right.words else not warned
    assert all("the same audio" in problem.message for problem in check_tasks([task.path], RATE))


def test_prepare_names_all_files_that_it_refuses_at_once(copies, tmp_path, capsys):
    refused = {file: copy for file, copy in copies.items() if copy[1].seconds is None}
    whole = [file for file, copy in copies.items() if copy[1].seconds is not None][:10]
    assert prepare(tmp_path, [*refused, *whole]) != 0
    said = capsys.readouterr().err
    for path, right in refused.values():
        (line,) = (line for line in said.splitlines() if f"{path}: " in line)
        assert right.words in line
    assert not (tmp_path / "out" / "odd-v1-full").exists()


def make_task(folder, files):
    """A task whose clips are copies of files; all in every split, at ``RATE``."""
    metadata = {
        "task_name": "odd",
        "version": "v1",
        "mode": "full",
        "embedding_type": "scene",
        "prediction_type": "multiclass",
        "split_mode": "trainvaltest",
        "sample_duration": None,
        "evaluation": ["top1_acc"],
        "splits": ["train", "valid", "test"],
    }
    splits = {
        split: {f"{split}{n}{path.suffix}": ["ab"[n % 2]] for n, path in enumerate(files)}
        for split in metadata["splits"]
    }
    task = write_description(folder / "odd-v1-full", metadata, splits, ["a", "b"])
    for split, names in splits.items():
        for name, path in zip(names, files, strict=True):
            task.audio_path(RATE, split, name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, task.audio_path(RATE, split, name))
    return task


def test_check_and_resample_have_the_words_of_the_reader(odd_sounds, tmp_path, capsys):
    for number, (path, right) in enumerate(odd_sounds.items()):
        if not path.is_file() or path.suffix not in (".wav", ".flac", ".aiff") or not right.words:
            continue
        if path.name.startswith("real_"):  # at other rates than the task's
            continue
        folder = tmp_path / str(number)
        task = make_task(folder, [path])
        found = [problem for problem in check_tasks([folder], RATE) if "train0" in str(problem)]
        assert any(right.words in problem.message for problem in found), (path.name, found)
        code = main(["resample", str(task.path), "--sample-rate", "8000", "--jobs", "1", "--quiet"])
        said = capsys.readouterr().err
        readable = right.seconds is not None and "the runner cannot read it" not in said
        assert (code == 0) == readable, path.name
        clip = task.audio_path(RATE, "train", f"train0{path.suffix}")
        assert any(str(clip) in line and right.words in line for line in said.splitlines()), path.name


def test_a_clip_that_the_runner_reads_in_part_or_not_at_all_is_a_problem(odd_sounds, tmp_path):
    # heareval reads by soundfile: what that cannot, or cuts, must not pass.
    paths = {path.name: path for path in odd_sounds}
    for name in ("vbr_no_xing_quiet_first.mp3", "joined.flac", "opus.webm", "piped.flac"):
        make_task(tmp_path / name, [paths[name]])
        found = {str(p) for p in check_tasks([tmp_path / name], RATE) if "train0" in p.path.name}
        assert any("the runner finds" in text or "48000 Hz in the folder" in text for text in found), name


def test_resample_writes_what_is_read_to_the_end(odd_sounds, tmp_path):
    path = next(path for path in odd_sounds if path.name == "joined.flac")
    task = make_task(tmp_path, [path])
    resample_task(task, 8000, progress=False)
    audio, rate = soundfile.read(task.audio_path(8000, "train", "train0.flac"))
    assert rate == 8000 and len(audio) == 2 * len(tone()) // 2
    assert np.corrcoef(audio[:16_000], audio[16_000:])[0, 1] > 0.999
