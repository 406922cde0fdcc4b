"""Which files are packed, and which source they belong to."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from packing import content, noise, rows, run_pack, write

from hear_msss.audio import find_sounds
from pretrain.corpus import store
from pretrain.corpus.find import source_files


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


def test_a_pipe_is_no_list(tmp_path):
    """Whoever opens a pipe waits for its writer, so this runs in a process that can be ended."""
    os.mkfifo(tmp_path / "list.txt")
    command = [sys.executable, "-m", "pretrain", "pack", tmp_path / "list.txt", "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "list.txt is a pipe or a device" in done.stderr


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
