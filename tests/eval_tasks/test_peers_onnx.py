"""The peer for ONNX files: our own encoder's graphs against our own embeddings, and small graphs."""

import pytest
import torch
import torch.nn.functional as F

import hear_msss
from eval_tasks.peers import onnx as peer
from hear_msss.graphs.modules import export_graph
from hear_msss.graphs.onnx_export import to_onnx


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """Both of our graphs with one description; and the model that they come from."""
    folder = tmp_path_factory.mktemp("ours")
    model = hear_msss.load_model("untrained", backend="torch")
    for what in ("scene", "timestamps"):
        export_graph(model, what, folder / f"{what}.onnx")
    (folder / "scene.yaml").write_text(
        "sample_rate: 16000\ninput: audio\nscene: scene_embedding\ntimestamps: timestamp_embeddings\n"
        "times_ms: times_ms\ntimestamps_file: timestamps.onnx\n"
    )
    return folder / "scene.onnx", model


@pytest.mark.parametrize("samples", [5_000, 40_000])
def test_our_own_graphs_give_our_own_embeddings(ours, samples):
    file, own = ours
    model = peer.load_model(str(file))
    audio = torch.randn(2, samples, generator=torch.Generator().manual_seed(0)) / 10
    torch.testing.assert_close(
        peer.get_scene_embeddings(audio, model), hear_msss.get_scene_embeddings(audio, own), rtol=0, atol=1e-4
    )
    found, times = peer.get_timestamp_embeddings(audio, model)
    expected, expected_ms = hear_msss.get_timestamp_embeddings(audio, own)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert torch.equal(times, expected_ms)
    assert model.scene_embedding_size == own.scene_embedding_size
    assert model.timestamp_embedding_size == own.timestamp_embedding_size


class Frames(torch.nn.Module):
    """Mean and maximum of every 160 samples."""

    def forward(self, audio):
        pooled = [pool(audio[:, None], 160) for pool in (F.avg_pool1d, F.max_pool1d)]
        return torch.cat(pooled, dim=1).transpose(1, 2)


class Window(torch.nn.Module):
    """The sum of a window, and its largest sample."""

    def forward(self, windows):
        return torch.stack([windows.sum(1), windows.amax(1)], dim=-1)


@pytest.fixture
def made(tmp_path):
    """Writes a graph and its description."""

    def make(module, samples, description, outputs=("y",)):
        axes = {"x": ["batch", "samples"], "y": ["batch", "frames"]}
        if isinstance(module, Window):
            axes = {"x": ["batch"], "y": ["batch"]}
        graph = to_onnx(module, torch.zeros(2, samples), "x", list(outputs), axes)
        (tmp_path / "encoder.onnx").write_bytes(graph)
        (tmp_path / "encoder.yaml").write_text(description)
        return str(tmp_path / "encoder.onnx")

    return make


def test_timestamps_alone_are_a_scene_in_the_mean(made):
    file = made(Frames(), 1600, "sample_rate: 16000\ntimestamps: y\nhop_ms: 10\nfirst_ms: 5\n")
    model = peer.load_model(file)
    audio = torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0))
    embeddings, times = peer.get_timestamp_embeddings(audio, model)
    torch.testing.assert_close(embeddings, Frames()(audio))
    assert times.dtype == torch.float32 and times[2].tolist() == [5.0 + 10 * n for n in range(100)]
    torch.testing.assert_close(peer.get_scene_embeddings(audio, model), embeddings.mean(1))


def test_a_graph_of_windows(made):
    file = made(Window(), 400, "sample_rate: 8000\nwindow_samples: 400\nscene: y\nhop_ms: 25\n")
    model = peer.load_model(file)
    audio = torch.rand(2, 1000, generator=torch.Generator().manual_seed(0))
    embeddings, times = peer.get_timestamp_embeddings(audio, model)
    assert embeddings.shape == (2, 5, 2) and times[0].tolist() == [0, 25, 50, 75, 100]
    torch.testing.assert_close(embeddings[:, 2, 0], audio[:, 200:600].sum(1))
    starts = (0, 200, 400, 600)
    expected = torch.stack([audio[:, s : s + 400].sum(1) for s in starts]).mean(0)
    torch.testing.assert_close(peer.get_scene_embeddings(audio, model)[:, 0], expected)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("scene: y\n", "expected sample_rate"),
        ("sample_rate: 16000\nscenes: y\n", "expected sample_rate and some of"),
        ("sample_rate: 16k\nscene: y\n", "sample_rate is '16k', expected int"),
        ("sample_rate: 16000\n", "as scene or as timestamps"),
        ("sample_rate: 16000\ntimestamps: y\n", "either times_ms or hop_ms"),
        ("sample_rate: 16000\nwindow_samples: 400\ntimestamps: y\n", "expected scene and hop_ms"),
        ("sample_rate: 16000\ntimestamps: z\nhop_ms: 10\n", r"outputs \['y'\]: expected 'x' and \['z'\]"),
        ("sample_rate: 16000\nscene: y\n", "expected 2 dimensions"),
        ("{", "is no YAML"),
    ],
)
def test_descriptions_that_do_not_fit(made, description, message):
    with pytest.raises(ValueError, match=message):
        peer.load_model(made(Frames(), 1600, description))


def test_what_is_missing(made, tmp_path):
    with pytest.raises(ValueError, match="no ONNX file"):
        peer.load_model()
    file = made(Window(), 400, "sample_rate: 8000\nscene: y\n")
    (tmp_path / "encoder.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"encoder\.yaml: expected this file beside"):
        peer.load_model(file)
