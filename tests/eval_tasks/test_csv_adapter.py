import csv
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eval_tasks.__main__ import main
from eval_tasks.tasks.check import check_tasks
from eval_tasks.tasks.task_folder import TaskFolder


@pytest.fixture
def birds(tmp_path):
    """24 recordings of two kinds by eight recordists, of 0.5 to 0.73 s, some in stereo."""
    rows = []
    for number in range(24):
        file = f"{number % 3}/song{number}.wav"
        path = tmp_path / "audio" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        audio = np.random.default_rng(number).uniform(-0.5, 0.5, (4000 + 80 * number, 1 + number % 2))
        soundfile.write(path, audio, 8000)
        rows.append({"file": file, "label": "wren" if number % 4 else "robin", "by": f"r{number // 3}"})
    write_csv(tmp_path / "birds.csv", rows)
    return tmp_path


def write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def prepare(folder: Path, *options: str, kind: str = "scene", name: str = "birds.csv") -> int:
    arguments = ["--csv", str(folder / name), "--audio", str(folder / "audio"), "--name", "birds"]
    arguments += ["--type", kind, "--out", str(folder / "out"), "--jobs", "1", "--quiet", *options]
    return main(["prepare", "csv", *arguments])


def opened(folder: Path) -> TaskFolder:
    return TaskFolder.open(folder / "out" / "birds-v1-full")


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


def events(folder: Path, rows, *options: str) -> int:
    """Event rows (file, start, end, label) as a table, prepared."""
    names = ("file", "start", "end", "label")
    write_csv(folder / "events.csv", [dict(zip(names, row, strict=True)) for row in rows])
    return prepare(folder, *options, kind="event", name="events.csv")


def first_events(birds, start, end):
    """An event in each of the 24 recordings, of 0.5 s and more; robin and wren in turn."""
    return [(f"{n % 3}/song{n}.wav", start, end, ("robin", "wren")[n % 2]) for n in range(24)]


@pytest.mark.parametrize(
    ("start", "end", "options", "words"),
    [
        (100, 400, (), "did you mean --time-unit ms?"),
        (0.1, 0.4, ("--time-unit", "ms"), "did you mean --time-unit s?"),
        (0.1, 5.0, (), "24 events end after their recording\n"),
        (0.1, "inf", (), "expected 0 <= start <= end"),
        (0.1, "nan", (), "expected 0 <= start <= end"),
        (0.3, 0.4, ("--clip-seconds", "0.2"), "no event of robin, wren begins within the 0.2 s"),
    ],
)
def test_times_that_do_not_fit_the_recordings(birds, capsys, start, end, options, words):
    assert events(birds, first_events(birds, start, end), *options) == 1
    assert words in capsys.readouterr().err
    assert not (birds / "out/birds-v1-full").exists()


def test_events_that_overhang_a_little_are_cut(birds):
    assert events(birds, first_events(birds, 0.1, 0.55)) == 0  # the shortest has 0.5 s
    task = opened(birds)
    ends = {event["end"] for split in task.splits for clip in task.split(split).values() for event in clip}
    assert min(ends) == 500.0 and max(ends) == 550.0
    assert check_tasks([task.path], 8000) == []


def test_check_compares_events_with_each_file(birds):
    assert events(birds, first_events(birds, 0.1, 0.4)) == 0
    file = opened(birds).path / "train.json"
    content = json.loads(file.read_text())
    name = next(iter(content))
    content[name][0]["end"] = 5000.0
    file.write_text(json.dumps(content))
    [problem] = check_tasks([opened(birds).path], 8000)
    assert "events end after the clip" in str(problem) and name in str(problem)


def test_what_spreadsheets_leave_counts_as_nothing(birds):
    text = (birds / "birds.csv").read_text().replace("\n", ",,\n") + ",,,,\n\n"
    (birds / "birds.csv").write_text("\ufeff" + text, encoding="utf-8")
    assert prepare(birds) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("file,label\na.wav,Caf\xe9\n".encode("cp1252"), "line 2: byte 0xe9 is not UTF-8"),
        ("file,label\na.wav,x\n".encode("utf-16"), "line 1: this is UTF-16"),
        (b'file,label\na.wav,"' + b"x" * 200_000, "line 2: field larger than field limit"),
        (b"file,label\na.wav,x,y,z\nb.wav,x\n", "line 2: 4 cells for 2 columns"),
        (b"file,label,label\na.wav,x,y\n", "each once"),
        (b"", "0 rows"),
    ],
)
def test_tables_that_are_none_are_told_in_one_sentence(birds, capsys, content, words):
    (birds / "birds.csv").write_bytes(content)
    assert prepare(birds) == 1
    error = capsys.readouterr().err
    assert words in error and str(birds / "birds.csv") in error


def test_all_unreadable_files_are_named_at_once(birds, capsys):
    for name in ("0/song0.wav", "1/song1.wav"):
        (birds / "audio" / name).write_bytes(b"no sound")
    assert prepare(birds) == 1
    error = capsys.readouterr().err
    assert "song0.wav" in error and "song1.wav" in error


def test_names_and_labels_that_are_nearly_the_same(birds, capsys):
    rows = list(csv.DictReader((birds / "birds.csv").open()))
    write_csv(
        birds / "birds.csv", [{**row, "label": row["label"] + " " * (n % 2)} for n, row in enumerate(rows)]
    )
    assert prepare(birds) == 0 and "'wren', 'wren '" in capsys.readouterr().err
    (birds / "audio/0/SONG0.wav").write_bytes((birds / "audio/0/song0.wav").read_bytes())
    write_csv(birds / "birds.csv", [*rows, {**rows[0], "file": "0/SONG0.wav"}])
    assert prepare(birds) == 1 and "differ by case" in capsys.readouterr().err


def test_names_that_no_folder_can_hold(birds, capsys):
    assert prepare(birds, "--version", "../../x") == 1
    assert "expected a file name without a folder" in capsys.readouterr().err
    long = birds / "audio" / ("x" * 200) / ("y" * 60)
    long.mkdir(parents=True)
    (long / "a.wav").write_bytes((birds / "audio/0/song0.wav").read_bytes())
    rows = list(csv.DictReader((birds / "birds.csv").open()))
    file = str((long / "a.wav").relative_to(birds / "audio"))
    write_csv(birds / "birds.csv", [*rows, {**rows[0], "file": file}])
    assert prepare(birds) == 1 and "at most 240 fit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("table", "kind", "words"),
    [("all_in_ms.csv", "event", "did you mean --time-unit ms?"), ("cp1252.csv", "scene", "is not UTF-8")],
)
def test_the_cases(shared, tmp_path, capsys, table, kind, words):
    tables = shared / "cases/tables"
    command = [
        "prepare",
        "csv",
        "--csv",
        str(tables / table),
        "--audio",
        str(tables / "audio"),
        "--name",
        "x",
    ]
    assert main([*command, "--type", kind, "--out", str(tmp_path), "--jobs", "1", "--quiet"]) == 1
    error = capsys.readouterr().err
    assert words in error and table in error
