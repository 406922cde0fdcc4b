"""Speech Commands: splits, labels and samples; and what holds for every adapter, told on it."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from raw_sounds import RATE, content, pandas_sample, prepare, read_pcm, write_noise, zip_folder

from eval_tasks.__main__ import main
from eval_tasks.adapters import speech_commands
from eval_tasks.adapters.build import build, fingerprint
from eval_tasks.adapters.hear_data_set import Mode, ModeOptions
from eval_tasks.errors import UserError
from eval_tasks.tasks.check import check_tasks
from eval_tasks.tasks.task_folder import TaskFolder, task_paths


def make_speech_commands(root: Path) -> list[Path]:
    """Both archives' layouts: 10 + 2 words of 4 speakers, two kinds of background noise."""
    train, test = root / "train", root / "test"
    lists: dict[str, list[str]] = {"validation_list.txt": [], "testing_list.txt": []}
    for word in (*speech_commands.WORDS, "cat", "dog"):
        for speaker in range(4):
            name = f"{word}/speaker{speaker}_nohash_0.wav"
            write_noise(train / name, RATE - 2000 * speaker)
            if speaker == 1:
                lists["validation_list.txt"].append(name)
            if speaker == 2:
                lists["testing_list.txt"].append(name)
        folder = word if word in speech_commands.WORDS else "_unknown_"
        write_noise(test / folder / f"{word}_test_nohash_0.wav.wav", RATE)
    for name, names in lists.items():
        (train / name).write_text("\n".join(names) + "\n")
    (train / "README.md").write_text("about")
    write_noise(train / "_background_noise_" / "running_tap.wav", RATE * 2)
    write_noise(train / "_background_noise_" / "white_noise.wav", RATE * 2 + 5000)
    write_noise(test / "_silence_" / "quiet.wav", RATE)
    return [train, test]


@pytest.fixture(scope="module")
def raw_speech_commands(tmp_path_factory):
    return make_speech_commands(tmp_path_factory.mktemp("raw"))


def test_speech_commands_splits_and_labels(raw_speech_commands, tmp_path):
    assert prepare("speech_commands", raw_speech_commands, tmp_path, "--mode", "full") == 0
    task = TaskFolder.open(tmp_path / "speech_commands-v0.0.2-full")
    assert task.vocabulary == sorted((*speech_commands.WORDS, "_silence_", "_unknown_"))
    assert task.splits == ["train", "valid", "test"] and task.sample_rates == [RATE]
    counts = {split: Counter(label for (label,) in task.split(split).values()) for split in task.splits}
    words = dict.fromkeys(speech_commands.WORDS, 1)
    # Of speakers 0 to 3, 1 validates and 2 is left out for the test archive; 37,000 and 32,000 frames
    # of noise give seconds that start at 0, 8000, 16000 (and, of 32,000 frames, at 0 and 8000).
    assert counts["train"] == {**dict.fromkeys(words, 2), "_unknown_": 4, "_silence_": 3}
    assert counts["valid"] == {**words, "_unknown_": 2, "_silence_": 2}
    assert counts["test"] == {**words, "_unknown_": 2, "_silence_": 1}
    assert "_unknown__cat_test_nohash_0.wav.wav" in task.split("test")
    assert task.split("train")["cat_speaker0_nohash_0.wav"] == ["_unknown_"]
    assert check_tasks([task.path], RATE) == []


def test_speech_commands_audio_is_the_raw_audio_to_the_bit(raw_speech_commands, tmp_path):
    train = raw_speech_commands[0]
    prepare("speech_commands", raw_speech_commands, tmp_path, "--mode", "full")
    task = TaskFolder.open(tmp_path / "speech_commands-v0.0.2-full")
    short = read_pcm(task.audio_path(RATE, "train", "yes_speaker3_nohash_0.wav"))
    raw = read_pcm(train / "yes" / "speaker3_nohash_0.wav")
    assert len(raw) == 10000 and len(short) == RATE
    assert np.array_equal(short[:10000], raw) and not short[10000:].any()
    noise = read_pcm(train / "_background_noise_" / "white_noise.wav")
    silence = read_pcm(task.audio_path(RATE, "train", "_silence__white_noise-16000.wav"))
    assert np.array_equal(silence, noise[16000:32000])


