"""Folding and ONNX Runtime give what the encoder gives; which of them computes is chosen well."""

import copy
import pickle
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import hear_msss
from hear_msss.backend import OnnxEncoder, fold_batch_norm
from hear_msss.features import Features, choices
from hear_msss.graphs.cache import encoder_sha256
from hear_msss.model import MSSS
from hear_msss.options import Options
from hear_msss.weights import untrained_encoder, untrained_weights


@pytest.fixture(scope="module")
def encoder():
    return untrained_encoder()


@pytest.fixture(scope="module")
def log_mel():
    return torch.randn(5, 64, 96, generator=torch.Generator().manual_seed(1)) * 5 - 4


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


@pytest.mark.parametrize("level", [0.0, 1e-5, 0.1])
def test_backends_agree_on_the_default_embedding_from_silence_on(level):
    """Silence is unlike the sounds of the corpus, so its components are large, and so is their rounding."""
    audio = level * torch.randn(1, 40_000, generator=torch.Generator().manual_seed(3))
    torch_model, onnx_model = (hear_msss.load_model(backend=name) for name in ("torch", "onnxruntime"))
    for embed in (
        hear_msss.get_scene_embeddings,
        lambda audio, model: hear_msss.get_timestamp_embeddings(audio, model)[0],
    ):
        expected, found = embed(audio, torch_model), embed(audio, onnx_model)
        assert (found - expected).abs().max() < 1e-4 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("options", [{}, {"encode_every": 3, "scene": "mean_max", "chunk_size": 7}])
def test_onnxruntime_equals_torch(encoder, options):
    audio = torch.randn(3, 30_001, generator=torch.Generator().manual_seed(2)) / 10
    torch_model = MSSS(encoder, Options(backend="torch", **options))
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


def test_missing_onnxruntime_is_said_with_the_command(encoder, log_mel, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="pip install onnx onnxruntime"):
        MSSS(encoder, Options(backend="onnxruntime")).encode(log_mel)


def test_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="onnxruntime"):
        hear_msss.load_model("untrained", backend="tensorrt")


def test_features_of_one_encoder_do_not_share_a_graph(encoder):
    folded, levels = fold_batch_norm(encoder), untrained_weights().levels
    hashes = {encoder_sha256(Features(folded, name, levels)) for name in choices()}
    assert len(hashes) == len(choices())


@pytest.fixture
def asked(monkeypatch):
    """Shapes of what ONNX Runtime was asked for; it is not run."""
    calls = []
    monkeypatch.setattr(
        OnnxEncoder, "__call__", lambda self, x: calls.append(x.shape) or x.new_zeros(1, 3, 512)
    )
    return calls


def test_auto_is_the_default_and_takes_onnxruntime_on_a_cpu(encoder, log_mel, asked):
    assert Options().backend == "auto"
    MSSS(encoder).encode(log_mel)
    assert asked == [log_mel.shape]
    MSSS(encoder, Options(backend="torch")).encode(log_mel)
    assert len(asked) == 1


def test_auto_takes_torch_where_onnxruntime_does_not_suit(encoder, log_mel, asked, monkeypatch):
    with torch.no_grad():
        expected = encoder(log_mel)
        assert MSSS(encoder, Options(precision="bf16")).encode(log_mel).shape == expected.shape
        with torch.autocast("cpu", dtype=torch.bfloat16):
            MSSS(encoder).encode(log_mel)
        model = MSSS(encoder)
        traced = torch.jit.trace(lambda segments: model.encode(segments), log_mel, check_trace=False)
        assert (traced(log_mel) - expected).abs().max() < 1e-4
        assert MSSS(encoder).to("meta").encode(log_mel.to("meta")).device.type == "meta"
    assert MSSS(encoder).encode(log_mel.clone().requires_grad_()).requires_grad
    trained = MSSS(encoder)
    trained.requires_grad_(True)
    assert trained.encode(log_mel).requires_grad
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with torch.no_grad():
        assert (MSSS(encoder).encode(log_mel) - expected).abs().max() < 1e-4
    assert asked == []


def test_a_graph_that_fails_is_made_once_by_all_threads(encoder, log_mel, monkeypatch):
    made = []

    def fails(encoder):
        made.append(1)
        time.sleep(0.2)  # the other threads wait meanwhile
        raise RuntimeError("no kernel for this machine")

    monkeypatch.setattr("hear_msss.backend.cached_graph", fails)
    model = MSSS(encoder)
    with pytest.warns(UserWarning, match="no kernel") as said, ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(model.encode, [log_mel] * 4))
    assert len(made) == len(said) == 1
    assert all((answer - encoder(log_mel)).abs().max() < 1e-4 for answer in answers)


def test_auto_warns_once_and_computes_in_torch_when_the_graph_fails(encoder, log_mel, monkeypatch):
    def fails(encoder):
        raise RuntimeError("no kernel for this machine")

    monkeypatch.setattr("hear_msss.backend.cached_graph", fails)
    model = MSSS(encoder)
    with (
        torch.no_grad(),
        pytest.warns(UserWarning, match=r"no kernel for this machine\): torch computes") as said,
    ):
        for _ in range(2):
            assert (model.encode(log_mel) - encoder(log_mel)).abs().max() < 1e-4
    assert len(said) == 1
    with pytest.raises(RuntimeError, match="no kernel"):
        MSSS(encoder, Options(backend="onnxruntime")).encode(log_mel)


def test_changed_weights_change_the_answers(encoder, log_mel):
    model = MSSS(encoder)
    before = model.encode(log_mel)
    with torch.no_grad():
        model.encoder.projection.bias[0] += 5
        changed = model.encode(log_mel)
        assert (changed - model.encoder(log_mel)).abs().max() < 1e-4
    assert (changed - before).abs().max() > 1e-2


def test_a_model_moved_and_moved_back_still_answers(encoder, log_mel):
    model = MSSS(encoder)
    expected = model.encode(log_mel)
    with torch.no_grad():
        assert (model.double().encode(log_mel.double()) - expected).abs().max() < 1e-4
    assert torch.equal(model.float().encode(log_mel), expected)


def test_inference_mode_makes_the_graph_as_well(log_mel, tmp_path, monkeypatch):
    monkeypatch.setenv("HEAR_MSSS_CACHE", str(tmp_path))
    with torch.inference_mode():
        model = hear_msss.load_model("untrained")
        found = model.encode(log_mel)
        assert (found - model.encoder(log_mel)).abs().max() < 1e-4
    assert len(list(tmp_path.iterdir())) == 1
