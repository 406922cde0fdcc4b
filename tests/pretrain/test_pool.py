"""pool, with real Debian packages that the test builds, and an apt that hands them out."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from pretrain import pool
from pretrain.__main__ import main
from pretrain.corpus.store import read_corpus

CONFIGS = Path(pool.__file__).parents[1] / "configs"
APT = """#!/bin/sh
# apt-cache show --no-all-versions NAME, apt-get -q download NAME
eval name=\\${$#}
echo "$0 $name" >> @/calls
[ -e "@/$name.deb" ] || { echo "E: No packages found" >&2; exit 100; }
case $0 in
  *apt-cache) printf 'Size: 1000\\nInstalled-Size: 10\\nHomepage: https://sounds.example\\n' ;;
  *apt-get) cp "@/$name.deb" "./${name}_1.2_all.deb" ;;
esac
"""


def sound(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(16000), 16000)


def build_deb(repository: Path, name: str, seed: int) -> None:
    """A package with two sounds, one more in a zip, a note, a link and other files."""
    root = repository / name
    share = root / "usr/share"
    sound(share / "sounds/one.wav", seed)
    sound(share / "sounds/deep/er/two.ogg", seed + 1)
    sound(repository / "three.flac", seed + 2)
    (share / "games").mkdir()
    with zipfile.ZipFile(share / "games/data.pk3", "w") as archive:
        archive.write(repository / "three.flac", "sfx/three.flac")
        archive.writestr("textures/wall.png", b"no sound")
    (share / "pictures").mkdir()
    (share / "pictures/p.png").write_bytes(b"no sound")
    (share / "sounds/link.wav").symlink_to("one.wav")
    (share / "doc" / name).mkdir(parents=True)
    (share / "doc" / name / "copyright").write_text(f"{name}: CC0")
    control = root / "DEBIAN/control"
    control.parent.mkdir()
    control.write_text(
        f"Package: {name}\nVersion: 1.2\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: t\n"
    )
    subprocess.run(["dpkg-deb", "-b", root, repository / f"{name}.deb"], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("no dpkg-deb here")
    folder = tmp_path / "repository"
    folder.mkdir()
    for seed, name in enumerate(("birds-data", "talk-data")):
        build_deb(folder, name, 10 * seed)
    for tool in ("apt-get", "apt-cache"):
        script = tmp_path / "bin" / tool
        script.parent.mkdir(exist_ok=True)
        script.write_text(APT.replace("@", str(folder)))
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return folder


def calls(repository: Path) -> list[str]:
    lines = (repository / "calls").read_text().splitlines()
    return [line.rpartition("/")[2] for line in lines if "apt-get" in line]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_sounds_and_licence_are_kept_and_the_rest_is_not(tmp_path, repository):
    assert main(["pool", str(tmp_path / "dest"), "--source", "birds-data", "--source", "talk-data"]) == 0
    dest = tmp_path / "dest"
    assert {path.name for path in dest.iterdir()} == {"birds-data", "talk-data", "SOURCES.csv"}
    sounds = {"one.wav", "deep/er/two.ogg"}
    assert files(dest / "birds-data") == {
        "copyright",
        *(f"usr/share/sounds/{name}" for name in sounds),
        "usr/share/games/data.pk3.d/sfx/three.flac",
    }
    assert (dest / "birds-data/copyright").read_text() == "birds-data: CC0"
    with (dest / "SOURCES.csv").open() as text:
        first = next(csv.DictReader(text))
    assert first == {
        "source": "birds-data",
        "kind": "",
        "version": "1.2",
        "files": "3",
        "licence": "birds-data/copyright",
        "homepage": "https://sounds.example",
    }
    assert (
        main(["pack", str(dest), "--source-per-folder", "--out", str(tmp_path / "corpus"), "--jobs", "1"])
        == 0
    )
    corpus, index = read_corpus(tmp_path / "corpus")
    assert corpus["sources"] == ["birds-data", "talk-data"] and len(index) == 6


def test_what_is_there_is_not_fetched_again_and_a_cut_off_run_goes_on(tmp_path, repository):
    pool.pool(tmp_path / "dest", ["birds-data"])
    before = files(tmp_path / "dest")
    # As a kill leaves it: the table has a row, the folder is not there yet, another one is half made.
    (tmp_path / "dest/birds-data").rename(tmp_path / "dest/.birds-data.partial")
    pool.pool(tmp_path / "dest", ["birds-data"])
    pool.pool(tmp_path / "dest", ["birds-data", "talk-data"])
    assert calls(repository) == ["apt-get birds-data", "apt-get birds-data", "apt-get talk-data"]
    assert {name for name in files(tmp_path / "dest") if not name.startswith("talk")} == before


def test_unknown_package_is_told_and_the_others_come(tmp_path, repository, capsys):
    assert main(["pool", str(tmp_path / "dest"), "--source", "nowhere", "--source", "talk-data"]) == 1
    assert "nowhere: not available: apt-cache: E: No packages found" in capsys.readouterr().err
    assert (tmp_path / "dest/talk-data/copyright").exists()


def test_foreign_folder_is_left_alone(tmp_path, repository):
    sound(tmp_path / "dest/birds-data/mine.wav", 1)
    with pytest.raises(FileExistsError, match="move it away"):
        pool.pool(tmp_path / "dest", ["birds-data"])
    assert files(tmp_path / "dest") == {"birds-data/mine.wav"}


def test_disk_space_is_checked(tmp_path, repository, monkeypatch):
    monkeypatch.setattr(pool.debian.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 5000))
    with pytest.raises(OSError, match="birds-data needs"):
        pool.pool(tmp_path / "dest", ["birds-data"])
    assert calls_made(repository) == []


def calls_made(repository: Path) -> list[str]:
    return calls(repository) if (repository / "calls").exists() else []


def test_without_debians_tools_the_error_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["pool", str(tmp_path / "dest")]) == 2
    assert "apt-get, apt-cache, dpkg-deb not found" in capsys.readouterr().err


def test_the_pool_has_all_kinds_and_no_package_twice():
    text = (Path(pool.__file__).parent / "packages.csv").read_text().splitlines()
    assert len(text) == len(pool.packages()) + 1
    assert {source.kind for source in pool.sources().values()} == set(pool.KINDS)
    assert len(pool.sources()) == len(pool.packages()) + len(pool.repositories.repositories())


def test_kind_chooses_packages_and_evaluation_audio_is_left_out(tmp_path, repository, monkeypatch):
    known = {
        "birds-data": pool.Package("birds-data", "effects", "usr/share/sounds/one.wav"),
        "talk-data": pool.Package("talk-data", "speech", ""),
    }
    monkeypatch.setattr(pool, "sources", lambda: known)
    assert main(["pool", str(tmp_path / "dest"), "--kind", "effects"]) == 0
    assert {path.name for path in (tmp_path / "dest").iterdir()} == {"birds-data", "SOURCES.csv"}
    assert "birds-data/usr/share/sounds/one.wav" not in files(tmp_path / "dest")
    with (tmp_path / "dest/SOURCES.csv").open() as text:
        row = next(csv.DictReader(text))
    assert (row["kind"], row["files"]) == ("effects", "2")


def test_weights_name_packages_of_the_pool():
    for config in sorted(CONFIGS.glob("corpus/*.yaml")):
        weights = yaml.safe_load(config.read_text())["corpus_weights"]
        known = {*pool.sources(), "berklee", "body_percussion", "gs_epianos", "kerstin", "picovoice"}
        assert set(weights) <= known | {"salamander", "soundfx", "splendid_piano", *pool.KINDS}
        assert sum(weights.values()) == pytest.approx(1, abs=0.02)
