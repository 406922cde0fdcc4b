"""Packing again: after a kill, with more sources, with other settings, on a full disk."""

from __future__ import annotations

import io
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
from packing import ROOT, content, noise, rows, run_pack, write

from hear_msss import locks
from pretrain.corpus import checks, pack, store
from pretrain.corpus.audio import ClipSettings
from pretrain.corpus.find import source_files
from pretrain.corpus.info import describe
from pretrain.corpus.packed import PackedSource


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


def test_a_second_packer_waits_and_says_for_whom(tmp_path, monkeypatch):
    # Not capsys: its reader would throw away what the other thread writes meanwhile.
    stderr, deadline = io.StringIO(), time.monotonic() + 60
    monkeypatch.setattr(sys, "stderr", stderr)
    write(tmp_path / "in/a.wav", noise(2, 1))
    with ThreadPoolExecutor(1) as thread:
        with locks.locked(tmp_path / "out"):
            second = thread.submit(run_pack, tmp_path / "in", "--out", tmp_path / "out")
            while "waiting for" not in stderr.getvalue() and time.monotonic() < deadline:
                time.sleep(0.01)
            said = stderr.getvalue()
            assert f"waiting for process {os.getpid()} on " in said and str(tmp_path / "out") in said
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


def test_full_disk_is_no_fault_of_the_file(tmp_path, monkeypatch, capsys):
    write(tmp_path / "in/a.wav", noise(2, 1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pretrain.corpus.audio.cut", full)
    assert run_pack(tmp_path / "in", "--out", tmp_path / "out") == 1
    assert "No space left" in capsys.readouterr().err
    monkeypatch.undo()
    assert run_pack(tmp_path / "in", "--out", tmp_path / "out") == 0
