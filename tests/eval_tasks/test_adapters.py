import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas
import pytest
import soundfile

from eval_tasks.__main__ import main
from eval_tasks.adapters import dcase2016_task2, hear_rules, nsynth, speech_commands
from eval_tasks.adapters.build import build, fingerprint
from eval_tasks.adapters.hear_data_set import Mode, ModeOptions
from eval_tasks.errors import UserError
from eval_tasks.tasks.check import check_tasks
from eval_tasks.tasks.task_folder import TaskFolder, task_paths

RATE = 16000


def write_noise(path: Path, frames: int, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Noise that depends on the file's name only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int(hashlib.sha1(path.name.encode()).hexdigest()[:8], 16)
    audio = np.random.default_rng(seed).integers(-9000, 9000, (frames, channels), dtype=np.int16)
    soundfile.write(path, audio, rate, subtype="PCM_16")
    return audio


def read_pcm(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="int16")[0]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def zip_folder(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in sorted(folder.rglob("*")):
            zipped.write(path, path.relative_to(folder))
    return archive


def pandas_sample(stems: list[str], split: str, count: int) -> list[str]:
    """The rule as it is told: sorted, shuffled by pandas' sample seeded with SHA-1, the first ones kept."""
    seed = int(hashlib.sha1(f"SubsampleSplit({split})".encode()).hexdigest(), 16) % (2**32 - 1)
    frame = pandas.DataFrame({"stem": stems}).sort_values("stem")
    return sorted(frame.sample(frac=1, random_state=seed)["stem"].iloc[:count])


# Rules


def test_lengths_of_modes_are_those_of_the_task_sheet():
    assert hear_rules.clips_within(5, 1.0) == {"train": 16000, "valid": 2000, "test": 2000}
    assert 16000 + 2000 + 4890 == 22890, "Speech Commands 5h keeps the whole test set"
    assert sum(hear_rules.clips_within(5, 4.0).values()) == 5000, "NSynth 5h"
    assert hear_rules.clips_within(50, 4.0)["train"] == 40000


@pytest.mark.parametrize("count", [0, 1, 7, 40, 100])
def test_subsample_is_pandas_sample(count):
    stems = [f"word_{number:03d}" for number in range(40)]
    random.Random(1).shuffle(stems)
    for split in hear_rules.SPLITS:
        assert hear_rules.subsample(stems, split, count) == pandas_sample(stems, split, count)
    assert hear_rules.subsample(stems, "train", None) == sorted(stems)


def test_split_by_percent():
    keys = {f"scene{number}" for number in range(72)}
    split = hear_rules.split_by_percent(keys, 20, 20)
    order = sorted(keys)
    random.Random("split_train_test_val").shuffle(order)
    assert {key for key in keys if split[key] == "valid"} == set(order[:14])
    assert {key for key in keys if split[key] == "test"} == set(order[14:28])
    assert Counter(split.values()) == {"train": 44, "valid": 14, "test": 14}


def test_folds_hold_every_label_and_are_the_first_shuffle_that_does():
    labels = {f"key{number:02d}": {"rare" if number < 3 else "common"} for number in range(12)}
    folds = hear_rules.split_into_folds(labels, 3)
    assert sorted(folds[key] for key in ("key00", "key01", "key02")) == ["fold00", "fold01", "fold02"]
    for seed in ("split_k_folds", *(f"split_k_folds_retry_{i}" for i in range(999))):
        order = sorted(labels)
        random.Random(seed).shuffle(order)
        thirds = [order[0:4], order[4:8], order[8:12]]
        if all(any(labels[key] == {"rare"} for key in third) for third in thirds):
            break
    assert [{key for key in labels if folds[key] == f"fold0{i}"} for i in range(3)] == [*map(set, thirds)]


def test_shuffles_have_not_changed_with_python_or_numpy():
    """Golden values: another order would make other splits than the published ones."""
    keys = list("abcdefghij")
    assert "".join(hear_rules.subsample(keys, "train", 4)) == "bcij"
    parts = hear_rules.split_by_percent(set(keys), 30, 30)
    assert "".join(key for key in keys if parts[key] == "valid") == "eij"
    folds = hear_rules.split_into_folds({key: {"x"} for key in keys}, 5)
    assert "".join(folds[key][-1] for key in keys) == "4320203141"


# Speech Commands


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


def prepare(adapter: str, raw: list[Path], out: Path, *options: str) -> int:
    paths = [str(path) for path in raw]
    return main(["prepare", adapter, "--raw", *paths, "--out", str(out), "--jobs", "1", "--quiet", *options])


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


# NSynth


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


# DCASE 2016 task 2


def make_dcase(root: Path, scenes: int) -> list[Path]:
    """The two archives' layouts, a quarter of the scenes in the first."""
    folders = [
        root / "dcase2016_task2_train_dev" / "dcase2016_task2_dev",
        root / "dcase2016_task2_test_public",
    ]
    for number in range(scenes):
        folder = folders[number * 4 // scenes > 0]
        name = f"{'eval' if number * 4 // scenes else 'dev'}_1_ebr_-6_nec_{number}_poly_0"
        write_noise(folder / "sound" / f"{name}.wav", 8000, 8000)
        (folder / "annotation").mkdir(exist_ok=True)
        (folder / "annotation" / f"{name}.txt").write_text(
            "2.5\t3.25\tcough\n1.0\t1.5\tdrawer\n119.5\t121.0\tkeys\n120.0\t122.0\tphone\n"
        )
    return [root / "dcase2016_task2_train_dev", root / "dcase2016_task2_test_public"]


def test_dcase_splits(tmp_path):
    raw = make_dcase(tmp_path, 72)
    made = dcase2016_task2.DATA_SET.plan(raw, ModeOptions("full"))
    stems = sorted(path.stem for folder in raw for path in folder.rglob("*.txt"))
    random.Random("split_train_test_val").shuffle(stems)
    names = {split: {Path(clip.name).stem for clip in clips} for split, clips in made.splits.items()}
    assert names == {"valid": set(stems[:14]), "test": set(stems[14:28]), "train": set(stems[28:])}


def test_dcase_events(tmp_path, capsys):
    raw = make_dcase(tmp_path / "raw", 8)
    assert prepare("dcase2016_task2", raw, tmp_path) == 1
    assert "found 8 recordings of dcase2016_task2, expected 72" in capsys.readouterr().err
    assert prepare("dcase2016_task2", raw, tmp_path, "--mode", "small") == 0
    task = TaskFolder.open(tmp_path / "dcase2016_task2-hear2021-small")
    assert task.is_event and task.is_multilabel and task.vocabulary == ["cough", "drawer", "keys"]
    for split in task.splits:
        for events in task.split(split).values():
            assert events == [
                {"label": "drawer", "start": 1000.0, "end": 1500.0},
                {"label": "cough", "start": 2500.0, "end": 3250.0},
                {"label": "keys", "start": 119500.0, "end": 120000.0},
            ]
    assert check_tasks([task.path], 8000) == []


def test_dcase_bad_annotation(tmp_path, capsys):
    raw = make_dcase(tmp_path / "raw", 8)
    file = next(raw[0].rglob("*.txt"))
    file.write_text("1.0\t2.0\tcough\n3.0 4.0 cough\n")
    assert prepare("dcase2016_task2", raw, tmp_path, "--mode", "small") == 1
    assert f"{file}, line 2" in capsys.readouterr().err