def test_speech_commands_5h_keeps_what_pandas_would(raw_speech_commands, tmp_path, monkeypatch):
    prepare("speech_commands", raw_speech_commands, tmp_path, "--mode", "full")
    full = TaskFolder.open(tmp_path / "speech_commands-v0.0.2-full")
    limits = {"train": 9, "valid": 4, "test": None}
    monkeypatch.setitem(speech_commands.DATA_SET.modes, "5h", Mode(1.0, limits))
    prepare("speech_commands", raw_speech_commands, tmp_path, "--mode", "5h")
    part = TaskFolder.open(tmp_path / "speech_commands-v0.0.2-5h")
    for split, count in (("train", 9), ("valid", 4)):
        stems = [name.removesuffix(".wav") for name in full.split(split)]
        assert list(part.split(split)) == [f"{stem}.wav" for stem in pandas_sample(stems, split, count)]
    assert part.split("test") == full.split("test")


def test_the_same_from_archives_in_any_order_in_parallel(raw_speech_commands, tmp_path):
    archives = [zip_folder(folder, tmp_path / f"{folder.name}.zip") for folder in raw_speech_commands]
    tar = shutil.make_archive(str(tmp_path / "train_too"), "gztar", raw_speech_commands[0])
    prepare("speech_commands", raw_speech_commands, tmp_path / "a", "--mode", "full")
    prepare("speech_commands", archives[::-1], tmp_path / "b", "--mode", "full", "--jobs", "2")
    prepare("speech_commands", [Path(tar), archives[1]], tmp_path / "c", "--mode", "full")
    assert content(tmp_path / "a") == content(tmp_path / "b") == content(tmp_path / "c")


def test_sample_rates_are_made_on_demand(raw_speech_commands, tmp_path):
    prepare("speech_commands", raw_speech_commands, tmp_path, "--mode", "full", "--sample-rate", "8000")
    path = tmp_path / "speech_commands-v0.0.2-full"
    assert TaskFolder.open(path).sample_rates == [8000] and check_tasks([path], 8000) == []
    prepare(
        "speech_commands", raw_speech_commands, tmp_path, "--mode", "full", "--sample-rate", "8000", "4000"
    )
    assert TaskFolder.open(path).sample_rates == [4000, 8000] and check_tasks([path], 4000) == []


def test_a_folder_of_other_data_is_not_taken_for_done(raw_speech_commands, tmp_path, capsys):
    assert prepare("speech_commands", raw_speech_commands, tmp_path, "--mode", "full") == 0
    assert prepare("speech_commands", raw_speech_commands, tmp_path, "--mode", "full") == 0
    assert "already there" in capsys.readouterr().out
    (tmp_path / "speech_commands-v0.0.2-full" / "test.json").write_text("{}")
    assert prepare("speech_commands", raw_speech_commands, tmp_path, "--mode", "full") == 1
    assert "other clips or labels" in capsys.readouterr().err


def test_missing_files_of_the_list(raw_speech_commands, tmp_path, capsys):
    train = tmp_path / "train"
    shutil.copytree(raw_speech_commands[0], train)
    (train / "yes" / "speaker1_nohash_0.wav").unlink()
    raw = [train, raw_speech_commands[1]]
    assert prepare("speech_commands", raw, tmp_path, "--mode", "5h") == 1
    message = capsys.readouterr().err
    assert "1 files of" in message and "yes/speaker1_nohash_0.wav: fetch" in message
    assert prepare("speech_commands", raw, tmp_path, "--mode", "small") == 0
    assert len(TaskFolder.open(tmp_path / "speech_commands-v0.0.2-small").split("valid")) == 13


def test_wrong_raw_data(raw_speech_commands, tmp_path, capsys):
    assert prepare("speech_commands", raw_speech_commands[:1], tmp_path) == 1
    assert "give the training and the test archive" in capsys.readouterr().err
    assert prepare("speech_commands", [tmp_path / "no.zip"], tmp_path) == 1
    assert "no such file" in capsys.readouterr().err


def test_broken_raw_file_is_named(raw_speech_commands, tmp_path, capsys):
    train = tmp_path / "train"
    shutil.copytree(raw_speech_commands[0], train)
    (train / "go" / "speaker0_nohash_0.wav").write_bytes(b"nothing")
    assert prepare("speech_commands", [train, raw_speech_commands[1]], tmp_path, "--mode", "full") == 1
    assert str(train / "go" / "speaker0_nohash_0.wav") in capsys.readouterr().err


