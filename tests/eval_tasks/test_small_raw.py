"""Small raw data in the layouts of MAESTRO, NSynth, DCASE 2016 and Gunshot Triangulation.

What HEAR's own small archives lack is written here; the golden files are what hear-preprocess 2021.1.1
itself made of the same files.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import small_trees
import soundfile

import eval_tasks
from eval_tasks.adapters import gunshot_triangulation, hear_rules
from eval_tasks.adapters.hear_data_set import ModeOptions
from eval_tasks.adapters.piano_events import piano_events
from eval_tasks.adapters.raw_data import DATA_SETS
from eval_tasks.errors import UserError

GOLDEN = Path(__file__).parent / "golden"


def made(name: str, tmp_path: Path, sample_rates: list[int]) -> eval_tasks.TaskFolder:
    tree = {"nsynth_pitch_kfold": "nsynth"}.get(name, name)
    getattr(small_trees, tree)(tmp_path / "raw")
    return eval_tasks.prepare(
        name, raw=[tmp_path / "raw"], out=tmp_path, mode="small", sample_rates=sample_rates, jobs=1
    )


def events(rows: list[dict[str, object]]) -> list[tuple[object, float, float]]:
    """To a nanosecond: hear-preprocess's times went through a CSV file."""
    return sorted((row["label"], round(row["start"], 6), round(row["end"], 6)) for row in rows)


@pytest.mark.parametrize("name", ["dcase2016_task2", "maestro", "nsynth", "nsynth_pitch_kfold"])
def test_task_folder_is_that_of_hear_preprocess(name, tmp_path):
    expected = json.loads((GOLDEN / f"{DATA_SETS[name].folder_name('small')}-written.json").read_text())
    rates = {row["rate_hz"] for split in expected["splits"].values() for row in split.values()}
    task = made(name, tmp_path, sorted(rates))
    assert task.vocabulary == expected["vocabulary"]
    assert {key: task.metadata[key] for key in expected["metadata"]} == expected["metadata"]
    for split, clips in expected["splits"].items():
        labels = json.loads((task.path / f"{split}.json").read_text(encoding="utf-8"))
        assert labels.keys() == clips.keys()
        for clip, row in clips.items():
            if task.is_event:
                assert events(labels[clip]) == events(row["labels"])
            else:
                assert labels[clip] == row["labels"]
            samples, _ = soundfile.read(task.audio_path(row["rate_hz"], split, clip), dtype="int16")
            assert hashlib.sha1(samples.tobytes()).hexdigest() == row["pcm16_sha1"], clip


@pytest.mark.parametrize(("name", "rule"), [("maestro", "seed"), ("dcase2016_task2", "share")])
def test_the_golden_files_see_another_rule(name, rule, tmp_path, monkeypatch):
    """The seed of the folds or the share of a split changed, and the names of a split are others."""
    if rule == "seed":
        monkeypatch.setattr(hear_rules, "FOLD_SEEDS", ("another seed",))
    else:
        mode = DATA_SETS[name].modes["full"]  # 60/20/20
        monkeypatch.setitem(DATA_SETS[name].modes, "small", mode)
    with pytest.raises(AssertionError):
        test_task_folder_is_that_of_hear_preprocess(name, tmp_path)


# MIDI


def write_midi(path: Path, notes: list[tuple[int, float, float]], pedal: list[tuple[float, int]]) -> Path:
    midi = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=120)
    piano = pretty_midi.Instrument(0)
    piano.notes = [pretty_midi.Note(80, pitch, start, end) for pitch, start, end in notes]
    piano.control_changes = [pretty_midi.ControlChange(64, value, time) for time, value in pedal]
    midi.instruments.append(piano)
    midi.write(str(path))
    return path


def played(path: Path) -> list[tuple[int, float, float]]:
    return sorted((e["label"], round(e["start"]) / 1000, round(e["end"]) / 1000) for e in piano_events(path))


def test_pedal(tmp_path):
    notes = [(60, 0.0, 0.5), (64, 0.25, 3.0), (60, 1.5, 1.75), (20, 0.0, 1.0), (109, 0.0, 1.0)]
    without = write_midi(tmp_path / "without.mid", notes, [])
    assert played(without) == [(60, 0.0, 0.5), (60, 1.5, 1.75), (64, 0.25, 3.0)]
    # Down before the first key is released: that note sounds until its key is struck again, the second one
    # until the pedal is up; the key that is still pressed then goes on.
    held = write_midi(tmp_path / "held.mid", notes, [(0.25, 64), (2.0, 63)])
    assert played(held) == [(60, 0.0, 1.5), (60, 1.5, 2.0), (64, 0.25, 3.0)]
    half = write_midi(tmp_path / "half.mid", notes, [(0.25, 63), (2.0, 0)])
    assert played(half) == played(without), "63 is not down"
    never_up = write_midi(tmp_path / "never_up.mid", notes, [(0.25, 127)])
    assert played(never_up) == [(60, 0.0, 1.5), (60, 1.5, 3.0), (64, 0.25, 3.0)]


