"""Training end to end: configs, budgets, divergence, export, and what the command line says."""

import hashlib
import json
import tarfile

import numpy as np
import pytest
import soundfile
import torch
import yaml
from training_runs import SMALL, Noise, same, sets, settings

import hear_msss
from hear_msss.weights import load_weights
from pretrain.__main__ import VERBS, main
from pretrain.checkpoint import load_checkpoint
from pretrain.config_layers import layered, read_config, shipped_configs
from pretrain.learner import Learner
from pretrain.runlog import read_log
from pretrain.step import NotFiniteError
from pretrain.train import train

CONFIGS = {  # the losses of each, and the heads that they train
    "paper": ("clip frame pitch", "clip frame pitch"),
    "authors": ("clip frame pitch", "clip frame pitch"),
    "cpu": ("clip frame pitch", "clip frame pitch"),
    "gpu": ("clip frame pitch", "clip frame pitch"),
    "cola": ("clip", "clip"),
    "clip_frame": ("clip frame", "clip frame"),
    "clip_pitch": ("clip pitch", "clip pitch"),
    "full": ("clip frame pitch", "clip frame pitch"),
    "full_cosine": ("clip frame pitch", "clip frame pitch"),
    "cross_view": ("clip frame pitch cross_view", "clip frame pitch"),
    "filtered": ("clip frame cross_view", "clip frame"),
    "background": ("clip frame cross_view", "clip frame"),
    "spectrum": ("clip frame cross_view spectrum", "clip frame spectrum"),
    "changed_positive": ("clip frame cross_view spectrum", "clip frame spectrum"),
}


def test_every_config_is_tried():
    assert set(CONFIGS) == {name for name, folder in shipped_configs().items() if folder != "corpus"}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_of_every_config_trains_what_its_losses_need_and_nothing_else(name, tmp_path, monkeypatch):
    monkeypatch.setattr("pretrain.run_state.MEASURED_BATCHES", 2)
    base = [] if shipped_configs()[name] == "base" else [read_config("cpu")]
    small = {"steps": 1, "batch_size": 4, "validate_every": 1, "log_every": 1, "weight_decay": 0}
    config = layered([*base, read_config(name), small])
    torch.manual_seed(config.seed)
    before = Learner(config).state_dict()
    assert train(config, Noise(), tmp_path) == 0
    losses, heads = (set(names.split()) for names in CONFIGS[name])
    for record in read_log(tmp_path):
        assert {"clip", "frame", "pitch", "cross_view", "spectrum"} & record.keys() == losses
        assert all(np.isfinite(value) for value in record.values() if not isinstance(value, str))
    after = load_checkpoint(tmp_path)["learner"]
    moved = {
        key.split(".")[1] for key in after if key.startswith("heads.") and not same(before[key], after[key])
    }
    assert moved == heads
    still = [key for key in after if key.startswith("encoder.") and same(before[key], after[key])]
    assert not still


