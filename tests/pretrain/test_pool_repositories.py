"""pool, with a real git repository that the test makes and git clones from a folder."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pretrain import pool
from pretrain.__main__ import main
from pretrain.pool import repositories
from pretrain.pool.repositories import Repository, chosen

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
# Names that git would read as patterns, each with a neighbour that the pattern fits.
ODD = (
    "[1] low.wav",
    "1 low.wav",
    "all *.wav",
    "all others.wav",
    "ton?.wav",
    "tone.wav",
    "b\\c.wav",
    "bc.wav",
)


def git(folder: Path, *words: str) -> str:
    person = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    return subprocess.run(
        ["git", *person, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def birds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository of sounds in three folders, a pointer, a link and other files, changed since."""
    if shutil.which("git") is None:
        pytest.skip("no git here")
    folder = tmp_path / "host/owner/birds"
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    for option in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        git(folder, "config", option, "true")
    for number in range(5):
        path = folder / f"notes/süd {number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.1 * np.random.default_rng(number).standard_normal(16000), 16000)
    shutil.copytree(folder / "notes", folder / "drums")
    for name in ODD:
        path = folder / f"odd/{name}"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(folder / "notes/süd 0.wav", path)
    (folder / "notes/stored elsewhere.wav").write_text(POINTER)
    (folder / "notes/link.wav").symlink_to("/etc/hostname")
    (folder / "notes/map.sfz").write_text("<group>")
    (folder / "LICENSE.md").write_text("CC0")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "sounds")
    commit = git(folder, "rev-parse", "HEAD")
    shutil.rmtree(folder / "notes")
    git(folder, "commit", "-qam", "gone since")
    monkeypatch.setattr(repositories, "HOST", f"file://{tmp_path}/host/")
    found = Repository("birds", "owner/birds", commit, "notes", "^notes/", 0, "CC0-1.0")
    monkeypatch.setattr(pool, "sources", lambda: {"birds": found})
    return found


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_the_sounds_of_the_commit_and_its_licence_come_and_nothing_else(tmp_path, birds):
    assert main(["pool", str(tmp_path / "dest"), "--kind", "notes"]) == 0
    assert files(tmp_path / "dest") == {
        "SOURCES.csv",
        "birds/LICENSE.md",
        *(f"birds/notes/süd {number}.wav" for number in range(5)),
    }
    original = soundfile.read(tmp_path / "dest/birds/notes/süd 3.wav")[0]
    expected = 0.1 * np.random.default_rng(3).standard_normal(16000)
    np.testing.assert_allclose(original, expected, atol=1e-4)
    row = pool.read_table(tmp_path / "dest")["birds"]
    assert (row["kind"], row["files"], row["version"], row["licence"]) == (
        "notes",
        "5",
        birds.commit,
        "CC0-1.0",
    )


def test_names_that_look_like_patterns_bring_no_neighbour(tmp_path, birds, monkeypatch):
    odd = replace(birds, take=r"^odd/.*[\[*?\\]")
    monkeypatch.setattr(pool, "sources", lambda: {"birds": odd})
    assert main(["pool", str(tmp_path / "dest")]) == 0
    assert files(tmp_path / "dest/birds") == {"LICENSE.md", *(f"odd/{name}" for name in ODD[::2])}


def test_what_is_there_is_not_fetched_again_and_what_a_kill_left_is(tmp_path, birds, capsys):
    pool.pool(tmp_path / "dest", ["birds"])
    (tmp_path / "dest/birds").rename(tmp_path / "dest/.birds.partial")
    pool.pool(tmp_path / "dest", ["birds"])
    assert len(files(tmp_path / "dest")) == 7
    pool.pool(tmp_path / "dest", ["birds"])
    assert capsys.readouterr().out.splitlines()[-1] == "birds: there already"


def test_a_commit_that_is_gone_is_told(tmp_path, birds, monkeypatch, capsys):
    gone = Repository("birds", "owner/birds", "0" * 40, "notes", "", 0, "CC0-1.0")
    monkeypatch.setattr(pool, "sources", lambda: {"birds": gone})
    assert main(["pool", str(tmp_path / "dest")]) == 1
    assert "birds: not available: git: " in capsys.readouterr().err
    assert files(tmp_path / "dest") == set()


def test_a_share_of_many_sounds_is_the_same_each_time_and_only_sounds_count():
    paths = [f"samples/{number:03}.flac" for number in range(100)] + ["samples/map.txt", "other/a.flac"]
    some = chosen(paths, "^samples/", 10)
    assert len(set(some)) == 10 and some == chosen(paths, "^samples/", 10)
    assert some != sorted(some) and all(re.fullmatch(r"samples/\d+\.flac", path) for path in some)
    assert len(chosen(paths, "", 0)) == 101


def test_each_repository_names_a_commit_a_kind_and_a_licence():
    for source in repositories.repositories().values():
        assert re.fullmatch(r"[0-9a-f]{40}", source.commit), source
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", source.repository), source
        assert source.kind in pool.KINDS and source.licence, source
        re.compile(source.take)
