"""Folding, the ONNX graph and its cache give what the encoder gives."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import hear_msss
from hear_msss.backend import OnnxEncoder, fold_batch_norm
from hear_msss.export import cached_onnx, encoder_sha256, export_onnx
from hear_msss.features import Features, choices
from hear_msss.model import MSSS
from hear_msss.options import Options
from hear_msss.weights import untrained_encoder, untrained_weights

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def encoder():
    return untrained_encoder()


@pytest.fixture(scope="module")
def log_mel():
    return torch.randn(5, 64, 96, generator=torch.Generator().manual_seed(1)) * 5 - 4


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEAR_MSSS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_folding_changes_nothing_but_rounding(encoder, log_mel):
    with torch.no_grad():
        exact = copy.deepcopy(encoder).double()
        folded = fold_batch_norm(exact)
        assert (folded(log_mel.double()) - exact(log_mel.double())).abs().max() < 1e-11
        assert (fold_batch_norm(encoder)(log_mel) - encoder(log_mel)).abs().max() < 1e-4


def test_folding_leaves_the_encoder_alone_and_no_batch_norm_in_the_copy(encoder):
    before = encoder_sha256(encoder)
    folded = fold_batch_norm(encoder)
    assert encoder_sha256(encoder) == before
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())


def test_train_mode_changes_no_embedding(log_mel):
    encoder = untrained_encoder()
    encoder.network._global_params = encoder.network._global_params._replace(drop_connect_rate=0.9)
    model = MSSS(encoder)
    audio = torch.randn(1, 20_000) / 10
    expected = hear_msss.get_scene_embeddings(audio, model)
    assert torch.equal(hear_msss.get_scene_embeddings(audio, model.train()), expected)


@pytest.mark.parametrize("options", [{}, {"encode_every": 3, "scene": "mean_max", "chunk_size": 7}])
def test_onnxruntime_equals_torch(encoder, options):
    audio = torch.randn(3, 30_001, generator=torch.Generator().manual_seed(2)) / 10
    torch_model = MSSS(encoder, Options(**options))
    onnx_model = MSSS(encoder, Options(backend="onnxruntime", **options))
    assert isinstance(onnx_model, torch.nn.Module)
    assert onnx_model.state_dict().keys() == torch_model.state_dict().keys()
    expected, times = hear_msss.get_timestamp_embeddings(audio, torch_model)
    embeddings, onnx_times = hear_msss.get_timestamp_embeddings(audio, onnx_model)
    assert (embeddings - expected).abs().max() < 1e-4
    assert torch.equal(onnx_times, times)
    scenes = hear_msss.get_scene_embeddings(audio, onnx_model)
    assert scenes.dtype == torch.float32
    assert (scenes - hear_msss.get_scene_embeddings(audio, torch_model)).abs().max() < 1e-4


def test_onnxruntime_follows_the_threads_of_torch_and_survives_copies(encoder, log_mel):
    onnx = OnnxEncoder(fold_batch_norm(encoder))
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert onnx.session().get_session_options().intra_op_num_threads == threads
    finally:
        torch.set_num_threads(before)
    expected = onnx(log_mel)
    assert torch.equal(copy.deepcopy(onnx)(log_mel), expected)
    assert torch.equal(pickle.loads(pickle.dumps(onnx))(log_mel), expected)


def test_missing_onnxruntime_is_said_with_the_extra(encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"hear_msss\[onnx\]"):
        MSSS(encoder, Options(backend="onnxruntime"))


def test_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="onnxruntime"):
        hear_msss.load_model("untrained", backend="tensorrt")


def test_exported_file_has_a_dynamic_batch(encoder, log_mel, tmp_path):
    import onnxruntime

    path = tmp_path / "new" / "encoder.onnx"
    assert export_onnx(fold_batch_norm(encoder), path) < 1e-4
    assert [p.name for p in path.parent.iterdir()] == ["encoder.onnx"]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = encoder(log_mel).numpy()
    for batch in (1, 2, 5):
        (h,) = session.run(["h"], {"log_mel": log_mel[:batch].numpy()})
        assert h.shape == (batch, 3, 512)
        assert np.abs(h - expected[:batch]).max() < 1e-4


def test_a_graph_with_wrong_answers_is_not_kept(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("hear_msss.export.TOLERANCE", -1.0)
    with pytest.raises(RuntimeError, match="differs from torch"):
        export_onnx(fold_batch_norm(encoder), tmp_path / "encoder.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_cache_holds_one_file_for_each_encoder(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("HEAR_MSSS_CACHE", str(tmp_path))
    path = cached_onnx(encoder)
    written = path.stat().st_mtime_ns
    assert cached_onnx(copy.deepcopy(encoder)) == path
    assert path.stat().st_mtime_ns == written
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        other.projection.bias[0] += 1e-3
    assert encoder_sha256(other) != encoder_sha256(encoder)
    monkeypatch.setattr("hear_msss.export.export_onnx", lambda encoder, path: path.touch())
    assert cached_onnx(other) != path


def test_features_of_one_encoder_do_not_share_a_graph(encoder):
    folded, levels = fold_batch_norm(encoder), untrained_weights().levels
    hashes = {encoder_sha256(Features(folded, name, levels)) for name in choices()}
    assert len(hashes) == len(choices())


FIRST_USE = """
import torch
from hear_msss.backend import OnnxEncoder, fold_batch_norm
from hear_msss.weights import untrained_encoder
torch.set_num_threads(1)
print(float(OnnxEncoder(fold_batch_norm(untrained_encoder()))(torch.zeros(1, 64, 96)).sum()))
"""


def test_two_processes_may_export_at_once(tmp_path):
    environment = {**os.environ, "HEAR_MSSS_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen([sys.executable, "-c", FIRST_USE], stdout=subprocess.PIPE, env=environment)
        for _ in range(2)
    ]
    results = [float(process.communicate()[0]) for process in processes]
    assert results[0] == pytest.approx(results[1], abs=1e-3)
    assert len(list(tmp_path.iterdir())) == 1
