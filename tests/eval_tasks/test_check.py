import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eval_tasks.__main__ import main
from eval_tasks.tasks.check import check_tasks, embedding_bytes
from eval_tasks.tasks.task_folder import TaskFolder, write_description

RATE = 8000


def make_task(path: Path, event: bool = False, **changes) -> TaskFolder:
    metadata = {
        "task_name": "noise",
        "version": "v1",
        "mode": "full",
        "embedding_type": "event" if event else "scene",
        "prediction_type": "multilabel" if event else "multiclass",
        "split_mode": "trainvaltest",
        "sample_duration": 0.5,
        "evaluation": ["event_onset_200ms_fms"] if event else ["top1_acc"],
        "splits": ["train", "valid", "test"],
        **changes,
    }
    entry = [{"label": "b", "start": 10.0, "end": 200.0}] if event else ["a"]
    splits = {split: {f"{split}{i}.wav": entry for i in range(3)} for split in metadata["splits"]}
    task = write_description(path, metadata, splits, ["a", "b"])
    for number, split in enumerate(splits):
        for index, name in enumerate(splits[split]):
            write_clip(task, split, name, np.random.default_rng([number, index]).uniform(-0.5, 0.5, 4000))
    return task


def write_clip(
    task: TaskFolder, split: str, name: str, audio: np.ndarray, rate: int = RATE, **options
) -> None:
    path = task.audio_path(RATE, split, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, **options)


def rewrite(task: TaskFolder, file: str, change) -> None:
    path = task.path / file
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def messages(path: Path, **options) -> list[str]:
    return [str(problem) for problem in check_tasks([path], RATE, **options)]


@pytest.mark.parametrize("event", [False, True])
@pytest.mark.parametrize("quick", [False, True])
def test_nothing_wrong(tmp_path, event, quick):
    make_task(tmp_path / "noise-v1-full", event)
    assert messages(tmp_path, quick=quick, out=tmp_path) == []


def test_folds(tmp_path):
    folds = [f"fold{number:02d}" for number in range(4)]
    options = {"split_mode": "new_split_kfold", "splits": folds, "nfolds": 4}
    make_task(tmp_path / "noise-v1-full", **options)
    assert messages(tmp_path) == []
    make_task(tmp_path / "noise-v1-full", **{**options, "nfolds": 5})
    assert "nfolds is 5, there are 4 splits" in messages(tmp_path)[0]
    make_task(tmp_path / "noise-v1-full", **{**options, "splits": folds[1:], "nfolds": 3})
    assert "expected fold00" in messages(tmp_path)[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("embedding_type", "clip"),
        ("prediction_type", "regression"),
        ("split_mode", "random"),
        ("sample_duration", -1),
        ("sample_duration", "1 s"),
        ("evaluation", ["accuracy"]),
        ("evaluation", []),
        ("splits", ["train", "test"]),
    ],
)
def test_metadata_the_runner_does_not_know(tmp_path, key, value):
    task = make_task(tmp_path / "noise-v1-full")
    rewrite(task, "task_metadata.json", lambda metadata: metadata.update({key: value}))
    found = [str(problem) for problem in check_tasks([tmp_path])]
    assert any("task_metadata.json" in message and key.split("_")[0] in message for message in found), found


@pytest.mark.parametrize("file", ["labelvocabulary.csv", "valid.json"])
def test_missing_small_file(tmp_path, file):
    task = make_task(tmp_path / "noise-v1-full")
    (task.path / file).unlink()
    (message,) = messages(tmp_path)
    assert message.startswith(str(task.path / file)) and "missing" in message


@pytest.mark.parametrize("file", ["task_metadata.json", "valid.json"])
def test_file_that_is_not_json(tmp_path, file):
    task = make_task(tmp_path / "noise-v1-full")
    (task.path / file).write_text('{"half": ')
    (message,) = messages(tmp_path)
    assert message.startswith(str(task.path / file)) and "not JSON" in message


@pytest.mark.parametrize(
    ("vocabulary", "expected"),
    [
        ("idx,label\n0,a\n2,b\n", "expected the indices 0 to 1"),
        ("index,label\n0,a\n1,b\n", "expected the columns idx and label"),
        ("idx,label\n0,a\n1,b\n2,a\n", "label 'a' is there 2 times"),
        ("idx,label\n0,a\n1,b\n2,None\n", "would read label 'None' as 'nan'"),
    ],
)
def test_vocabulary(tmp_path, vocabulary, expected):
    task = make_task(tmp_path / "noise-v1-full")
    (task.path / "labelvocabulary.csv").write_text(vocabulary)
    (message,) = messages(tmp_path)
    assert "labelvocabulary.csv" in message and expected in message


