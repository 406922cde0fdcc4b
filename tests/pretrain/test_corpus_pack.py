"""pack and info: what goes in comes out as it should, whatever happens on the way."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import odd_jobs
import pytest
import soundfile

from hear_msss import locks
from hear_msss.audio import find_sounds
from pretrain.corpus import checks, pack, store
from pretrain.corpus.audio import ClipSettings
from pretrain.corpus.find import source_files
from pretrain.corpus.info import describe
from pretrain.corpus.packed import PackedSource

ROOT = Path(__file__).resolve().parents[2]
STORE_FILES = (store.AUDIO, store.JOURNAL, store.INDEX_FILE, store.MANIFEST, store.REJECTS, store.CORPUS)


def noise(seconds: float, seed: int, rate: int = 16000, channels: int = 1) -> np.ndarray:
    shape = (round(seconds * rate), channels)
    return 0.1 * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def tone(frequency_hz: float, seconds: float, rate: int, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate)) / rate)


def write(path: Path, samples: np.ndarray, rate: int = 16000, subtype: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def run_pack(*arguments: object, jobs: int = 1) -> int:
    import argparse

    parser = argparse.ArgumentParser()
    pack.add_arguments(parser)
    return pack.run(parser.parse_args([*map(str, arguments), "--jobs", str(jobs)]))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in STORE_FILES}


def spectrum_peak(samples: np.ndarray, rate: int = 16000) -> tuple[float, float]:
    """Frequency and amplitude of the strongest sine, from the bin of a Hann-windowed FFT."""
    window = np.hanning(len(samples))
    magnitude = np.abs(np.fft.rfft(samples * window)) / (window.sum() / 2)
    top = int(magnitude.argmax())
    return top * rate / len(samples), float(magnitude[top])


@pytest.mark.parametrize(
    ("name", "rate", "channels", "subtype"),
    [
        ("pcm16.wav", 16000, 1, "PCM_16"),
        ("float.wav", 44100, 2, "FLOAT"),
        ("pcm24.wav", 96000, 1, "PCM_24"),
        ("low.wav", 8000, 1, "PCM_U8"),
        ("six.flac", 48000, 6, "PCM_16"),
        ("stereo.ogg", 44100, 2, "VORBIS"),
        ("mono.mp3", 48000, 1, "MPEG_LAYER_III"),
        ("old.aiff", 22050, 2, "PCM_16"),
        ("odd.wav", 11127, 1, "PCM_16"),
    ],
)
def test_tone_keeps_frequency_and_level(tmp_path, name, rate, channels, subtype):
    sine = tone(1000, 2.0, rate, amplitude=0.25)
    write(tmp_path / "in" / name, np.repeat(sine[:, None], channels, axis=1), rate, subtype)
    assert run_pack(tmp_path / "in", "--out", tmp_path / "out") == 0
    clip = PackedSource(tmp_path / "out").clip(0)
    assert clip.dtype == np.int16
    assert len(clip) == pytest.approx(32000, abs=0 if rate % 100 == 0 and name != "mono.mp3" else 2500)
    frequency_hz, amplitude = spectrum_peak(clip[8000:24000] / 32768)
    assert frequency_hz == pytest.approx(1000, abs=1)
    assert amplitude == pytest.approx(0.25, rel=0.02)


def test_channels_are_averaged_and_peaks_clipped(tmp_path):
    loud, soft = tone(500, 1, 16000, amplitude=1.0), tone(3000, 1, 16000, amplitude=0.4)
    write(tmp_path / "in/a_mix.wav", np.stack([loud, soft], axis=1), subtype="FLOAT")
    write(tmp_path / "in/b_over.wav", 2 * loud, subtype="FLOAT")
    run_pack(tmp_path / "in", "--out", tmp_path / "out")
    source = PackedSource(tmp_path / "out")
    expected = np.rint((loud + soft) / 2 * 32768)
    np.testing.assert_allclose(source.clip(0), expected, atol=1)
    np.testing.assert_allclose(source.clip(1), np.clip(np.rint(loud * 65536), -32768, 32767), atol=1)


def test_pcm16_at_16khz_is_stored_bit_for_bit_and_cut_into_clips(tmp_path):
    samples = np.random.default_rng(0).integers(-32768, 32768, 16000 * 23 + 4000, dtype=np.int16)
    write(tmp_path / "in/long.wav", samples)
    run_pack(tmp_path / "in", "--out", tmp_path / "out")
    manifest = rows(tmp_path / "out" / store.MANIFEST)
    assert [(row["start_s"], row["duration_s"]) for row in manifest] == [
        ("0.0", "10.0"),
        ("10.0", "10.0"),
        ("20.0", "3.25"),
    ]
    source = PackedSource(tmp_path / "out")
    np.testing.assert_array_equal(np.concatenate([source.clip(n) for n in range(3)]), samples)


def test_long_files_are_read_block_by_block(tmp_path, monkeypatch):
    sine = tone(440, 25, 44100)
    write(tmp_path / "in/long.wav", sine, 44100)
    run_pack(tmp_path / "in", "--out", tmp_path / "whole")
    monkeypatch.setattr("hear_msss.decoding.BLOCK_SAMPLES", 10007)
    run_pack(tmp_path / "in", "--out", tmp_path / "blocks")
    corpora = [PackedSource(tmp_path / name) for name in ("whole", "blocks")]
    whole, blocks = (np.concatenate([corpus.clip(number) for number in range(3)]) for corpus in corpora)
    assert len(whole) == len(blocks) == 25 * 16000
    assert np.abs(whole.astype(int) - blocks).max() <= 1


def test_rejects_are_listed_with_reasons_and_not_fatal(tmp_path):
    folder = tmp_path / "in"
    write(folder / "good.wav", noise(3, 1))
    write(folder / "silent.wav", np.zeros(16000))
    write(folder / "short.wav", noise(0.3, 2))
    write(folder / "nan.wav", np.full(16000, np.nan), subtype="FLOAT")
    write(folder / "late_silence.wav", np.concatenate([noise(10, 3)[:, 0], np.zeros(160000)]))
    write(folder / "tail.wav", noise(10.2, 4))
    (folder / "broken.flac").write_bytes(b"fLaC" + bytes(100))
    (folder / "video.m4a").write_bytes(bytes(100))
    (folder / "empty.wav").write_bytes(b"")
    (folder / "gone.wav").symlink_to(folder / "nowhere.wav")
    (folder / "readme.txt").write_text("no sound by its name: passed over")
    assert run_pack(folder, "--out", tmp_path / "out") == 0
    reasons = {row["path"]: row["reason"] for row in rows(tmp_path / "out" / store.REJECTS)}
    kinds = {path: reason.split(":")[0] for path, reason in reasons.items()}
    assert kinds == {
        "silent.wav": "silent",
        "short.wav": "too short",
        "nan.wav": "unreadable",
        "late_silence.wav": "silent",
        "tail.wav": "too short",
        "broken.flac": "unreadable",
        "video.m4a": "unreadable",
        "empty.wav": "unreadable",
        "gone.wav": "unreadable",
    }
    assert "finite" in reasons["nan.wav"]
    assert not any(str(tmp_path) in reason for reason in reasons.values())
    kept = [row["path"] for row in rows(tmp_path / "out" / store.MANIFEST)]
    assert kept == ["good.wav", "late_silence.wav", "tail.wav"]


def test_only_rejects_is_said_and_exits_with_1(tmp_path, capsys):
    write(tmp_path / "in/silent.wav", np.zeros(16000))
    assert run_pack(tmp_path / "in", "--out", tmp_path / "out") == 1
    assert "rejects.csv" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no clips to train on"):
        PackedSource(tmp_path / "out")
    assert "empty" in describe(tmp_path / "out")


def test_identical_audio_is_packed_once(tmp_path):
    samples = noise(12, 5)
    write(tmp_path / "in/a.wav", samples, subtype="PCM_16")
    write(tmp_path / "in/b.flac", soundfile.read(tmp_path / "in/a.wav")[0])
    write(
        tmp_path / "in/c.wav", np.concatenate([soundfile.read(tmp_path / "in/a.wav")[0], noise(9, 6)[:, 0]])
    )
    run_pack(tmp_path / "in", "--out", tmp_path / "out")
    manifest = rows(tmp_path / "out" / store.MANIFEST)
    assert [row["path"] for row in manifest] == ["a.wav", "a.wav", "c.wav", "c.wav"]
    assert len({row["sha256"] for row in manifest}) == 4
    rejects = [(row["path"], row["reason"]) for row in rows(tmp_path / "out" / store.REJECTS)]
    assert rejects == [("b.flac", "duplicate of in/a.wav"), ("c.wav", "duplicate of in/a.wav at 0.0 s")]


@pytest.fixture
def many(tmp_path: Path) -> Path:
    folder = tmp_path / "many"
    for number in range(60):
        write(folder / f"{number % 7}/{number:03}.wav", noise(0.4 + number % 5 * 4, number, 22050), 22050)
    write(folder / "0/zz_twin.wav", noise(0.4 + 3 * 4, 3, 22050), 22050)
    return folder


def test_running_again_changes_nothing_and_jobs_do_not_matter(tmp_path, many):
    run_pack(many, "--out", tmp_path / "one")
    first = content(tmp_path / "one")
    run_pack(many, "--out", tmp_path / "one")
    assert content(tmp_path / "one") == first
    pack.pack(source_files(str(many)), tmp_path / "two", jobs=2)
    assert content(tmp_path / "two") == first


SLOW_PACK = """
import sys, time
from pretrain.corpus import pack, store
pack.COMMIT_EVERY_S = 0.0
add = store.StoreWriter.add
def slow(self, entry, part):
    add(self, entry, part)
    self.audio.flush()  # so that the kill also finds audio that no journal line names
    time.sleep(0.02)
