"""Task folders from a table."""

import re
from collections import defaultdict

import numpy as np
import pytest
import soundfile
from csv_tables import opened, prepare, write_csv

from eval_tasks.tasks.check import check_tasks


def test_scenes_by_ratios(birds):
    assert prepare(birds) == 0
    task = opened(birds)
    assert [len(task.split(split)) for split in task.splits] == [20, 2, 2]
    assert task.sample_duration_s is None and task.vocabulary == ["robin", "wren"]
    assert task.evaluation == ["top1_acc"] and not task.is_multilabel
    assert check_tasks([task.path], 8000) == []
    labels = {name: entry for split in task.splits for name, entry in task.split(split).items()}
    assert labels["0_song0.wav"] == ["robin"] and labels["1_song1.wav"] == ["wren"]


def test_stereo_becomes_mono_and_length_is_kept(birds):
    assert prepare(birds) == 0
    task = opened(birds)
    (path,) = task.path.glob("8000/*/0_song3.wav")
    made, rate = soundfile.read(path)
    raw, _ = soundfile.read(birds / "audio" / "0/song3.wav")
    assert raw.shape == (4240, 2) and rate == 8000
    np.testing.assert_allclose(made, raw.mean(1), atol=1e-4)


def test_folds_keep_groups_together(birds):
    assert prepare(birds, "--folds", "4", "--group-column", "by", "--clip-seconds", "0.6") == 0
    task = opened(birds)
    assert task.splits == ["fold00", "fold01", "fold02", "fold03"] and task.metadata["nfolds"] == 4
    assert task.metadata["split_mode"] == "new_split_kfold"
    folds_of = defaultdict(set)
    for split in task.splits:
        for name in task.split(split):
            folds_of[int(name.split("song")[1].removesuffix(".wav")) // 3].add(split)
    assert len(folds_of) == 8 and all(len(folds) == 1 for folds in folds_of.values())
    assert {soundfile.info(path).frames for path in task.path.glob("8000/*/*.wav")} == {4800}
    assert check_tasks([task.path], 8000) == []


@pytest.mark.parametrize(
    ("values", "splits"),
    [
        (["train", "val", "test"], ["train", "valid", "test"]),
        (["1", "2", "10"], ["fold00", "fold01", "fold02"]),
    ],
)
def test_split_column(birds, values, splits):
    rows = [
        {"file": f"{n % 3}/song{n}.wav", "label": "x" if n % 2 else "y", "part": values[n % 3]}
        for n in range(24)
    ]
    write_csv(birds / "birds.csv", rows)
    assert prepare(birds, "--split-column", "part") == 0
    task = opened(birds)
    assert task.splits == splits
    for number, split in enumerate(splits):
        assert set(task.split(split)) == {f"{number}_song{n}.wav" for n in range(24) if n % 3 == number}


def test_multilabel(birds, capsys):
    rows = [{"file": f"{n % 3}/song{n}.wav", "label": label} for n in range(24) for label in ("a", "b")]
    write_csv(birds / "birds.csv", [*rows, {"file": "0/song0.wav", "label": "a"}])
    assert prepare(birds) == 1
    assert "24 clips have more than one label" in capsys.readouterr().err
    assert prepare(birds, "--multilabel") == 0
    task = opened(birds)
    assert task.is_multilabel and task.evaluation == ["mAP"]
    assert all(entry == ["a", "b"] for split in task.splits for entry in task.split(split).values())


@pytest.mark.parametrize(("unit", "scale"), [("s", 1.0), ("ms", 1000.0)])
def test_events(birds, unit, scale):
    rows = []
    for number in range(10):
        file = f"{number % 3}/song{number}.wav"
        if number == 5:
            rows.append({"file": file, "start": "", "end": "", "label": ""})
            continue
        rows.append({"file": file, "start": 0.3 * scale, "end": 0.45 * scale, "label": "chirp"})
        rows.append({"file": file, "start": 0.1 * scale, "end": 0.2 * scale, "label": "call"})
    write_csv(birds / "birds.csv", rows)
    options = ["--time-unit", unit, "--clip-seconds", "0.4", "--metric", "event_onset_50ms_fms"]
    assert prepare(birds, *options, kind="event") == 0
    task = opened(birds)
    events = {name: entry for split in task.splits for name, entry in task.split(split).items()}
    assert events["2_song5.wav"] == []
    assert events["0_song0.wav"] == [
        {"label": "call", "start": pytest.approx(100), "end": pytest.approx(200)},
        {"label": "chirp", "start": pytest.approx(300), "end": pytest.approx(400)},
    ]
    assert task.evaluation == ["event_onset_50ms_fms"] and task.is_event
    assert check_tasks([task.path], 8000) == []


def test_mixed_rates_need_a_rate(birds, capsys):
    soundfile.write(birds / "audio" / "0/song0.wav", np.zeros(8000), 16000)
    assert prepare(birds) == 1
    assert "[8000, 16000] Hz: give --sample-rate" in capsys.readouterr().err
    assert prepare(birds, "--sample-rate", "8000", "16000", "--clip-seconds", "0.5") == 0
    for rate in (8000, 16000):
        assert check_tasks([opened(birds).path], rate) == []


def test_every_bad_line_is_named(birds, capsys):
    rows = [{"file": f"{n % 3}/song{n}.wav", "start": 0, "end": 0.1, "label": "a"} for n in range(20)]
    rows[3]["file"] = "nowhere.wav"
    rows[5]["start"] = "soon"
    rows[7]["end"] = -1
    rows[9]["file"] = ""
    write_csv(birds / "birds.csv", rows)
    assert prepare(birds, kind="event") == 1
    message = capsys.readouterr().err
    assert "4 bad lines" in message
    for text in ("line 5: no file", "line 7: start 'soon'", "line 9: start 0, end -1", "line 11: no file"):
        assert text in message


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([{"name": "a", "label": "b"}], [], r"expected \['file', 'label'\]"),
        ([{"file": "0/song0.wav", "label": "01"}], [], "read label '01' as '1'"),
        ([{"file": "0/song0.wav", "label": "NA"}], [], "read label 'NA' as 'nan'"),
        ([{"file": "0/song0.wav", "label": "a"}], [], "no clips for valid, test"),
        ([{"file": "0/song0.wav", "label": "a"}], ["--folds", "2"], "--folds 2: expected 3 to 1"),
        ([{"file": "0/song0.wav", "label": "a"}], ["--ratios", "1", "0", "1"], "three numbers above 0"),
        ([{"file": "0/song0.wav", "label": "a"}], ["--split-column", "by"], "'by'"),
        (
            [{"file": "0/song0.wav", "label": "a", "by": x} for x in "xy"],
            ["--split-column", "by"],
            "a clip belongs to one of each",
        ),
        (
            [{"file": f"{n % 3}/song{n}.wav", "label": "rare" if n == 1 else "a"} for n in range(20)],
            ["--folds", "3"],
            "no split into 3 folds",
        ),
    ],
)
def test_what_cannot_be_made_is_refused(birds, rows, options, message, capsys):
    write_csv(birds / "birds.csv", rows)
    assert prepare(birds, *options) == 1
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not (birds / "out" / "birds-v1-full").exists()


def test_two_files_of_one_name(birds, capsys):
    (birds / "audio" / "0_song0.wav").write_bytes((birds / "audio" / "0" / "song0.wav").read_bytes())
    rows = [{"file": f"{n % 3}/song{n}.wav", "label": "a"} for n in range(24)]
    write_csv(birds / "birds.csv", [*rows, {"file": "0_song0.wav", "label": "a"}])
    assert prepare(birds) == 1
    assert "would both be called 0_song0.wav" in capsys.readouterr().err