def test_numbers_as_labels_are_read_as_they_are_written(tmp_path):
    task = make_task(tmp_path / "noise-v1-full", evaluation=["pitch_acc", "chroma_acc"])
    for split in task.splits:
        content = {name: [60] for name in task.split(split)}
        (task.path / f"{split}.json").write_text(json.dumps(content))
    (task.path / "labelvocabulary.csv").write_text("idx,label\n0,60\n1,61\n")
    assert messages(tmp_path) == []
    (task.path / "labelvocabulary.csv").write_text("idx,label\n0,60\n1,62\n")
    assert "without a gap" in messages(tmp_path)[0]


def test_labels_outside_the_vocabulary_and_wrong_counts(tmp_path):
    task = make_task(tmp_path / "noise-v1-full")
    rewrite(
        task,
        "valid.json",
        lambda c: c.update({"valid0.wav": ["c"], "valid1.wav": [], "valid2.wav": ["a", "b"]}),
    )
    assert messages(tmp_path) == [
        f"{task.path}/valid.json: clip 'valid0.wav': label 'c' is not in labelvocabulary.csv",
        f"{task.path}/valid.json: clip 'valid1.wav' has 0 labels, expected one (multiclass)",
        f"{task.path}/valid.json: clip 'valid2.wav' has 2 labels, expected one (multiclass)",
    ]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"label": "z", "start": 1, "end": 2}, "label 'z' is not in"),
        ({"label": "a", "start": 1}, "expected label, start and end"),
        ({"label": "a", "start": 5, "end": 2}, "0 <= start <= end"),
        ({"label": "a", "start": "5", "end": 9}, "start and end in ms"),
        ({"label": "a", "start": 5, "end": 700}, "ends after the clip, which has 500 ms"),
    ],
)
def test_events(tmp_path, event, expected):
    task = make_task(tmp_path / "noise-v1-full", event=True)
    rewrite(task, "test.json", lambda content: content["test1.wav"].append(event))
    (message,) = messages(tmp_path)
    assert "test.json" in message and "test1.wav" in message and expected in message


def test_empty_split(tmp_path):
    task = make_task(tmp_path / "noise-v1-full")
    (task.path / "test.json").write_text("{}")
    assert messages(tmp_path) == [f"{task.path}/test.json: no clips"]


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


def test_two_folders_of_one_name(tmp_path):
    first = make_task(tmp_path / "a" / "noise-v1-full")
    second = make_task(tmp_path / "b" / "noise-v1-full")
    (problem,) = check_tasks([first.path, second.path], RATE)
    assert problem.path == second.path and str(first.path) in problem.message
    assert check_tasks([first.path, tmp_path / "a"], RATE) == [], "one folder named twice"


def test_disk_that_embeddings_would_fill(tmp_path, monkeypatch):
    task = make_task(tmp_path / "noise-v1-full")
    # Nine clips, 100 numbers of four bytes, written twice.
    assert embedding_bytes(task, 100) == 9 * 100 * 4 * 2
    for free, count in ((7200, 0), (7199, 1)):
        monkeypatch.setattr("eval_tasks.tasks.check.free_bytes", lambda folder, free=free: free)
        assert len(check_tasks([tmp_path], RATE, out=tmp_path, embedding_size=100)) == count
    event = make_task(tmp_path / "event", event=True)
    assert embedding_bytes(event, 100) == 11 * 9 * 100 * 4 * 2, "0, 50, ..., 500 ms"


def test_command_line(tmp_path, capsys):
    task = make_task(tmp_path / "noise-v1-full")
    arguments = ["check", str(tmp_path), "--sample-rate", str(RATE), "--jobs", "2"]
    assert main(arguments) == 0
    assert "tasks looked at: 1, nothing wrong" in capsys.readouterr().out
    task.audio_path(RATE, "train", "train0.wav").unlink()
    assert main(arguments) == 1
    assert "train0.wav: missing" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "nowhere")]) == 1
    assert "nowhere does not exist: expected a task folder" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert main(["check", str(tmp_path / "empty")]) == 1
    assert "task_metadata.json" in capsys.readouterr().out
