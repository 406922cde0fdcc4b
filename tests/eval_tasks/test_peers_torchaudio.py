"""Bundles of torchaudio, small and random: nothing is downloaded."""

import dataclasses

import pytest
import torch

torchaudio = pytest.importorskip("torchaudio")

from torchaudio import pipelines  # noqa: E402

from eval_tasks.peers import torchaudio as peer  # noqa: E402

SMALL = {
    "encoder_embed_dim": 16,
    "encoder_num_layers": 2,
    "encoder_num_heads": 2,
    "encoder_ff_interm_features": 32,
    "encoder_pos_conv_kernel": 8,
    "encoder_pos_conv_groups": 2,
    "extractor_conv_layer_config": [(8, 10, 5)] + [(8, 3, 2)] * 4 + [(8, 2, 2)] * 2,
}
BUNDLES = ("WAV2VEC2_BASE", "HUBERT_LARGE", "WAVLM_BASE")  # the second one normalises the waveform


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The same bundles with small networks."""
    for name in BUNDLES:
        bundle = getattr(pipelines, name)
        bundle = dataclasses.replace(bundle, _params={**bundle._params, **SMALL})
        monkeypatch.setattr(pipelines, name, bundle)


def sounds(seconds):
    return torch.randn(2, round(seconds * 16_000), generator=torch.Generator().manual_seed(0)) / 10


@pytest.mark.parametrize("name", BUNDLES)
def test_hear_api(name):
    model = peer.load_model(name=name, random=True)
    assert model.sample_rate == 16_000
    for seconds in (1e-4, 0.5):
        with torch.no_grad():
            embeddings, times_ms = peer.get_timestamp_embeddings(sounds(seconds), model)
            scenes = peer.get_scene_embeddings(sounds(seconds), model)
        assert embeddings.shape == (2, times_ms.shape[1], model.timestamp_embedding_size)
        assert scenes.shape == (2, model.scene_embedding_size) and scenes.isfinite().all()
        assert embeddings.dtype == scenes.dtype == times_ms.dtype == torch.float32
        expected = 12.5 + 20 * torch.arange(times_ms.shape[1])  # 25 ms seen every 20 ms
        torch.testing.assert_close(times_ms, expected.expand(2, -1), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["WAV2VEC2_BASE", "HUBERT_LARGE"])
def test_weights_from_a_file_are_the_bundle_s_own(name, tmp_path, monkeypatch):
    torch.manual_seed(1)
    bundle = getattr(pipelines, name)
    own = torchaudio.models.wav2vec2_model(**bundle._params).eval()
    torch.save(own.state_dict(), tmp_path / "weights.pt")
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)  # nothing may be downloaded
    audio = sounds(1)
    expected = audio
    if name == "HUBERT_LARGE":
        expected = torch.nn.functional.layer_norm(audio, audio.shape)  # as torchaudio's own wrapper does
    with torch.no_grad():
        layers, _ = own.extract_features(expected)
        for layer, hidden in ((-1, layers[-1]), (0, layers[0]), ("mean", torch.stack(layers).mean(0))):
            model = peer.load_model(str(tmp_path / "weights.pt"), name=name, layer=layer)
            embeddings, _ = peer.get_timestamp_embeddings(audio, model)
            assert embeddings.shape == hidden.shape
            torch.testing.assert_close(embeddings, hidden, rtol=0, atol=1e-5)


def test_random_weights_are_seeded():
    models = [peer.load_model(name="WAVLM_BASE", random=True) for _ in range(2)]
    assert torch.equal(*(model(sounds(0.1))[0] for model in models))


def test_what_cannot_be_is_said(tmp_path):
    with pytest.raises(ValueError, match="name='HUBERT': expected one of HUBERT_ASR_LARGE"):
        peer.load_model(name="HUBERT")
    with pytest.raises(FileNotFoundError, match="no such file"):
        peer.load_model(str(tmp_path / "weights.pt"), name="HUBERT_LARGE")
    with pytest.raises(ValueError, match="expected 'mean' or a number from -2 to 1"):
        peer.load_model(name="WAV2VEC2_BASE", layer=2, random=True)
