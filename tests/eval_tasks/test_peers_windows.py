"""Windows of models that take sounds of one length, by slow loops; and YAMNet's wiring with a stand-in."""

import sys
import types

import numpy as np
import pytest
import torch

from eval_tasks.peers.windows import centred_windows, covering_windows, hop_samples, times_ms


@pytest.mark.parametrize(
    ("samples", "window", "hop"), [(1, 6, 4), (11, 6, 4), (12, 6, 4), (13, 7, 1), (40, 6, 10)]
)
def test_centred_windows(samples, window, hop):
    audio = torch.arange(1.0, 2 * samples + 1).reshape(2, samples)
    found = centred_windows(audio, window, hop)
    centres = list(range(0, samples, hop))
    assert found.shape == (2, len(centres), window)
    for clip, row in zip(audio.tolist(), found.tolist(), strict=True):
        for centre, values in zip(centres, row, strict=True):
            places = range(centre - window // 2, centre - window // 2 + window)
            assert values == [clip[p] if 0 <= p < samples else 0.0 for p in places]


@pytest.mark.parametrize(("samples", "steps"), [(1, 1), (6, 1), (7, 2), (9, 2), (10, 3), (30, 9)])
def test_covering_windows(samples, steps):
    audio = torch.arange(1.0, samples + 1)[None]
    found = covering_windows(audio, 6)
    assert found.shape == (1, steps, 6)
    padded = audio[0].tolist() + [0.0] * 6
    assert found[0].tolist() == [padded[3 * n : 3 * n + 6] for n in range(steps)]
    assert set(audio[0].tolist()) <= set(found.flatten().tolist())


def test_hops_and_times():
    assert hop_samples(50, 16_000) == 800 and hop_samples(0.0625, 16_000) == 1
    for bad in (0, -50, 0.03):
        with pytest.raises(ValueError, match="expected a positive whole number of samples"):
            hop_samples(bad, 16_000)
    found = times_ms(3, 62.5, 2, torch.device("cpu"), first_ms=10)
    assert found.dtype == torch.float32 and found.tolist() == [[10, 72.5, 135]] * 2


class StandIn:
    """ai-edge-litert's interpreter of a network whose embedding is 1,024 times the sum of its window."""

    names = ("scores", "yamnet_frames/global_average_pooling2d/Mean")
    samples = 15_600

    def __init__(self, model_path, num_threads, experimental_preserve_all_tensors):
        assert experimental_preserve_all_tensors  # without it, an inner tensor is overwritten

    def allocate_tensors(self):
        pass

    def get_input_details(self):
        return [{"index": 0, "shape": np.array([1, self.samples])}]

    def get_tensor_details(self):
        return [
            {"index": n + 1, "name": name, "shape": np.array([1, 1024])} for n, name in enumerate(self.names)
        ]

    def set_tensor(self, index, value):
        assert index == 0 and value.shape == (1, self.samples) and value.dtype == np.float32
        self.sum = value.sum()

    def invoke(self):
        pass

    def get_tensor(self, index):
        assert index == 2
        return np.full((1, 1024), self.sum, np.float32)


@pytest.fixture
def yamnet(monkeypatch, tmp_path):
    from eval_tasks.peers import yamnet as peer

    module = types.ModuleType("ai_edge_litert.interpreter")
    module.Interpreter = StandIn
    monkeypatch.setitem(sys.modules, "ai_edge_litert", types.ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", module)
    (tmp_path / "yamnet.tflite").touch()
    return peer, str(tmp_path / "yamnet.tflite")


def test_yamnet_gets_its_windows(yamnet):
    peer, file = yamnet
    model = peer.load_model(file)
    audio = torch.rand(2, 20_000, generator=torch.Generator().manual_seed(0))
    embeddings, times = peer.get_timestamp_embeddings(audio, model)
    assert embeddings.shape == (2, 25, 1024) and times[0].tolist() == [50.0 * n for n in range(25)]
    torch.testing.assert_close(embeddings[1, 12, 5], audio[1, 9600 - 7800 : 9600 + 7800].sum())
    scene = peer.get_scene_embeddings(audio, model)
    expected = (audio[0, :15_600].sum() + audio[0, 7800:].sum()) / 2
    torch.testing.assert_close(scene[0, 0], expected)
    assert (model.scene_embedding_size, scene.dtype) == (1024, torch.float32)


def test_yamnet_says_what_it_needs(yamnet, monkeypatch):
    peer, file = yamnet
    with pytest.raises(FileNotFoundError, match=r"expected yamnet\.tflite"):
        peer.load_model()
    monkeypatch.setattr(StandIn, "samples", 16_000)
    with pytest.raises(ValueError, match="15600 samples"):
        peer.load_model(file)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ImportError, match="pip install ai-edge-litert"):
        peer.load_model(file)
