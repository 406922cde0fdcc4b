"""Devices, precisions, wrappers: the answers stay, and a device that is not there is named."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import hear_msss
from hear_msss import device
from hear_msss.__main__ import main
from hear_msss.cli import embed as embed_command
from hear_msss.cli import work
from hear_msss.model import MSSS


@pytest.fixture(scope="module")
def model():
    return hear_msss.load_model(hop_ms=200)


@pytest.fixture(scope="module")
def audio():
    return torch.randn(2, 12_000, generator=torch.Generator().manual_seed(0)) / 10


@pytest.fixture(scope="module")
def expected(model, audio):
    return hear_msss.get_scene_embeddings(audio, model), *hear_msss.get_timestamp_embeddings(audio, model)


def embed(audio, model):
    scenes = hear_msss.get_scene_embeddings(audio, model)
    embeddings, times = hear_msss.get_timestamp_embeddings(audio, model)
    assert scenes.dtype == embeddings.dtype == times.dtype == torch.float32
    return scenes, embeddings, times


def assert_equal(found, expected, within):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=0, atol=within)


def assert_alike(found, expected):
    """Rounded to eight bits of a mantissa in every layer, embeddings still point the same way."""
    for one, other in zip(found[:2], expected[:2], strict=True):
        assert torch.nn.functional.cosine_similarity(one.cpu(), other, dim=-1).min() > 0.99
        assert not torch.equal(one.cpu(), other)


@pytest.mark.parametrize(("dtype", "weights"), [(torch.float64, ""), (torch.bfloat16, "untrained")])
def test_another_default_dtype_changes_nothing(audio, dtype, weights):
    model = hear_msss.load_model(weights, hop_ms=200, encode_every=2)
    with device.default_dtype(dtype):
        other = hear_msss.load_model(weights, hop_ms=200, encode_every=2)
        found = embed(audio[:1], other)
        assert torch.get_default_dtype() == dtype
    assert_equal(found, embed(audio[:1], model), 1e-6)


def test_under_autocast_embeddings_stay_float32(model, audio, expected):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = embed(audio, model)
    assert_alike(found, expected)


def test_under_autocast_the_log_mel_stays_exact(model, audio):
    expected = model.log_mel(audio)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(model.log_mel(audio), expected, rtol=0, atol=0)


@pytest.mark.parametrize("features", ["h", "h+blocks+log_mel"])
def test_half_precision_is_close(audio, features):
    expected = embed(audio, hear_msss.load_model(hop_ms=200, features=features))
    half = hear_msss.load_model(hop_ms=200, features=features, precision="bf16")
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16, torch.float32}
    assert_alike(embed(audio, half), expected)


def test_half_precision_is_for_torch_alone():
    with pytest.raises(ValueError, match="backend='onnxruntime' computes in float32 only"):
        hear_msss.load_model(precision="bf16", backend="onnxruntime")
    with pytest.raises(ValueError, match=r"'half': expected one of \['float32', 'tf32', 'bf16', 'fp16'\]"):
        hear_msss.load_model(precision="half")


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_another_default_device_changes_nothing(audio, expected, tmp_path, backend):
    """``torch.set_default_device``: a tensor on ``meta`` has no values, so each that lands there is seen."""
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", audio[number].numpy(), 16_000, subtype="FLOAT")
    files = [tmp_path / "0.wav", tmp_path / "1.wav"]
    with torch.device("meta"):
        other = hear_msss.load_model(hop_ms=200, backend=backend)
        found = embed(audio, other)
        scenes, rows = (list(hear_msss.embed_files(files, other, timestamps=t)) for t in (False, True))
    assert_equal(found, expected, 1e-4)
    for number in range(2):
        np.testing.assert_allclose(scenes[number].embedding, expected[0][number], atol=1e-4)
        np.testing.assert_allclose(rows[number].embedding, expected[1][number], atol=1e-4)


class Compiled(torch.nn.Module):
    """What torch.compile returns, without the minutes of a compiler."""

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module

    def forward(self, *args, **options):
        return self._orig_mod(*args, **options)


@pytest.mark.parametrize("wrapper", [torch.nn.DataParallel, Compiled])
def test_wrapped_models_answer_alike(model, audio, expected, wrapper):
    assert_equal(embed(audio, wrapper(model)), expected, 1e-5)


def test_a_wrapper_around_another_model_is_refused(audio):
    with pytest.raises(TypeError, match="model is a DataParallel: expected what"):
        hear_msss.get_scene_embeddings(audio, torch.nn.DataParallel(torch.nn.Linear(1, 1)))


@pytest.mark.parametrize(
    ("kind", "chosen", "expected"), [("cpu", None, 32), ("cuda", None, 1024), ("cuda", 7, 7)]
)
def test_windows_at_once_suit_the_device(kind, chosen, expected):
    assert device.chunk_size(chosen, torch.device(kind)) == expected


class Float64Operators(TorchDispatchMode):
    """Names the operators whose results are float64."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        results = operator(*args, **(kwargs or {}))
        for result in results if isinstance(results, tuple | list) else [results]:
            if isinstance(result, torch.Tensor) and result.dtype in (torch.float64, torch.complex128):
                self.names.add(operator.name())
        return results


@pytest.mark.parametrize("options", [{}, {"features": "h", "scene": "mean", "whole_clip": True}])
def test_the_device_computes_nothing_in_float64_which_mps_lacks(audio, options):
    model = hear_msss.load_model(backend="torch", **options)
    with Float64Operators() as found:
        embed(audio, model)
    assert found.names <= {"aten::lift_fresh"}, (
        "the times come from numpy, and are float32 when they are moved"
    )


def test_the_best_device_is_found(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device.find_device() == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.find_device() == torch.device("mps") == device.find_device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.find_device() == torch.device("cuda")
    assert device.find_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="sees cuda:0 to cuda:1 here"):
        device.find_device("cuda:2")


def test_a_device_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"device 'cuda'.*sees no CUDA GPU here"):
        device.find_device("cuda")
    with pytest.raises(ValueError, match="no GPU of Apple's"):
        device.find_device("mps")
    with pytest.raises(ValueError, match="device 'gpu': expected cpu, cuda"):
        device.find_device("gpu")


def test_embed_computes_where_it_is_told(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", [0.0, 0.1] * 4000, 16_000)
    words = ["embed", str(tmp_path / "a.wav"), "--out", str(tmp_path / "out")]
    moved = []
    monkeypatch.setattr(MSSS, "to", lambda model, where: moved.append(where) or model)
    assert main([*words, "--device", "cpu"]) == 0 and moved == ["cpu"]
    work.model_of.cache_clear()
    monkeypatch.setattr(embed_command, "find_device", lambda name, backend: torch.device(name or "cuda"))
    assert main([*words, "--timestamps"]) == 0 and moved == ["cpu", "cuda"]
    work.model_of.cache_clear()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--device", "cuda:99"], "device 'cuda:99': torch"),
        (["--device", "cuda", "--backend", "onnxruntime"], "onnxruntime computes on the CPU"),
    ],
)
def test_embed_says_which_device_is_not_there(tmp_path, capsys, more, message):
    soundfile.write(tmp_path / "a.wav", [0.0, 0.1] * 4000, 16_000)
    assert main(["embed", str(tmp_path / "a.wav"), "--out", str(tmp_path / "out"), *more]) == 2
    assert message in capsys.readouterr().err
