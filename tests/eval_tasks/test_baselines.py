import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from eval_tasks.baselines import logmel, random_projection
from eval_tasks.baselines.frontend import LogMel

MODULES = [logmel, random_projection]


def tone(hz: float, seconds: float, amplitude: float = 0.5) -> torch.Tensor:
    return amplitude * torch.sin(2 * math.pi * hz * torch.arange(int(seconds * 16000)) / 16000)


def slow_log_mel_frame(audio: np.ndarray, frame: int) -> np.ndarray:
    """One log-mel frame, from the definition: window, DFT, HTK triangles, logarithm."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    padded = np.concatenate([np.zeros(200), audio, np.zeros(600)])
    spectrum = np.abs(np.fft.rfft(padded[frame * 160 : frame * 160 + 400] * window, 1024)) ** 2
    mel = np.linspace(2595 * np.log10(1 + 60 / 700), 2595 * np.log10(1 + 7800 / 700), 66)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hz = np.arange(513) * 16000 / 1024
    bands = []
    for low, middle, high in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
        triangle = np.minimum((hz - low) / (middle - low), (high - hz) / (high - middle))
        bands.append(np.sum(np.maximum(triangle, 0) * spectrum))
    return np.log(np.array(bands) + 1e-5)


def test_log_mel_agrees_with_its_definition():
    audio = np.random.default_rng(0).normal(0, 0.1, 16000)
    frames = LogMel()(torch.from_numpy(audio).float()[None])[0]
    assert frames.shape == (101, 64)
    for frame in (0, 1, 50, 100):
        np.testing.assert_allclose(frames[frame], slow_log_mel_frame(audio, frame), atol=2e-3)


def test_logmel_scene_is_mean_and_deviation_of_frames():
    audio = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    model = logmel.load_model()
    embedding = logmel.get_scene_embeddings(audio, model).numpy()
    frames = LogMel()(audio).numpy()
    np.testing.assert_allclose(embedding[:, :64], frames.mean(1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(embedding[:, 64:], frames.std(1), rtol=1e-4, atol=1e-5)


def test_logmel_timestamp_is_the_mean_of_the_five_frames_around_it():
    audio = torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    embeddings, times = logmel.get_timestamp_embeddings(audio, logmel.load_model())
    frames = LogMel()(audio)[0]
    assert times[0].tolist() == [50.0 * step for step in range(21)]
    torch.testing.assert_close(embeddings[0, 7], frames[33:38].mean(0))


@pytest.mark.parametrize("module", MODULES)
def test_an_event_shows_at_its_timestamp(module):
    audio = torch.zeros(1, 10 * 16000)
    audio[0, 6 * 16000 : 6 * 16000 + 3200] = tone(1000, 0.2)
    embeddings, times = module.get_timestamp_embeddings(audio, module.load_model())
    change = (embeddings[0] - embeddings[0, 0]).square().sum(1)
    assert abs((change * times[0]).sum() / change.sum() - 6100) <= 50


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("samples", [1, 159, 399, 800, 15999, 16000, 43840])
def test_shapes_for_any_length(module, samples):
    audio = torch.randn(3, samples)
    model = module.load_model()
    scene = module.get_scene_embeddings(audio, model)
    embeddings, times = module.get_timestamp_embeddings(audio, model)
    assert scene.shape == (3, model.scene_embedding_size) and scene.dtype == torch.float32
    assert embeddings.shape == (3, times.shape[1], model.timestamp_embedding_size)
    assert times[0, -1] <= samples / 16 < times[0, -1] + 50 and torch.equal(times[0], times[2])
    assert scene.isfinite().all() and embeddings.isfinite().all()


@pytest.mark.parametrize("module", MODULES)
def test_a_clip_does_not_depend_on_its_batch(module):
    audio = torch.randn(4, 20000, generator=torch.Generator().manual_seed(0))
    audio *= torch.tensor([[1], [0.1], [0], [2]])
    model = module.load_model()
    torch.testing.assert_close(
        module.get_scene_embeddings(audio, model)[1:2], module.get_scene_embeddings(audio[1:2], model)
    )
    together, alone = (module.get_timestamp_embeddings(a, model)[0] for a in (audio, audio[1:2]))
    torch.testing.assert_close(together[1:2], alone)


def test_random_projection_agrees_with_a_loop():
    model = random_projection.load_model(embedding_dim=16, seed=3)
    audio = torch.randn(1, 30000, generator=torch.Generator().manual_seed(0))
    frames = (LogMel()(audio)[0] + 3.0) / 5.0
    silence = (math.log(1e-5) + 3.0) / 5.0
    expected = []
    for start in range(0, 188 - 96 + 48, 48):
        segment = torch.full((64, 96), silence)
        part = frames[start : start + 96].T
        segment[:, : part.shape[1]] = part
        expected.append(torch.tanh(segment.flatten() @ model.weight + model.bias))
    embedding = random_projection.get_scene_embeddings(audio, model)[0]
    torch.testing.assert_close(embedding, torch.stack(expected).mean(0), rtol=1e-4, atol=1e-5)


def test_random_projection_is_fixed_by_its_seed():
    first, again, other = (random_projection.load_model(seed=seed).weight for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_random_projection_in_chunks_is_the_same(monkeypatch):
    audio = torch.randn(2, 80000, generator=torch.Generator().manual_seed(0))
    model = random_projection.load_model()
    whole = random_projection.get_timestamp_embeddings(audio, model)[0]
    monkeypatch.setattr(random_projection, "CHUNK_SEGMENTS", 6)
    torch.testing.assert_close(random_projection.get_timestamp_embeddings(audio, model)[0], whole)


@pytest.mark.parametrize("audio", [torch.zeros(100), torch.zeros(1, 1, 100), torch.zeros(1, 0)])
@pytest.mark.parametrize("module", MODULES)
def test_wrong_audio_is_refused(module, audio):
    with pytest.raises(ValueError, match=r"expected \(clips, samples\)"):
        module.get_scene_embeddings(audio, module.load_model())


def test_hear_validator():
    code = "from hearvalidator.validate import ValidateModel\n"
    for module in MODULES:
        code += f"ValidateModel({module.__name__!r}, '', device='cpu')()\n"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("Checking get_scene_embeddings") == 2


def test_eval_tasks_imports_the_reader_of_hear_msss_but_not_its_model_nor_pretrain():
    code = "import sys, eval_tasks.__main__, eval_tasks.baselines.logmel, eval_tasks.tasks.resample\n"
    code += (
        "model = {'pretrain', *(f'hear_msss.{name}' for name in ('api', 'model', 'encoder', 'weights'))}\n"
    )
    code += "assert not model & set(sys.modules), model & set(sys.modules)\n"
    code += "assert 'hear_msss.audio' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
