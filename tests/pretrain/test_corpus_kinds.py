"""Weights by kind of source: written down by pack, spread over the kind's sources."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from pretrain.__main__ import main
from pretrain.corpus.packed import PackedSource
from pretrain.corpus.sampling import spread_kinds
from pretrain.corpus.store import read_corpus

KINDS = {"talk": "speech", "words": "speech", "birds": "effects"}
SECONDS = {"talk": 4.0, "words": 1.0, "birds": 2.0, "other": 3.0}


def test_a_kind_is_divided_by_the_root_of_duration() -> None:
    spread = spread_kinds({"speech": 0.6, "effects": 0.3, "other": 0.1}, KINDS, SECONDS)
    assert spread == pytest.approx({"talk": 0.4, "words": 0.2, "birds": 0.3, "other": 0.1})


def test_a_source_with_a_weight_of_its_own_has_no_part_of_its_kind() -> None:
    spread = spread_kinds({"speech": 0.6, "talk": 0.0, "effects": 0.3, "other": 0.1}, KINDS, SECONDS)
    assert spread == pytest.approx({"talk": 0.0, "words": 0.6, "birds": 0.3, "other": 0.1})
    with pytest.raises(ValueError, match="every source of it"):
        spread_kinds({"effects": 0.3, "birds": 1.0}, KINDS, SECONDS)


def make_sounds(folder: Path) -> None:
    random = np.random.default_rng(0)
    for source, seconds in SECONDS.items():
        (folder / source).mkdir(parents=True)
        samples = 0.1 * random.standard_normal(int(16000 * seconds))
        soundfile.write(folder / source / "a.wav", samples, 16000)
    (folder / "SOURCES.csv").write_text("source,kind\ntalk,speech\nwords,speech\nbirds,music\n")


def test_pack_takes_kinds_from_the_table_and_the_command_line_and_keeps_them(tmp_path: Path) -> None:
    make_sounds(tmp_path / "sounds")
    pack = ["pack", str(tmp_path / "sounds"), "--source-per-folder", "--out", str(tmp_path / "corpus")]
    assert main([*pack, "--kind", "birds=effects", "--jobs", "1"]) == 0
    assert read_corpus(tmp_path / "corpus")[0]["kinds"] == KINDS
    more = tmp_path / "more"
    more.mkdir()
    soundfile.write(more / "b.wav", 0.1 * np.random.default_rng(1).standard_normal(16000), 16000)
    assert main(["pack", str(more), "--out", str(tmp_path / "corpus"), "--jobs", "1"]) == 0
    assert read_corpus(tmp_path / "corpus")[0]["kinds"] == KINDS
    weights = {"speech": 0.6, "effects": 0.4, "other": 0.0, "more": 0.0}
    source = PackedSource(tmp_path / "corpus", weights, validation_fraction=0)
    assert len(source.training_clips) == 3


def test_a_wrong_kind_says_what_was_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_sounds(tmp_path / "sounds")
    assert main(["pack", str(tmp_path / "sounds"), "--out", str(tmp_path / "c"), "--kind", "birds"]) == 2
    assert "expected SOURCE=KIND" in capsys.readouterr().err