def test_not_midi(tmp_path):
    (tmp_path / "a.midi").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"a\.midi: not to be read as MIDI"):
        piano_events(tmp_path / "a.midi")


def test_midi_file_that_is_missing(tmp_path):
    small_trees.maestro(tmp_path)
    midi = next(tmp_path.rglob("*.midi"))
    midi.unlink()
    with pytest.raises(UserError, match=r"\.midi is missing, .*maestro-v3\.0\.0\.csv names it"):
        DATA_SETS["maestro"].plan([tmp_path], ModeOptions("small"))


# Gunshot Triangulation


@pytest.fixture
def four_recordings(tmp_path, monkeypatch):
    """24 shots in 24 bits, heard one after another by four microphones; the offsets made small."""
    rate = gunshot_triangulation.RATE
    names = list(gunshot_triangulation.RECORDINGS)
    offsets = dict(zip(names, (rate + 500, rate + 400, rate + 300, rate + 200), strict=True))
    monkeypatch.setattr(gunshot_triangulation, "RECORDINGS", offsets)
    rng = np.random.default_rng(0)
    begins = 30000 + np.cumsum(rng.integers(25003, 30000, 24))
    audio = {}
    for name, offset in offsets.items():
        sound = rng.uniform(-0.05, 0.05, offset - rate + begins[-1] + 80000)
        for begin in begins:
            sound[offset - rate + begin + np.arange(0, 9000, 3000)] = 0.85  # the echoes are of the same shot
        audio[name] = np.round(sound * 2**23).astype(np.int32) * 256
        soundfile.write(tmp_path / name, audio[name], rate, subtype="PCM_24")
    return tmp_path, audio, offsets, begins


def test_shots_are_cut_where_a_slow_loop_finds_them(four_recordings, tmp_path):
    folder, audio, offsets, begins = four_recordings
    task = eval_tasks.prepare("gunshot_triangulation", raw=[folder], out=tmp_path / "tasks", jobs=1)
    assert task.name == "gunshot_triangulation-v1.0-full" and task.sample_rates == [48000]
    first, offset = next(iter(audio.values())), next(iter(offsets.values()))
    shots, quiet_since = [], True
    for frame, sample in enumerate(first[offset - 48000 :] / 2.0**31):
        if quiet_since and abs(sample) >= 0.8 and len(shots) < 22:
            shots.append(frame)
            quiet_since = False
        if not quiet_since and frame - shots[-1] > 25000:
            quiet_since = True
    assert shots == list(begins[:22])
    assert sum(len(task.split(split)) for split in task.splits) == 88
    for split in task.splits:
        firearms = {name.split("_")[2] for name in task.split(split)}
        assert len(firearms) == 1, "a fold for each firearm"
        for clip, (label,) in task.split(split).items():
            mic, shot = int(label[3:]), int(clip.split("_")[1][4:])
            name, offset = list(offsets.items())[mic - 1]
            start = offset - 48000 + shots[shot] - 6000
            written, _ = soundfile.read(task.audio_path(48000, split, clip), dtype="int16")
            assert np.array_equal(written, audio[name][start : start + 72000] >> 16)
    assert len(task.split("fold00")) in (12, 16), "three shots a firearm, four of the first"


def test_a_recording_that_is_cut_short_or_missing(four_recordings):
    folder, audio, _, _ = four_recordings
    data_set = DATA_SETS["gunshot_triangulation"]
    soundfile.write(folder / "mic3raw.wav", audio["mic3raw.wav"][:-120000], 48000, subtype="PCM_24")
    with pytest.raises(UserError, match=r"mic3raw\.wav: \d+ frames at 48000 Hz, expected at least"):
        data_set.plan([folder], ModeOptions())
    (folder / "mic3raw.wav").unlink()
    with pytest.raises(UserError, match=r"expected one mic3raw\.wav of Gunshot Triangulation, found 0"):
        data_set.plan([folder], ModeOptions())
    for name, frames in (("mic3raw.wav", -1), ("mic1raw.wav", 300000)):
        soundfile.write(folder / name, audio[name][:frames], 48000, subtype="PCM_24")
    with pytest.raises(UserError, match="expected 22"):
        gunshot_triangulation.cut([folder / name for name in gunshot_triangulation.RECORDINGS])
