"""What `check` says of the audio of a task folder."""

import shutil

import numpy as np
import pytest
import soundfile
from checked_tasks import RATE, make_task, messages, rewrite, write_clip

from eval_tasks.tasks.check import check_tasks

NOISE = np.random.default_rng(9).uniform(-0.5, 0.5, 4000)


@pytest.mark.parametrize(
    ("audio", "options", "expected"),
    [
        (NOISE, {"rate": 16000}, "has 16000 Hz in the folder of 8000 Hz"),
        (np.stack([NOISE, NOISE], 1), {}, "has 2 channels, expected mono"),
        (NOISE[:3000], {}, "has 3000 samples, expected 4000 (0.5 s)"),
        (NOISE[:3999], {}, "has 3999 samples, the others 4000: clips are read in batches"),
        (NOISE[:0], {}, "holds no samples"),
    ],
)
@pytest.mark.parametrize("quick", [False, True])
def test_wrong_clip(tmp_path, audio, options, expected, quick):
    task = make_task(tmp_path / "noise-v1-full")
    write_clip(task, "valid", "valid1.wav", audio, **options)
    assert messages(tmp_path, quick=quick) == [f"{task.audio_path(RATE, 'valid', 'valid1.wav')}: {expected}"]


def test_broken_and_missing_clips(tmp_path):
    task = make_task(tmp_path / "noise-v1-full")
    task.audio_path(RATE, "train", "train0.wav").unlink()
    task.audio_path(RATE, "train", "train1.wav").write_bytes(b"RIFF, they said")
    bad = np.array([0.1, np.nan] * 2000, np.float32)
    write_clip(task, "test", "test2.wav", bad, subtype="FLOAT")
    found = messages(tmp_path)
    assert [message.split("8000/")[1].split(":")[0] for message in found] == [
        "train/train0.wav",
        "train/train1.wav",
        "test/test2.wav",
    ]
    for message, expected in zip(
        found, ("missing", "cannot be decoded", "holds NaN or infinite samples"), strict=True
    ):
        assert expected in message


def test_wave_file_cut_short(tmp_path):
    task = make_task(tmp_path / "noise-v1-full")
    path = task.audio_path(RATE, "train", "train0.wav")
    path.write_bytes(path.read_bytes()[:4044])
    words = "its header announces 8000 bytes of sound, 4000 are there: cut short"
    assert messages(tmp_path) == [f"{path}: {words}"]


def test_no_audio_of_that_rate(tmp_path):
    task = make_task(tmp_path / "noise-v1-full")
    (problem,) = check_tasks([tmp_path], 16000)
    assert "no audio at 16000 Hz, there is [8000]" in problem.message
    assert f"resample {task.path} --sample-rate 16000" in problem.message


def test_without_a_rate_the_audio_of_every_rate_is_looked_at(tmp_path):
    task = make_task(tmp_path / "noise-v1-full")
    assert check_tasks([tmp_path]) == []
    shutil.copytree(task.path / str(RATE), task.path / str(RATE * 2))
    found = [problem.message for problem in check_tasks([tmp_path])]
    assert found == [f"has {RATE} Hz in the folder of {RATE * 2} Hz"] * 9
    for rate in task.sample_rates:
        shutil.rmtree(task.path / str(rate))
    (problem,) = check_tasks([tmp_path])
    assert problem.path == task.path and problem.message.startswith("no audio")


def test_a_split_without_any_clip_is_one_problem(tmp_path):
    task = make_task(tmp_path / "noise-v1-full")
    for name in ("2021", "02021", "0", "999"):
        (task.path / name).mkdir()
    assert task.sample_rates == [2021, RATE], "the others are no rates"
    found = [(problem.path, problem.message) for problem in check_tasks([tmp_path])]
    expected = "holds none of the 3 clips of this split"
    assert found == [(task.path / "2021" / split, expected) for split in ("test", "train", "valid")]


def test_splits_that_share_audio(tmp_path):
    task = make_task(tmp_path / "noise-v1-full")
    write_clip(task, "test", "test1.wav", soundfile.read(task.audio_path(RATE, "train", "train2.wav"))[0])
    expected = (
        f"{task.audio_path(RATE, 'test', 'test1.wav')}: the same audio is in split train as 'train2.wav'"
    )
    assert messages(tmp_path) == [expected]


@pytest.mark.parametrize("quick", [False, True])
def test_one_name_in_two_splits_is_a_problem_only_with_the_same_audio(tmp_path, quick):
    task = make_task(tmp_path / "noise-v1-full")
    rewrite(task, "valid.json", lambda content: content.update({"train0.wav": ["a"]}))
    write_clip(task, "valid", "train0.wav", NOISE)
    assert messages(tmp_path, quick=quick) == []
    write_clip(task, "valid", "train0.wav", soundfile.read(task.audio_path(RATE, "train", "train0.wav"))[0])
    assert "the same audio is in split train" in messages(tmp_path, quick=quick)[0]


def test_lengths_may_vary_where_the_task_says_so(tmp_path):
    task = make_task(tmp_path / "noise-v1-full", sample_duration=None)
    write_clip(task, "valid", "valid1.wav", NOISE[:1234])
    assert messages(tmp_path) == []
