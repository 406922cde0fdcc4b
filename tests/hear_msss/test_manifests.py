"""The newest record of a result counts, whichever manifest it is in."""

import numpy as np
import pytest
import soundfile

from hear_msss.__main__ import main

OTHER = ["--option", "scene=mean_max"]


@pytest.fixture()
def embed(tmp_path):
    """Embeds the sounds made so far; ``embed.make("a.wav")`` makes a sound."""
    random, folder = np.random.default_rng(0), tmp_path / "in"
    folder.mkdir()

    def run(*more):
        command = ["embed", str(folder), "--out", str(tmp_path / "out"), "--model", "untrained"]
        assert main([*command, "--option", "features=h", *more]) == 0
        return {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.npy")}

    run.make = lambda name: soundfile.write(folder / name, random.standard_normal(16_000) / 10, 16_000)
    return run


def test_a_line_behind_an_old_record_does_not_make_it_the_newest(embed):
    embed.make("a.wav")
    right = embed("--part", "1/2")
    other = embed(*OTHER)
    assert other != right
    embed.make("b.wav")
    embed.make("c.wav")
    embed("--part", "1/2", *OTHER)  # c.wav alone: a line behind the record of a.wav of the first run
    assert embed()["a.wav.scene.npy"] == right["a.wav.scene.npy"]


@pytest.mark.parametrize("order", [1, -1])
def test_manifests_are_merged_in_any_order(embed, tmp_path, order):
    embed.make("a.wav")
    right = embed("--part", "1/2")
    embed(*OTHER)
    out = tmp_path / "out"
    lines = [path.read_text() for path in sorted(out.glob("embeddings*.jsonl"))]
    assert len(lines) == 2
    for path in out.glob("embeddings*.jsonl"):
        path.unlink()
    (out / "embeddings.jsonl").write_text("".join(lines[::order]))
    assert embed() == right
