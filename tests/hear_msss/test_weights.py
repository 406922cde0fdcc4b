"""Weights files: what is saved comes back, what is damaged is named."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import hear_msss
from hear_msss import weights
from hear_msss.config import ModelConfig
from hear_msss.encoder import Encoder
from hear_msss.weights import Weights, load_weights, save_weights, untrained_encoder, untrained_weights


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return untrained_encoder(ModelConfig(n_fft=512, log_mel_mean=-5.0))


def test_round_trip(encoder, tmp_path):
    save_weights(
        tmp_path / "deep" / "w.safetensors", Weights(encoder, None, {"steps": 3, "options": {"hop_ms": 40}})
    )
    held = load_weights(tmp_path / "deep" / "w.safetensors")
    loaded = held.encoder
    assert held.info == {"steps": 3, "options": {"hop_ms": 40}}
    assert loaded.config == encoder.config
    assert not loaded.training
    assert all(torch.equal(value, encoder.state_dict()[name]) for name, value in loaded.state_dict().items())
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["w.safetensors"]


def test_half_precision_file_is_half_as_large_and_close(encoder, tmp_path):
    save_weights(tmp_path / "full.safetensors", Weights(encoder, None, {}))
    save_weights(tmp_path / "half.safetensors", Weights(encoder, None, {}), dtype=torch.float16)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.52 * sizes[1]
    log_mel = torch.randn(2, 64, 96, generator=torch.Generator().manual_seed(0)) * 5 - 5
    with torch.no_grad():
        loaded = load_weights(tmp_path / "half.safetensors").encoder
        assert (loaded(log_mel) - encoder(log_mel)).abs().mean() < 0.02
    assert all(p.dtype == torch.float32 for p in loaded.parameters())


def test_options_in_the_file_are_defaults_that_keywords_override(encoder, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, Weights(encoder, None, {"options": {"hop_ms": 40, "scene": "mean_max"}}))
    assert hear_msss.load_model(str(path)).options.hop_ms == 40
    model = hear_msss.load_model(weights=str(path), hop_ms=20)
    assert (model.options.hop_ms, model.options.scene) == (20, "mean_max")


def test_missing_file_names_what_would_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="untrained"):
        hear_msss.load_model(str(tmp_path / "nothing.safetensors"))


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (None, "expected names and values"),
        ("x", "expected names and values"),
        ([1], "expected names and values"),
        ({"short_clip_windows": 99}, "short_clip_windows=99: expected a whole number"),
        ({"of_tomorrow": 1}, "unknown option 'of_tomorrow'.* or of a newer version"),
    ],
)
def test_stored_options_that_cannot_be_used_are_told_from_those_given(encoder, tmp_path, stored, message):
    path = tmp_path / "w.safetensors"
    save_weights(path, Weights(encoder, None, {"options": stored}))
    with pytest.raises(ValueError, match=rf"w\.safetensors: .*{message}"):
        hear_msss.load_model(str(path), hop_ms=20)


@pytest.mark.parametrize("keep", [0, 5, 1000, 100_000])
def test_truncated_file(encoder, tmp_path, keep):
    path = tmp_path / "w.safetensors"
    save_weights(path, Weights(encoder, None, {}))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="truncated or of another kind"):
        hear_msss.load_model(str(path))


def test_pickle_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="pretrain export"):
        hear_msss.load_model(str(tmp_path / "w.pt"))


def test_foreign_safetensors_are_refused(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="another origin"):
        hear_msss.load_model(str(tmp_path / "w.safetensors"))


def test_tensors_that_do_not_fit_are_named(encoder, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, Weights(encoder, None, {}))
    with safe_open(path, framework="pt") as archive:
        metadata = archive.metadata()
        tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    config = json.loads(metadata["config"]) | {"embedding_dim": 256}
    save_file(tensors, path, metadata={**metadata, "config": json.dumps(config)})
    with pytest.raises(ValueError, match=r"norm\.bias"):
        hear_msss.load_model(str(path))


def rewritten(path, metadata=None, tensors=None):
    """The same file with other records or tensors."""
    with safe_open(path, framework="pt") as archive:
        old = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
        records = archive.metadata()
    for name, value in (metadata or {}).items():
        records.pop(name) if value is None else records.update({name: value})
    save_file({**old, **(tensors or {})}, path, metadata=records)


@pytest.mark.parametrize(
    "metadata, message",
    [
        ({"config": None}, "lacks the record 'config'"),
        ({"info": None}, "lacks the record 'info'"),
        ({"info": "[1, 2]"}, "expected names and values"),
        ({"config": "{"}, "not valid JSON"),
        ({"config": "[" * 100_000}, "not valid JSON"),
        ({"config": '{"n_fft": "1024"}'}, "n_fft='1024'"),
        ({"config": '{"n_fft": true}'}, "n_fft=True"),
        ({"config": '{"log_mel_mean": NaN}'}, "log_mel_mean=nan"),
        ({"config": '{"log_mel_mean": null}'}, "log_mel_mean=None"),
        ({"config": '{"log_mel_mean": 1' + 400 * "0" + "}"}, "expected a value of type float"),
        ({"config": '{"embedding_dim": 1000000000}'}, "embedding_dim=1000000000: expected 1 to 8192"),
        ({"config": '{"embedding_dim": 8192}'}, "does not fit the encoder"),
        ({"config": '{"colour": 3}'}, "unknown model settings"),
    ],
)
def test_odd_records_are_one_kind_of_error(encoder, tmp_path, metadata, message):
    path = tmp_path / "w.safetensors"
    save_weights(path, Weights(encoder, None, {}))
    rewritten(path, metadata)
    with pytest.raises(ValueError, match=re.escape(message)):
        load_weights(path)


def test_shapes_are_compared_before_memory_is_taken(encoder, tmp_path, monkeypatch):
    devices = []

    def spy(config):
        devices.append(torch.get_default_device().type)
        return Encoder(config)

    path = tmp_path / "w.safetensors"
    save_weights(path, Weights(encoder, None, {}))
    rewritten(path, {"config": '{"embedding_dim": 8192}'})
    monkeypatch.setattr(weights, "Encoder", spy)
    with pytest.raises(ValueError, match="does not fit the encoder"):
        load_weights(path)
    assert devices == ["meta"]


def test_numbers_that_would_give_nan_are_refused(tmp_path):
    whole = untrained_weights()
    path = tmp_path / "w.safetensors"
    for tensors, message in (
        ({"projection.bias": torch.full((512,), torch.nan)}, "projection.bias holds NaN"),
        ({"level_std": torch.zeros(1152)}, "deviation of 0"),
        ({"projection.bias": torch.zeros(512, dtype=torch.int32)}, "shape or type"),
        ({"left_over": torch.zeros(1)}, "left_over"),
    ):
        save_weights(path, whole)
        rewritten(path, tensors=tensors)
        with pytest.raises(ValueError, match=message):
            load_weights(path)


def test_the_same_weights_give_the_same_file(encoder, tmp_path):
    for number in range(8):
        save_weights(tmp_path / f"{number}", Weights(encoder, None, {"a": 1, "b": [2]}))
    assert len({(tmp_path / f"{number}").read_bytes() for number in range(8)}) == 1


def test_failed_save_leaves_the_old_file(encoder, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, Weights(encoder, None, {"steps": 1}))
    with pytest.raises(TypeError):
        save_weights(path, Weights(encoder, None, {"steps": object()}))
    assert load_weights(path).info == {"steps": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_weights_named_twice():
    with pytest.raises(ValueError, match="twice"):
        hear_msss.load_model("untrained", weights="untrained")
