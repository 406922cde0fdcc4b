import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
import soundfile

from eval_tasks.__main__ import main
from eval_tasks.errors import UserError
from eval_tasks.tasks import resample
from eval_tasks.tasks.resample import resample_task
from eval_tasks.tasks.task_folder import TaskFolder, write_description
from eval_tasks.workers import at_once

METADATA = {
    "task_name": "tones",
    "version": "v1",
    "mode": "full",
    "embedding_type": "scene",
    "prediction_type": "multiclass",
    "split_mode": "trainvaltest",
    "sample_duration": 1.0,
    "evaluation": ["top1_acc"],
    "splits": ["train", "valid", "test"],
}


def tone(hz: float, rate: int, frames: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(frames) / rate)


def make_task(
    path: Path, rate: int = 48000, clips: int = 3, frames: int = 48000, ext: str = "wav"
) -> TaskFolder:
    splits = {split: {f"{split}{i}.{ext}": ["a"] for i in range(clips)} for split in METADATA["splits"]}
    task = write_description(path, METADATA, splits, ["a"])
    for split, content in splits.items():
        (path / str(rate) / split).mkdir(parents=True)
        for number, name in enumerate(content):
            soundfile.write(path / str(rate) / split / name, tone(1000 + 100 * number, rate, frames), rate)
    return task


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("rates", [(48000, 16000), (44100, 16000), (16000, 48000)])
def test_tone_stays_the_tone(tmp_path, rates):
    source, wanted = rates
    task = make_task(tmp_path / "tones", source, frames=source)
    assert resample_task(task, wanted, progress=False)
    for split in task.splits:
        for number, name in enumerate(task.split(split)):
            audio, rate = soundfile.read(task.audio_path(wanted, split, name))
            assert rate == wanted and len(audio) == wanted
            inner = slice(wanted // 20, -wanted // 20)
            expected = tone(1000 + 100 * number, wanted, wanted)
            np.testing.assert_allclose(audio[inner], expected[inner], atol=1e-3)


def test_what_the_new_rate_cannot_hold_is_gone(tmp_path):
    task = make_task(tmp_path / "tones", clips=1)
    for split in task.splits:
        soundfile.write(task.audio_path(48000, split, f"{split}0.wav"), tone(11000, 48000, 48000), 48000)
    resample_task(task, 16000, progress=False)
    audio, _ = soundfile.read(task.audio_path(16000, "train", "train0.wav"))
    assert np.abs(audio[800:-800]).max() < 1e-3


def test_what_the_new_rate_can_hold_is_kept(tmp_path):
    """A tone at seven eighths of the new band, where a filter of lower quality takes 12 dB away."""
    task = make_task(tmp_path / "tones", clips=1)
    for split in task.splits:
        soundfile.write(task.audio_path(48000, split, f"{split}0.wav"), tone(7000, 48000, 48000), 48000)
    resample_task(task, 16000, progress=False)
    audio, _ = soundfile.read(task.audio_path(16000, "train", "train0.wav"))
    np.testing.assert_allclose(audio[800:-800], tone(7000, 16000, 16000)[800:-800], atol=1e-3)


def test_a_container_that_changes_the_length_is_a_problem(tmp_path, monkeypatch, capsys):
    task = make_task(tmp_path / "tones", clips=1)
    write = resample.write_audio
    monkeypatch.setattr(resample, "write_audio", lambda path, audio, *more: write(path, audio[:-2], *more))
    assert main(["resample", str(task.path), "--sample-rate", "16000", "--jobs", "1", "--quiet"]) == 1
    assert "15998 frames at 16000 Hz, expected 16000 within 1" in capsys.readouterr().err
    assert task.sample_rates == [48000]


@pytest.mark.parametrize("ext", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("frames", [2, 3333, 48001])
def test_container_and_length(tmp_path, ext, frames):
    task = make_task(tmp_path / "tones", clips=1, frames=frames, ext=ext)
    resample_task(task, 22050, progress=False)
    before = soundfile.info(task.audio_path(48000, "test", f"test0.{ext}"))
    after = soundfile.info(task.audio_path(22050, "test", f"test0.{ext}"))
    assert (before.format, before.subtype) == (after.format, after.subtype)
    assert after.samplerate == 22050 and abs(after.frames - frames * 22050 / 48000) <= 1


def test_a_rate_that_opus_does_not_know(tmp_path):
    """The clip keeps its name and its container, and gets another codec."""
    task = make_task(tmp_path / "tones", 16000, clips=1, frames=16000, ext="ogg")
    for clip in (task.path / "16000").rglob("*.ogg"):
        samples, rate = soundfile.read(clip)
        soundfile.write(clip, samples, rate, format="OGG", subtype="OPUS")
    for rate, subtype in ((44100, "VORBIS"), (48000, "OPUS")):
        assert resample_task(task, rate, from_rate=16000, progress=False)
        for clip in (task.path / str(rate)).rglob("*.ogg"):
            info = soundfile.info(clip)
            assert (info.samplerate, info.subtype, info.format) == (rate, subtype, "OGG")


def test_loud_audio_is_clipped_and_does_not_wrap(tmp_path):
    task = make_task(tmp_path / "tones", clips=1)
    square = np.sign(tone(100, 48000, 48000))
    soundfile.write(task.audio_path(48000, "train", "train0.wav"), square, 48000, subtype="PCM_16")
    resample_task(task, 16000, progress=False)
    audio, _ = soundfile.read(task.audio_path(16000, "train", "train0.wav"))
    expected = np.sign(tone(100, 16000, 16000))
    far_from_edges = np.arange(16000) % 80 // 20 % 2 == 1
    assert (np.sign(audio) == expected)[far_from_edges & (np.abs(expected) > 0)].mean() > 0.99


def test_parallel_is_the_same_and_the_second_time_nothing_is_done(tmp_path):
    one, two = make_task(tmp_path / "one"), make_task(tmp_path / "two")
    assert resample_task(one, 16000, jobs=1, progress=False)
    assert resample_task(two, 16000, jobs=2, progress=False)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert not resample_task(one, 16000, progress=False)


def test_starts_from_the_highest_rate_unless_told(tmp_path):
    task = make_task(tmp_path / "tones", 8000, clips=1, frames=8000)
    resample_task(task, 48000, progress=False)
    for split in task.splits:
        soundfile.write(task.audio_path(48000, split, f"{split}0.wav"), tone(5000, 48000, 48000), 48000)
    resample_task(task, 16000, progress=False)
    resample_task(task, 32000, from_rate=8000, progress=False)
    hz = {
        rate: np.abs(np.fft.rfft(soundfile.read(task.audio_path(rate, "test", "test0.wav"))[0])).argmax()
        for rate in (16000, 32000)
    }
    assert hz == {16000: 5000, 32000: 1000}


def test_a_broken_clip_is_named_and_the_rest_is_kept(tmp_path, capsys):
    task = make_task(tmp_path / "tones")
    broken = task.audio_path(48000, "valid", "valid1.wav")
    whole = broken.read_bytes()
    broken.write_bytes(b"RIFF is all there is")
    assert main(["resample", str(task.path), "--sample-rate", "16000", "--jobs", "1", "--quiet"]) == 1
    message = capsys.readouterr().err
    assert str(broken) in message and ": 1 of " in message and "valid0" not in message
    assert task.sample_rates == [48000]
    kept = task.path / "16000-from-48000.partial" / "train" / "train0.wav"
    made_at = kept.stat().st_mtime_ns
    broken.write_bytes(whole)
    assert main(["resample", str(task.path), "--sample-rate", "16000", "--jobs", "1", "--quiet"]) == 0
    assert task.audio_path(16000, "train", "train0.wav").stat().st_mtime_ns == made_at
    assert task.sample_rates == [16000, 48000] and not task.missing_audio(16000)


def test_missing_clips_are_named(tmp_path):
    task = make_task(tmp_path / "tones")
    task.audio_path(48000, "test", "test2.wav").unlink()
    with pytest.raises(UserError, match=r"1 clips are missing(.|\n)*test2\.wav"):
        resample_task(task, 16000, progress=False)
    with pytest.raises(UserError, match=r"no audio at 44100 Hz.*\[48000\]"):
        resample_task(task, 16000, from_rate=44100, progress=False)


def test_incomplete_folder_of_that_rate_is_not_taken_for_complete(tmp_path):
    task = make_task(tmp_path / "tones")
    (task.path / "16000" / "train").mkdir(parents=True)
    with pytest.raises(UserError, match="lacks 9 clips"):
        resample_task(task, 16000, progress=False)


def test_full_disk_is_found_before_work(tmp_path, monkeypatch):
    task = make_task(tmp_path / "tones")
    monkeypatch.setattr("eval_tasks.files.free_bytes", lambda folder: 1000)
    with pytest.raises(UserError, match=r"needs about .* GB .* are free"):
        resample_task(task, 96000, progress=False)


def test_disk_that_fills_up_in_the_middle(tmp_path, monkeypatch, capsys):
    """Writing to /dev/full fails as a full disk does."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    task = make_task(tmp_path / "tones")
    write = soundfile.write
    monkeypatch.setattr(
        "eval_tasks.tasks.audio.soundfile.write",
        lambda path, *args, **options: write(
            "/dev/full" if "valid1" in str(path) else path, *args, **options
        ),
    )
    arguments = ["resample", str(task.path), "--sample-rate", "16000", "--jobs", "1", "--quiet"]
    assert main(arguments) == 1
    message = capsys.readouterr().err
    assert "valid1.wav" in message and "is the disk full" in message and task.sample_rates == [48000]
    monkeypatch.undo()
    assert main(arguments) == 0
    assert task.sample_rates == [16000, 48000] and not task.missing_audio(16000)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sample-rate", "0"], "sample rate 0: expected 1000 to 1000000 Hz"),
        (["--sample-rate", "2147483648"], "sample rate 2147483648: expected 1000 to 1000000 Hz"),
        (["--sample-rate", "8000", "--jobs", "0"], "--jobs 0: expected 1 or more, or -1"),
        (["--sample-rate", "8000", "--jobs", "-2"], "--jobs -2: expected 1 or more, or -1"),
    ],
)
def test_numbers_without_sense_are_a_sentence(tmp_path, capsys, options, words):
    task = make_task(tmp_path / "tones", 16000, clips=1, frames=1600)
    assert main(["resample", str(task.path), *options]) == 1
    assert words in capsys.readouterr().err


def test_no_more_processes_than_pieces_of_work():
    assert [at_once(jobs, count) for jobs, count in ((1, 9), (3, 9), (2**31, 9), (4, 0))] == [1, 3, 9, 1]
    assert at_once(-1, 1000) == joblib.cpu_count()


def test_one_bad_task_does_not_stop_the_others(tmp_path, capsys):
    make_task(tmp_path / "a")
    make_task(tmp_path / "b").audio_path(48000, "test", "test0.wav").unlink()
    make_task(tmp_path / "c")
    assert main(["resample", str(tmp_path), "--sample-rate", "16000", "--jobs", "1", "--quiet"]) == 1
    assert "1 clips are missing" in capsys.readouterr().err
    assert [(tmp_path / name / "16000").exists() for name in "abc"] == [True, False, True]


def test_kill_and_run_again_gives_what_an_undisturbed_run_gives(tmp_path):
    undisturbed = make_task(tmp_path / "undisturbed", clips=40)
    resample_task(undisturbed, 16000, progress=False)
    task = make_task(tmp_path / "killed", clips=40)
    command = [sys.executable, "-m", "eval_tasks", "resample", str(task.path), "--sample-rate", "16000"]
    process = subprocess.Popen([*command, "--jobs", "1", "--quiet"], start_new_session=True)
    partial = task.path / "16000-from-48000.partial"
    while len(list(partial.glob("*/*.wav"))) < 20:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert task.sample_rates == [48000]
    # What a process killed in the middle of a write leaves: a temporary file, and a clip cut short.
    (partial / "train" / ".train0.wav.1.tmp").write_bytes(b"half")
    (partial / "train" / "train0.wav").write_bytes((partial / "train" / "train0.wav").read_bytes()[:1000])
    assert resample_task(task, 16000, progress=False)
    assert content(task.path) == content(undisturbed.path)


def test_help_explains(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["resample", "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and "soxr" in text and "--from-rate" in text


def test_unknown_verb_and_no_task(tmp_path, capsys):
    assert main(["resampel"]) == 2
    assert "resample" in capsys.readouterr().err
    assert main(["resample", str(tmp_path), "--sample-rate", "16000"]) == 1
    assert "expected a task folder" in capsys.readouterr().err


def test_folder_without_its_metadata_keys(tmp_path):
    (tmp_path / "task_metadata.json").write_text(json.dumps({"task_name": "x"}))
    with pytest.raises(UserError, match=r"lacks.*'splits'"):
        TaskFolder.open(tmp_path)