store.StoreWriter.add = slow
from pretrain.__main__ import main
sys.exit(main(["pack", *sys.argv[1:]]))
"""


def test_killed_twice_and_run_again_equals_undisturbed(tmp_path, many):
    run_pack(many, "--out", tmp_path / "whole")
    killed = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for wanted, jobs in ((5, 1), (25, 2)):
        command = [sys.executable, "-c", SLOW_PACK, str(many), "--out", str(killed), "--jobs", str(jobs)]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(store.read_journal(killed)) < wanted:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    done = store.read_journal(killed)
    assert 25 <= len(done) < 61
    with pytest.raises(FileNotFoundError, match="run the same pack command again"):
        PackedSource(killed)
    run_pack(many, "--out", killed)
    assert content(killed) == content(tmp_path / "whole")
    assert not (killed / "parts").exists()


def test_torn_journal_line_and_loose_audio_are_dropped(tmp_path, many):
    run_pack(many, "--out", tmp_path / "whole")
    expected = content(tmp_path / "whole")
    torn = tmp_path / "torn"
    few = source_files(str(many))[:20]
    pack.pack(few, torn)
    with (torn / store.JOURNAL).open("ab") as journal:
        journal.write(b'{"source":"many","name":"x')
    with (torn / store.AUDIO).open("ab") as audio:
        audio.write(bytes(12345))
    assert len(PackedSource(torn).lengths) == sum(len(e["clips"]) for e in store.read_journal(torn))
    run_pack(many, "--out", torn)
    assert content(torn) == expected


def test_missing_audio_is_not_passed_over(tmp_path, many):
    run_pack(many, "--out", tmp_path / "out")
    os.truncate(tmp_path / "out" / store.AUDIO, 1000)
    with pytest.raises(ValueError, match="do not fit"):
        PackedSource(tmp_path / "out")
    with pytest.raises(ValueError, match="damaged"):
        pack.pack(source_files(str(many)), tmp_path / "out")


def test_sources_are_added_to_a_corpus(tmp_path):
    write(tmp_path / "speech/a.wav", noise(2, 1))
    write(tmp_path / "birds/a.wav", noise(4, 2))
    run_pack(f"talk={tmp_path / 'speech'}", "--out", tmp_path / "out")
    before = PackedSource(tmp_path / "out").clip(0).copy()
    run_pack(f"talk={tmp_path / 'speech'}", tmp_path / "birds", "--out", tmp_path / "out")
    source = PackedSource(tmp_path / "out")
    np.testing.assert_array_equal(source.clip(0), before)
    assert source.summary()["sources"] == {
        "talk": {"hours": round(2 / 3600, 4), "clips": 1},
        "birds": {"hours": round(4 / 3600, 4), "clips": 1},
    }
    report = describe(tmp_path / "out")
    assert "2 clips of 2.00 to 4.00 s" in report and "birds" in report and "66.7 %" in report


def test_changed_files_are_told_and_mended_rejects_taken_up(tmp_path, capsys):
    write(tmp_path / "in/a.wav", noise(2, 1))
    write(tmp_path / "in/b.wav", noise(0.1, 2))
    run_pack(tmp_path / "in", "--out", tmp_path / "out")
    write(tmp_path / "in/a.wav", noise(3, 3))
    write(tmp_path / "in/b.wav", noise(1, 4))
    run_pack(tmp_path / "in", "--out", tmp_path / "out")
    assert "1 files have changed" in capsys.readouterr().err
    manifest = rows(tmp_path / "out" / store.MANIFEST)
    assert [(row["path"], row["duration_s"]) for row in manifest] == [("a.wav", "2.0"), ("b.wav", "1.0")]
    assert rows(tmp_path / "out" / store.REJECTS) == []


def test_settings_of_a_corpus_are_kept(tmp_path):
    write(tmp_path / "in/a.wav", noise(4, 1))
    run_pack(tmp_path / "in", "--out", tmp_path / "out", "--clip-s", 2, "--min-clip-s", 1)
    assert len(PackedSource(tmp_path / "out").lengths) == 2
    with pytest.raises(ValueError, match="begun with"):
        run_pack(tmp_path / "in", "--out", tmp_path / "out")
    with pytest.raises(ValueError, match="min_clip_s"):
        ClipSettings(clip_s=1, min_clip_s=2)


def test_folder_of_other_things_is_refused(tmp_path):
    write(tmp_path / "in/a.wav", noise(2, 1))
    with pytest.raises(ValueError, match="other files"):
        run_pack(tmp_path / "in", "--out", tmp_path / "in")
    assert (tmp_path / "in/a.wav").exists()


def test_a_second_packer_waits_and_says_for_whom(tmp_path, capsys):
    write(tmp_path / "in/a.wav", noise(2, 1))
    with ThreadPoolExecutor(1) as thread:
        with locks.locked(tmp_path / "out"):
            second = thread.submit(run_pack, tmp_path / "in", "--out", tmp_path / "out")
            said = ""
            while "waiting for" not in said:
                said += capsys.readouterr().err
            assert f"process {os.getpid()} on " in said and str(tmp_path / "out") in said
            assert not second.done() and not (tmp_path / "out" / store.JOURNAL).exists()
        assert second.result() == 0
    assert len(PackedSource(tmp_path / "out").lengths) == 1


def test_a_killed_worker_costs_its_file_alone_until_the_next_run(tmp_path, monkeypatch, capsys):
    for name in ("a", "b-kill", "c", "d"):
        write(tmp_path / f"in/{name}.wav", noise(2, ord(name[0])))
    monkeypatch.setattr(pack, "file_entry", odd_jobs.pack_or_die)
    command = [tmp_path / "in", "--out", tmp_path / "out"]
    assert run_pack(*command, jobs=2) == 1
    said = capsys.readouterr().err
    assert "not packed: in/b-kill.wav (its process was ended by SIGKILL: out of memory?), 1 in all" in said
    assert "b-kill.wav" in (tmp_path / "out" / store.REJECTS).read_text()
    assert len(PackedSource(tmp_path / "out").lengths) == 3
    monkeypatch.undo()
    assert run_pack(*command, jobs=2) == 0
    manifest = rows(tmp_path / "out" / store.MANIFEST)
    assert [row["path"] for row in manifest] == ["a.wav", "c.wav", "d.wav", "b-kill.wav"]
    assert rows(tmp_path / "out" / store.REJECTS) == []


def test_disk_space_is_checked_first(tmp_path, monkeypatch, capsys):
    write(tmp_path / "in/a.wav", noise(2, 1))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage(1, 1, 1000))
    assert run_pack(tmp_path / "in", "--out", tmp_path / "out") == 1
    assert "GB free" in capsys.readouterr().err
    assert not (tmp_path / "out" / store.AUDIO).exists()


def test_odd_files_are_packed_to_their_end_or_named_with_the_words_of_the_reader(odd_sounds, tmp_path, capfd):
    listed = tmp_path / "odd.txt"
    listed.write_bytes(b"".join(os.fsencode(path) + b"\n" for path in odd_sounds))
    assert run_pack(listed, "--out", tmp_path / "out", "--min-clip-s", 0.1, "--silence-dbfs", -90) == 0
    said = capfd.readouterr().err
    for entry in store.read_journal(tmp_path / "out"):
        right = odd_sounds[Path(entry["name"])]
        if right.seconds is None:
            assert not entry["clips"] and right.words in entry["reason"] and "unreadable" in entry["reason"]
            continue
        samples = sum(part[1] for part in [*entry["clips"], *entry["dropped"], *entry["duplicates"]])
        assert abs(samples / 16_000 - right.seconds) < right.slack_s, entry["name"]
        warnings = "; ".join(entry["warnings"])
        assert right.words in warnings if right.words else not warnings
        assert all(f"WARNING odd/{entry['name']}: {warning}" in said for warning in entry["warnings"])


def test_damaged_header_does_not_ask_for_the_moon(tmp_path):
    data = bytearray(write(tmp_path / "in/a.wav", noise(2, 1)).read_bytes())
    rate = data.index(b"fmt ") + 12
    data[rate : rate + 4] = (1000).to_bytes(4, "little")  # 2 s of 16 kHz become 32 s
    data[rate + 16 : rate + 20] = (1 << 30).to_bytes(4, "little")  # and its data the 149 hours of 1 GB
    (tmp_path / "in/a.wav").write_bytes(data)
    assert checks.guessed_duration_s(tmp_path / "in/a.wav") < 200


def test_full_disk_is_no_fault_of_the_file(tmp_path, monkeypatch, capsys):
    write(tmp_path / "in/a.wav", noise(2, 1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pretrain.corpus.audio.cut", full)
    assert run_pack(tmp_path / "in", "--out", tmp_path / "out") == 1
    assert "No space left" in capsys.readouterr().err
    monkeypatch.undo()
    assert run_pack(tmp_path / "in", "--out", tmp_path / "out") == 0


def test_file_lists_names_and_exclusions(tmp_path):
    for name in ("a.wav", "sub/b.wav", "sub/c.wav", "d.wav", "e.wav"):
        write(tmp_path / "in" / name, noise(1, hash(name) % 1000))
    (tmp_path / "mine.txt").write_text(f"in/a.wav\n\n# a comment\n{tmp_path / 'in/sub/b.wav'}\n")
    # With the mark that some editors put before the first line, which is part of no name.
    (tmp_path / "not.txt").write_text("sub/c.wav\n", encoding="utf-8-sig")
    run_pack(tmp_path / "mine.txt", "--out", tmp_path / "listed")
    packed = [(row["source"], row["path"]) for row in rows(tmp_path / "listed" / store.MANIFEST)]
    assert sorted(packed) == sorted([("mine", "in/a.wav"), ("mine", str(tmp_path / "in/sub/b.wav"))])
    run_pack(
        *(f"names={tmp_path / 'in'}", "--out", tmp_path / "rest"),
        *("--exclude", "names/d.*", "--exclude-list", tmp_path / "not.txt"),
    )
    assert [row["path"] for row in rows(tmp_path / "rest" / store.MANIFEST)] == [
        "a.wav",
        "e.wav",
        "sub/b.wav",
    ]
    (tmp_path / "not.txt").write_text("sub/c.wav\nnames/no_such.wav\n")
    command = (f"names={tmp_path / 'in'}", "--out", tmp_path / "no", "--exclude-list", tmp_path / "not.txt")
    with pytest.raises(ValueError, match=r"names/no_such\.wav \(1 in all\)"):
        run_pack(*command)
    assert not (tmp_path / "no").exists()


def test_source_per_folder(tmp_path):
    write(tmp_path / "in/birds/x/a.wav", noise(1, 1))
    write(tmp_path / "in/talk/a.wav", noise(1, 2))
    write(tmp_path / "in/loose.wav", noise(1, 3))
    run_pack(tmp_path / "in", "--source-per-folder", "--out", tmp_path / "out")
    packed = [(row["source"], row["path"]) for row in rows(tmp_path / "out" / store.MANIFEST)]
    assert packed == [("birds", "x/a.wav"), ("in", "loose.wav"), ("talk", "a.wav")]


def test_wrong_sources_say_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        source_files(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no sound files"):
        source_files(str(tmp_path / "empty"))
    (tmp_path / "binary.bin").write_bytes(b"abc\0def")
    with pytest.raises(ValueError, match="text list"):
        source_files(str(tmp_path / "binary.bin"))
    write(tmp_path / "one/in/a.wav", noise(1, 1))
    write(tmp_path / "two/in/a.wav", noise(1, 2))
    with pytest.raises(ValueError, match="name=PATH"):
        run_pack(tmp_path / "one/in", tmp_path / "two/in", "--out", tmp_path / "out")


def test_linked_folders_are_followed_once(tmp_path):
    write(tmp_path / "real/a.wav", noise(1, 1))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to(tmp_path / "real")
    (tmp_path / "real/loop").symlink_to(tmp_path / "in")
    assert [str(path.relative_to(tmp_path)) for path in find_sounds(tmp_path / "in")] == ["in/link/a.wav"]


def test_odd_file_names_survive(tmp_path):
    names = ['søster, »quoted".wav', "new\nline.wav", os.fsdecode(b"latin\xe9.wav")]
    for number, name in enumerate(names):
        write(tmp_path / "in" / "plain.wav", noise(1, number)).rename(tmp_path / "in" / name)
    run_pack(tmp_path / "in", "--out", tmp_path / "out")
    assert sorted(entry["name"] for entry in store.read_journal(tmp_path / "out")) == sorted(names)
    first = content(tmp_path / "out")
    run_pack(tmp_path / "in", "--out", tmp_path / "out")
    assert content(tmp_path / "out") == first
    assert json.loads(first[store.CORPUS])["clips"] == 3
