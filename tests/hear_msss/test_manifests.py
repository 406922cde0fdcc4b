"""The newest record of a result counts, whichever manifest it is in, and tells what the result depends on."""

import numpy as np
import pytest
import soundfile

import hear_msss
from hear_msss import options
from hear_msss.__main__ import main
from hear_msss.cli.jobs import EmbedSettings
from hear_msss.cli.manifest import identity_of

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


def test_results_are_made_again_for_what_can_change_them_and_for_nothing_else(tmp_path, monkeypatch):
    def identity(timestamps, **chosen):
        settings = EmbedSettings("untrained", "", timestamps, "npy", "cpu", tmp_path)
        return identity_of(hear_msss.load_model("untrained", **chosen), settings)

    scene, timestamps = identity(False), identity(True)
    assert scene != timestamps
    for of_scenes in ({"short_clip_windows": 1}, {"short_clip_band_shift": 1}, {"scene": "mean_max"}):
        assert scene != identity(False, **of_scenes) and timestamps == identity(True, **of_scenes)
    assert timestamps != identity(True, encode_every=1) and timestamps != identity(True, timestamp="mean")
    assert scene == identity(False, encode_every=1) == identity(False, hop_ms=70)
    assert timestamps == identity(True, encode_every=3)  # for which None stands
    monkeypatch.setattr(options, "LONGEST_STEP_MS", 100.0)  # as a later version might have it
    assert timestamps != identity(True) and timestamps == identity(True, encode_every=3)