def test_kill_and_run_again(raw_speech_commands, tmp_path):
    assert prepare("speech_commands", raw_speech_commands, tmp_path / "undisturbed", "--mode", "full") == 0
    out = tmp_path / "killed"
    raw = [str(path) for path in raw_speech_commands]
    options = ["--out", str(out), "--mode", "full", "--jobs", "1", "--quiet"]
    command = [sys.executable, "-m", "eval_tasks", "prepare", "speech_commands", "--raw", *raw, *options]
    process = subprocess.Popen(command, start_new_session=True)
    while len(list(out.glob("*.partial/*/*/*.wav"))) < 10:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "speech_commands-v0.0.2-full").exists()
    assert main(command[3:]) == 0
    assert content(out) == content(tmp_path / "undisturbed")


def test_clips_of_other_raw_data_are_not_taken_over(raw_speech_commands, tmp_path):
    """Between a stopped run and the next the raw data changes: what is there is made again."""
    raw = [tmp_path / "raw" / folder.name for folder in raw_speech_commands]
    for source, target in zip(raw_speech_commands, raw, strict=True):
        shutil.copytree(source, target)
    out = tmp_path / "out"
    partial = out / "speech_commands-v0.0.2-full.partial"
    (partial / "16000" / "train").mkdir(parents=True)
    (partial / "fingerprint").write_text("of other data")
    name = "yes_speaker0_nohash_0.wav"
    write_noise(partial / "16000" / "train" / name, RATE)
    task = build(speech_commands.DATA_SET.plan(raw, ModeOptions("full")), out, [], 1, False)
    assert np.array_equal(
        read_pcm(task.audio_path(RATE, "train", name)), read_pcm(raw[0] / "yes" / "speaker0_nohash_0.wav")
    )


def test_a_rate_of_a_stopped_run_is_not_taken_for_complete(raw_speech_commands, tmp_path):
    """A run for 48 kHz was stopped; the next one wants 16 kHz only."""
    made = speech_commands.DATA_SET.plan(raw_speech_commands, ModeOptions("full"))
    partial = tmp_path / f"{made.folder_name}.partial"
    write_noise(partial / "48000" / "train" / "yes_speaker0_nohash_0.wav", 48000, 48000)
    (partial / "fingerprint").write_text(fingerprint(made, [48000]))
    assert build(made, tmp_path, [RATE], 1, False).sample_rates == [RATE]


def test_a_folder_that_is_being_made_is_no_task(raw_speech_commands, tmp_path):
    assert prepare("speech_commands", raw_speech_commands, tmp_path, "--mode", "full") == 0
    (done,) = task_paths([tmp_path])
    done.rename(done.with_name(f"{done.name}.partial"))
    with pytest.raises(UserError, match="expected a task folder"):
        task_paths([tmp_path])


@pytest.fixture
def official_small() -> Path:
    default = Path(__file__).parents[3] / "shared"
    folder = Path(os.environ.get("HEAR_MSSS_SHARED", default)) / "hear-official-small"
    if not folder.is_dir():
        pytest.skip("HEAR's small test data is not here (HEAR_MSSS_SHARED)")
    return folder


def test_official_small_speech_commands(official_small, tmp_path):
    raw = [official_small / f"speech_commands_{part}v0.02-small.zip" for part in ("", "test_set_")]
    assert prepare("speech_commands", raw, tmp_path, "--mode", "small") == 0
    task = TaskFolder.open(tmp_path / "speech_commands-v0.0.2-small")
    assert len(task.vocabulary) == 12 and task.sample_rates == [RATE]
    counts = {split: Counter(label for (label,) in task.split(split).values()) for split in task.splits}
    # running_tap.wav has 978,488 frames: seconds that start every 8000 before frame 962,488.
    assert counts["valid"]["_silence_"] == 121 and counts["train"]["_silence_"] == 0
    assert set(counts["test"].values()) == {8} and len(counts["test"]) == 12
    # Golden: clips and labels that hear-preprocess 2021.1.1 itself makes of these archives.
    clips = json.dumps({split: dict(sorted(task.split(split).items())) for split in task.splits})
    assert hashlib.sha256(clips.encode()).hexdigest() == (
        "67e1c4a9eeef9e33467afc6998452e4138aaa298d8fdaf33a9e1239df6f22907"
    )
    assert check_tasks([task.path], RATE) == []
