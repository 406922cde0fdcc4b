"""NSynth from small folders and archives."""

import json
import shutil
from pathlib import Path

from raw_sounds import pandas_sample, prepare, write_noise

from eval_tasks.adapters import nsynth
from eval_tasks.adapters.hear_data_set import Mode
from eval_tasks.tasks.check import check_tasks
from eval_tasks.tasks.task_folder import TaskFolder


def make_nsynth(root: Path) -> list[Path]:
    folders = []
    for split, instruments in (("train", ["a", "b", "c"]), ("valid", ["d"]), ("test", ["e"])):
        folder = root / f"nsynth-{split}"
        notes = {}
        for instrument in instruments:
            for pitch in (20, 21, 60, 108, 109):
                name = f"{instrument}_acoustic_000-{pitch:03d}-100"
                notes[name] = {"pitch": pitch, "instrument_str": instrument, "note_str": name}
                write_noise(folder / "audio" / f"{name}.wav", 4 * 8000, 8000)
        (folder / "examples.json").write_text(json.dumps(notes))
        folders.append(folder)
    return folders


def test_nsynth(tmp_path):
    raw = make_nsynth(tmp_path / "raw")
    assert prepare("nsynth", raw, tmp_path, "--mode", "5h") == 0
    task = TaskFolder.open(tmp_path / "nsynth_pitch-v2.2.3-5h")
    assert task.vocabulary == ["21", "60", "108"]
    assert task.evaluation == ["pitch_acc", "chroma_acc"]
    assert json.loads((task.path / "test.json").read_text()) == {
        f"e_acoustic_000-{pitch:03d}-100.wav": [pitch] for pitch in (21, 60, 108)
    }
    instruments = {split: {name[0] for name in task.split(split)} for split in task.splits}
    assert instruments == {"train": {"a", "b", "c"}, "valid": {"d"}, "test": {"e"}}
    assert check_tasks([task.path], 8000, quick=True)[0].path.name == "labelvocabulary.csv", "gaps here"


def test_nsynth_from_archives_and_its_modes(tmp_path, monkeypatch):
    make_nsynth(tmp_path / "raw")
    archives = [
        Path(
            shutil.make_archive(
                str(tmp_path / f"nsynth-{split}"), "gztar", tmp_path / "raw", f"nsynth-{split}"
            )
        )
        for split in ("test", "train", "valid")
    ]
    for mode, clips in (("5h", 4), ("50h", 49)):
        limits = {"train": clips, "valid": 2, "test": 9}
        monkeypatch.setitem(nsynth.PITCH.modes, mode, Mode(4.0, limits))
    assert prepare("nsynth", archives, tmp_path, "--mode", "5h") == 0
    assert prepare("nsynth", archives, tmp_path, "--mode", "50h") == 0
    small, large = (TaskFolder.open(tmp_path / f"nsynth_pitch-v2.2.3-{mode}") for mode in ("5h", "50h"))
    assert [len(small.split(split)) for split in small.splits] == [4, 2, 3]
    assert [len(large.split(split)) for split in large.splits] == [9, 2, 3]
    stems = [name.removesuffix(".wav") for name in large.split("train")]
    assert [name.removesuffix(".wav") for name in small.split("train")] == pandas_sample(stems, "train", 4)
    assert not (tmp_path / ".raw-nsynth").exists()


def test_nsynth_without_a_split_or_a_note(tmp_path, capsys):
    raw = make_nsynth(tmp_path / "raw")
    assert prepare("nsynth", raw[:2], tmp_path) == 1
    assert "expected one folder nsynth-test" in capsys.readouterr().err
    (raw[0] / "audio" / "a_acoustic_000-060-100.wav").unlink()
    assert prepare("nsynth", raw, tmp_path) == 1
    assert "1 files of nsynth are missing" in capsys.readouterr().err
    assert prepare("nsynth", raw, tmp_path, "--mode", "small") == 0
