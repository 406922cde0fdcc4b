"""What `check` says of the description of a task folder, and of several folders."""

import json

import pytest
from checked_tasks import RATE, make_task, messages, rewrite

from eval_tasks.__main__ import main
from eval_tasks.tasks.check import check_tasks, embedding_bytes


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
