"""embed, ended between a result and its line in the manifest: no result is taken for another."""

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from hear_msss.__main__ import main
from hear_msss.cli import work

OPTIONS = ["--model", "untrained"]
SHARDS = ["--format", "arrow", "--shard-files", "2"]


@pytest.fixture()
def sounds(tmp_path):
    """Two sounds of a second, a.wav and b.wav."""
    folder, random = tmp_path / "in", np.random.default_rng(0)
    folder.mkdir()
    for name in ("a.wav", "b.wav"):
        soundfile.write(folder / name, random.standard_normal(16_000) / 10, 16_000)
    return folder


def ended_before_it_notes(command, monkeypatch):
    """Run a command that makes its first results and then ends, as if it were killed."""

    def ended(group):
        list(embed_group(group))
        raise KeyboardInterrupt

    embed_group = work.embed_group
    with monkeypatch.context() as patched:
        patched.setattr(work, "embed_group", ended)
        assert main(command) == 130


def results(out):
    return {path.name: path.read_bytes() for path in out.glob("*.*") if path.suffix in (".npy", ".arrow")}


@pytest.mark.parametrize("more", [[], SHARDS], ids=["files", "shards"])
def test_results_of_other_options_are_not_taken_for_those_before(sounds, tmp_path, monkeypatch, more):
    out = tmp_path / "out"
    command = ["embed", str(sounds), "--out", str(out), *OPTIONS, *more]
    assert main(command) == 0
    right = results(out)
    ended_before_it_notes([*command, "--option", "scene=mean_max"], monkeypatch)
    assert results(out) != right
    assert main(command) == 0
    assert results(out) == right


@pytest.mark.parametrize("more", [[], SHARDS], ids=["files", "shards"])
def test_results_of_a_sound_that_was_replaced_for_a_while(sounds, tmp_path, monkeypatch, more):
    out, kept = tmp_path / "out", tmp_path / "kept.wav"
    command = ["embed", str(sounds), "--out", str(out), *OPTIONS, *more]
    assert main(command) == 0
    right = results(out)
    (sounds / "b.wav").rename(kept)
    soundfile.write(sounds / "b.wav", np.zeros(20_000), 16_000)
    ended_before_it_notes(command, monkeypatch)
    assert results(out) != right
    kept.rename(sounds / "b.wav")  # with its own time
    assert main(command) == 0
    assert results(out) == right


def test_a_shard_that_held_wholly_other_files_for_a_while(sounds, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["embed", str(sounds), "--out", str(out), *OPTIONS, *SHARDS]
    assert main(command) == 0
    right = results(out)
    for name in ("0.wav", "1.wav"):
        soundfile.write(sounds / name, np.zeros(16_000), 16_000)
    assert main(command) == 0
    assert pa.ipc.open_file(out / "scene-000000.arrow").read_all()["path"].to_pylist() == ["0.wav", "1.wav"]
    for name in ("0.wav", "1.wav"):
        (sounds / name).unlink()
    capsys.readouterr()
    assert main(command) == 0
    assert results(out)["scene-000000.arrow"] == right["scene-000000.arrow"]
    surplus = out / "scene-000001.arrow"
    assert f"do not make: 1, such as {surplus}: delete" in capsys.readouterr().err
    surplus.unlink()
    assert main([*command, "--part", "1/2"]) == main([*command, "--part", "2/2"]) == 0
    assert "WARNING" not in capsys.readouterr().err
