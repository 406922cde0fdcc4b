"""The peer against its own package."""

import pytest
import torch

torchcrepe = pytest.importorskip("torchcrepe")

from eval_tasks.peers import torchcrepe as peer  # noqa: E402


def test_embeddings_are_torchcrepes_own():
    audio = 0.1 * torch.randn(2, 5000, generator=torch.Generator().manual_seed(0))
    model = peer.load_model(capacity="tiny")
    with torch.no_grad():
        embeddings, times = peer.get_timestamp_embeddings(audio, model)
        scene = peer.get_scene_embeddings(audio, model)
        own = [torchcrepe.embed(clip[None], 16000, hop_length=800, model="tiny").flatten(2) for clip in audio]
    assert embeddings.shape == (2, 7, model.timestamp_embedding_size)
    assert times.tolist() == [[0, 50, 100, 150, 200, 250, 300]] * 2
    torch.testing.assert_close(embeddings, torch.cat(own), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scene, embeddings.mean(1))


def test_one_sample_is_enough_and_the_last_timestamp_lies_inside():
    model = peer.load_model(capacity="tiny")
    with torch.no_grad():
        assert peer.get_scene_embeddings(torch.ones(1, 1), model).isfinite().all()
        _, times = peer.get_timestamp_embeddings(torch.zeros(1, 1600), model)
    assert times.tolist() == [[0, 50]]


@pytest.mark.parametrize("options", [{"capacity": "huge"}, {"hop_ms": 0}, {"hop_ms": 0.03}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="expected"):
        peer.load_model(**options)
