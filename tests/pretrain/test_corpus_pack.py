"""What is in the store: every sound as it was, at 16 kHz, once; the rest with its reason."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from packing import noise, rows, run_pack, spectrum_peak, tone, write

from pretrain.corpus import checks, pack, store
from pretrain.corpus.info import describe
from pretrain.corpus.packed import PackedSource


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
    monkeypatch.setattr("hear_msss.reading.decoding.BLOCK_SAMPLES", 10007)
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


def test_odd_files_are_packed_to_their_end_or_named_with_the_words_of_the_reader(odd_sounds, tmp_path, capfd):
    listed = tmp_path / "odd.txt"
    listed.write_bytes(b"".join(os.fsencode(path) + b"\n" for path in odd_sounds))
    assert run_pack(listed, "--out", tmp_path / "out", "--min-clip-s", 0.1, "--silence-dbfs", -90) == 0
    said = capfd.readouterr()
    table = [tuple(row.values()) for row in rows(tmp_path / "out" / store.WARNINGS)]
    expected = []
    for entry in store.read_journal(tmp_path / "out"):
        right = odd_sounds[Path(entry["name"])]
        if right.seconds is None:
            assert not entry["clips"] and right.words in entry["reason"] and "unreadable" in entry["reason"]
            continue
        samples = sum(part[1] for part in [*entry["clips"], *entry["dropped"], *entry["duplicates"]])
        assert abs(samples / 16_000 - right.seconds) < right.slack_s, entry["name"]
        warnings = "; ".join(entry["warnings"])
        assert right.words in warnings if right.words else not warnings
        expected += [("odd", entry["name"], warning) for warning in entry["warnings"]]
    assert table == expected and len(table) > pack.WARNINGS_SHOWN
    assert f"{len({name for _, name, _ in table})} with a warning (warnings.csv)" in said.out
    shown = [line for line in said.err.splitlines() if line.startswith("WARNING")]
    first = table[: pack.WARNINGS_SHOWN]
    assert shown == [f"WARNING {source}/{name}: {warning}" for source, name, warning in first]


def test_warnings_of_a_mended_file_go_and_old_corpora_have_none(tmp_path, capfd):
    path = tmp_path / "in" / os.fsdecode(b"caf\xe9.wav")
    whole = write(tmp_path / "in/a.wav", noise(2, 1)).rename(path).read_bytes()
    path.write_bytes(whole[:60])  # 8 samples are left: too short
    run_pack(tmp_path / "in", "--out", tmp_path / "out")
    table = tmp_path / "out" / store.WARNINGS
    assert b"caf\xe9.wav" in table.read_bytes() and b"cut short" in table.read_bytes()
    path.write_bytes(whole)
    run_pack(tmp_path / "in", "--out", tmp_path / "out")
    assert table.read_text() == "source,path,warning\n"
    journal = tmp_path / "out" / store.JOURNAL
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    for entry in entries:
        del entry["warnings"]  # as in corpora of version 0.1
    journal.write_bytes(b"".join(map(store.StoreWriter._line, entries)))
    table.unlink()
    assert run_pack(tmp_path / "in", "--out", tmp_path / "out") == 0
    assert table.read_text() == "source,path,warning\n"
    assert "0 with a warning" in capfd.readouterr().out.splitlines()[-1]


def test_damaged_header_does_not_ask_for_the_moon(tmp_path):
    data = bytearray(write(tmp_path / "in/a.wav", noise(2, 1)).read_bytes())
    rate = data.index(b"fmt ") + 12
    data[rate : rate + 4] = (1000).to_bytes(4, "little")  # 2 s of 16 kHz become 32 s
    data[rate + 16 : rate + 20] = (1 << 30).to_bytes(4, "little")  # and its data the 149 hours of 1 GB
    (tmp_path / "in/a.wav").write_bytes(data)
    assert checks.guessed_duration_s(tmp_path / "in/a.wav") < 200
