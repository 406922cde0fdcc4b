"""What `export` writes is what its name says, on the bundled weights."""

import onnxruntime
import pytest
import torch

import hear_msss
from hear_msss.__main__ import main
from hear_msss.config import ModelConfig
from hear_msss.frontend import FrontEnd
from hear_msss.graphs.modules import SceneGraph, TraceableLogMel, export_graph
from hear_msss.model import MSSS
from hear_msss.options import Options
from hear_msss.weights import load_weights, untrained_encoder


@pytest.fixture(scope="module")
def model():
    return hear_msss.load_model(backend="torch")


def run(path, value):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (name,) = (node.name for node in session.get_inputs())
    names = [node.name for node in session.get_outputs()]
    return name, dict(
        zip(names, map(torch.from_numpy, session.run(None, {name: value.numpy()})), strict=True)
    )


def noise(clips, samples):
    return torch.randn(clips, samples, generator=torch.Generator().manual_seed(samples)) / 10


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * max(1.0, float(expected.abs().max())))


def test_the_convolution_is_the_front_end():
    front_end = FrontEnd()
    audio = torch.cat([noise(2, 20_000), torch.sin(torch.arange(20_000) * 0.4)[None], torch.zeros(1, 20_000)])
    # Next to a full-scale tone float32 leaves 6e-4 in bands 100 dB below it.
    torch.testing.assert_close(TraceableLogMel(front_end)(audio), front_end(audio), rtol=0, atol=1e-3)


def test_h_is_the_papers_embedding_whatever_the_options(model, tmp_path, capsys):
    path = tmp_path / "new" / "h.onnx"
    assert model.options.features != "h"  # of the bundled weights: h must not be taken from the options
    assert main(["export", "--what", "h", "--out", str(path)]) == 0
    assert [p.name for p in path.parent.iterdir()] == ["h.onnx"]
    assert "to h (batch, 3, 512)" in capsys.readouterr().out
    log_mel = model.log_mel(noise(5, 15_600))
    weights = load_weights("msss")
    encoder = weights[0] if isinstance(weights, tuple) else weights.encoder
    for batch in (1, 2, 5):
        name, outputs = run(path, log_mel[:batch])
        assert name == "log_mel" and outputs.keys() == {"h"}
        with torch.no_grad():
            assert_close(outputs["h"], encoder(log_mel[:batch]))


def test_embedding_is_that_of_the_options(model, tmp_path):
    assert export_graph(model, "embedding", tmp_path / "embedding.onnx") < 1e-4
    log_mel = model.log_mel(noise(2, 15_600))
    name, outputs = run(tmp_path / "embedding.onnx", log_mel)
    assert name == "log_mel" and outputs.keys() == {"embedding"}
    assert_close(outputs["embedding"], model.encode(log_mel))


@pytest.mark.parametrize("scene", ["frames", "mean_max"])
def test_scene_is_the_whole_way_for_clips_of_any_length(tmp_path, scene):
    model = hear_msss.load_model(backend="torch", scene=scene)
    path = tmp_path / "scene.onnx"
    assert main(["export", "--what", "scene", "--option", f"scene={scene}", "--out", str(path)]) == 0
    for clips, samples in (
        (1, 1),
        (2, 15_599),
        (1, 15_600),
        (3, 16_000),
        (1, 17_679),
        (1, 17_680),
        (1, 18_000),
        (1, 61_234),
    ):
        audio = noise(clips, samples)
        name, outputs = run(path, audio)
        assert name == "audio" and outputs.keys() == {"scene_embedding"}
        assert_close(outputs["scene_embedding"], hear_msss.get_scene_embeddings(audio, model))


@pytest.mark.parametrize("length", [32, 96])
def test_windows_in_tensors_are_the_models_for_windows_of_any_length(length):
    encoder = untrained_encoder(ModelConfig(segment_frames=length))
    for count, shift in ((1, 0), (5, 2), (24, 3)):
        model = MSSS(encoder, Options(short_clip_windows=count, short_clip_band_shift=shift, backend="torch"))
        for samples in (1, 400, *range(5_200, 40_000, 501), 480_000, 57_600_123):
            before, behind, starts, shifts = SceneGraph(model).windows(torch.as_tensor(samples))
            expected = model.scene_windows(samples)
            assert (int(before), int(behind)) == (expected.before, expected.behind)
            assert starts.tolist() == expected.starts.tolist()
            assert shifts.tolist() == expected.shifts.tolist()


@pytest.mark.parametrize("options", [{}, {"encode_every": 3, "hop_ms": 40}])
def test_timestamps_are_the_whole_way_for_clips_of_any_length(tmp_path, options):
    model = hear_msss.load_model(backend="torch", **options)
    export_graph(model, "timestamps", tmp_path / "timestamps.onnx")
    for clips, samples in ((1, 1), (2, 799), (1, 800), (1, 20_001)):
        audio = noise(clips, samples)
        name, outputs = run(tmp_path / "timestamps.onnx", audio)
        embeddings, times_ms = hear_msss.get_timestamp_embeddings(audio, model)
        assert name == "audio" and list(outputs) == ["timestamp_embeddings", "times_ms"]
        assert torch.equal(outputs["times_ms"], times_ms)
        assert_close(outputs["timestamp_embeddings"], embeddings)


def test_an_unknown_part_is_refused_and_a_wrong_graph_is_not_kept(model, tmp_path, monkeypatch, capsys):
    with pytest.raises(ValueError, match=r"what='encoder': expected one of \['h', 'embedding'"):
        export_graph(model, "encoder", tmp_path / "encoder.onnx")
    monkeypatch.setattr("hear_msss.graphs.onnx_export.difference_to", lambda *_: 2e-4)
    with pytest.raises(RuntimeError, match="differs from torch"):
        export_graph(model, "h", tmp_path / "h.onnx")
    assert main(["export", "--model", "untrained", "--what", "h", "--out", str(tmp_path / "h.onnx")]) == 2
    assert capsys.readouterr().err.startswith("hear-msss: the exported graph differs from torch by 0.0002")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_model_in_half_precision_is_refused(tmp_path, capsys, precision):
    path = tmp_path / "scene.onnx"
    command = ["export", "--model", "untrained", "--out", str(path), "--option", f"precision={precision}"]
    assert main(command) == 2 and not path.exists()
    assert "export the model with precision='float32'" in capsys.readouterr().err
