"""Tables whose times, names or encoding do not fit: one sentence for each."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from csv_tables import opened, prepare, write_csv

from eval_tasks.__main__ import main
from eval_tasks.tasks.check import check_tasks


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


def test_a_pipe_is_no_table_and_no_recording(birds, capsys):
    """Whoever opens a pipe waits for its writer, so this runs in a process that can be ended."""
    os.mkfifo(birds / "table.csv")
    command = [sys.executable, "-m", "eval_tasks", "prepare", "csv", "--csv", birds / "table.csv"]
    command += ["--audio", birds / "audio", "--name", "birds", "--type", "scene", "--out", birds / "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "table.csv is a pipe or a device" in done.stderr
    os.mkfifo(birds / "audio/pipe.wav")
    (birds / "pipes.csv").write_text("file,label\npipe.wav,wren\n")
    assert prepare(birds, name="pipes.csv") == 1
    assert "pipe.wav" in capsys.readouterr().err


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
    [
        (
            "file,start,end,label\nf0.wav,100,900,a\nf1.wav,100,900,b\n",
            "event",
            "did you mean --time-unit ms?",
        ),
        ("file,label\nf0.wav,k\xe4fer\nf1.wav,vogel\n", "scene", "is not UTF-8"),
    ],
)
def test_tables_of_another_unit_or_encoding(tmp_path, capsys, table, kind, words):
    (tmp_path / "table.csv").write_bytes(table.encode("cp1252"))
    for name in ("f0.wav", "f1.wav"):
        soundfile.write(tmp_path / name, np.full(2 * 16000, 0.1), 16000)
    command = ["prepare", "csv", "--csv", str(tmp_path / "table.csv"), "--audio", str(tmp_path)]
    command += ["--name", "x", "--type", kind, "--out", str(tmp_path / "out"), "--jobs", "1", "--quiet"]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert words in error and "table.csv" in error