def test_pack_train_export_and_load(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("pretrain.export.LEVEL_SEGMENTS", 192)  # enough to try it
    run, weights, half = tmp_path / "run", tmp_path / "weights.safetensors", tmp_path / "half.safetensors"
    where = ["--corpus", str(corpus), "--out", str(run)]
    assert main(["train", "--config", "cpu", "--config", "full", *where, *sets("steps=5", *SMALL)]) == 0
    assert main(["export", str(run), "--out", str(weights)]) == 0
    held = load_weights(weights)
    trained = load_checkpoint(run)["learner"]
    for key, value in held.encoder.state_dict().items():
        assert torch.equal(value, trained[f"encoder.{key}"])
    assert held.info["steps"] == 5 and held.info["last"]["train"] == read_log(run)[-1]
    assert held.info["settings"] == yaml.safe_load((run / "config.yaml").read_text())
    assert held.info["corpus"]["clips"] == 24
    embeddings = hear_msss.get_scene_embeddings(torch.zeros(1, 16_000), hear_msss.load_model(str(weights)))
    assert torch.isfinite(embeddings).all()
    option = ["--half", "--option", "features=components", "--option", "scene=mean"]
    assert main(["export", str(run), "--out", str(half), *option]) == 0
    assert half.stat().st_size < 0.55 * weights.stat().st_size
    scenes = hear_msss.get_scene_embeddings(torch.zeros(1, 16_000), hear_msss.load_model(str(half)))
    assert scenes.shape == (1, 1152) and torch.isfinite(scenes).all()


def test_shards_train(tmp_path):
    """A WebDataset corpus, in two tar files."""
    random = np.random.default_rng(0)
    for shard in range(2):
        with tarfile.open(tmp_path / f"clips-{shard}.tar", "w") as archive:
            for number in range(6):
                name = f"{shard}-{number}.flac"
                soundfile.write(tmp_path / name, 0.1 * random.standard_normal(32_000), 16_000)
                archive.add(tmp_path / name, name)
    shards, run = str(tmp_path / "clips-{0..1}.tar"), tmp_path / "run"
    where = ["--config", "cpu", "--config", "cola", "--corpus", shards, "--out", str(run)]
    assert main(["train", *where, *sets("steps=4", "batch_size=3", "log_every=1")]) == 0
    assert [record["step"] for record in read_log(run)] == [1, 2, 3, 4]
    assert all(np.isfinite(record["loss"]) for record in read_log(run))


def test_divergence_stops_with_the_step_the_batch_and_advice(tmp_path):
    with pytest.raises(NotFiniteError, match=r"step [1-9].*batch seed \d+.*lower learning_rate"):
        train(settings(steps=30, learning_rate=1e30, checkpoint_every=1), Noise(), tmp_path)
    assert all(
        torch.isfinite(value).all() for value in load_checkpoint(tmp_path)["optimizer"]["state"][0].values()
    )


def test_epochs_and_validation(tmp_path):
    assert train(settings(steps=None, epochs=1.5, validate_every=1), Noise(), tmp_path) == 0
    validations = [r for r in read_log(tmp_path) if r["phase"] == "validation"]
    assert [r["step"] for r in validations] == [1, 2, 3]
    assert {"loss", "clip", "clip_accuracy", "frame", "pitch", "pitch_error_semitones"} <= validations[
        0
    ].keys()
    assert list((tmp_path / "tensorboard").iterdir())


def test_init_from_starts_the_encoder_and_nothing_else(corpus, tmp_path):
    where = ["--config", "cpu", "--corpus", str(corpus)]
    first, second, weights = tmp_path / "first", tmp_path / "second", tmp_path / "w.safetensors"
    assert main(["train", *where, "--out", str(first), *sets("steps=1", *SMALL)]) == 0
    assert main(["export", str(first), "--out", str(weights)]) == 0
    again = sets("steps=1", f"init_from={weights}", "learning_rate=1e-20", "seed=5", *SMALL)
    assert main(["train", *where, "--out", str(second), *again]) == 0
    a, b = load_checkpoint(first)["learner"], load_checkpoint(second)["learner"]
    assert torch.allclose(a["encoder.projection.weight"], b["encoder.projection.weight"], atol=1e-7)
    assert not torch.allclose(a["heads.clip.weight"], b["heads.clip.weight"], atol=1e-3)


def test_weights_say_what_they_went_on_from(corpus, tmp_path):
    def weights_of(name, *extra):
        run, weights = tmp_path / name, tmp_path / f"{name}.safetensors"
        arguments = ["--config", "cpu", "--corpus", str(corpus), "--out", str(run), *sets(*SMALL, *extra)]
        assert main(["train", *arguments]) == 0
        assert main(["export", str(run), "--out", str(weights), "--no-levels"]) == 0
        return run, weights, load_weights(weights).info

    _, first, first_info = weights_of("first", "steps=2")
    assert "init" not in first_info
    _, second, _ = weights_of("second", "steps=1", f"init_from={first}", "learning_rate=1e-4")
    run, third, info = weights_of("third", "steps=3", f"init_from={second}", "learning_rate=1e-4")
    digest = hashlib.sha256(second.read_bytes()).hexdigest()
    origin = info["init"]
    assert (origin["name"], origin["steps"], origin["sha256"]) == ("second.safetensors", 1, digest)
    assert origin["settings_that_differ"] == {"steps": 1, "init_from": first.name}
    assert info["settings"]["init_from"] == second.name  # no folder of the machine that trained
    assert origin["corpus_hash"] == info["corpus"]["hash"]
    assert origin["init"]["log_sha256"] == first_info["log_sha256"]
    assert origin["init"]["settings_that_differ"]["learning_rate"] == first_info["settings"]["learning_rate"]

    # The run goes on although the file now holds other weights: it did not start from those.
    second.write_bytes(first.read_bytes())
    assert main(["train", "--out", str(run), "--resume", *sets("steps=4")]) == 0
    assert main(["export", str(run), "--out", str(third), "--no-levels"]) == 0
    assert load_weights(third).info["init"]["sha256"] == digest


def test_wrong_use_is_explained(corpus, tmp_path, capsys):
    run, where = tmp_path / "run", ["--config", "cpu", "--corpus", str(corpus)]
    assert main(["train", *where, "--out", str(run), *sets("steps=1", *SMALL)]) == 0
    for arguments, message in [
        (["train", *where, "--out", str(run)], "holds a run already"),
        (["train", "--out", str(run), "--resume", *sets("embedding_dim=256")], "does not fit the settings"),
        (["train", "--config", "cpu", "--out", str(tmp_path / "new")], "give --corpus"),
        (["train", *where, "--out", str(tmp_path / "new"), *sets("batchsize=3")], "did you mean batch_size"),
        (["export", str(tmp_path), "--out", str(tmp_path / "w")], "does not exist"),
        (["plot", str(tmp_path), "--out", str(tmp_path / "p.png")], "does not exist"),
    ]:
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
    assert json.loads((run / "corpus.json").read_text())["location"] == str(corpus)


def test_plot_draws_several_runs(tmp_path):
    for name in "ab":
        train(settings(validate_every=2, log_every=1), Noise(), tmp_path / name)
    out = tmp_path / "curves.png"
    assert main(["plot", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out)]) == 0
    assert out.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    assert stopped.value.code == 0
    assert f"usage: python -m pretrain {verb}" in capsys.readouterr().out
