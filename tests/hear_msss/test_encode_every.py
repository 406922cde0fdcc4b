"""encode_every: what is encoded is exact, what lies between is the mean of its neighbours by distance."""

import numpy as np
import pytest
import torch

import hear_msss


@pytest.mark.parametrize("samples", [1, 2400, 16_000, 40_001])
def test_encode_every_third_interpolates_the_two_between(samples):
    audio = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples)) / 10
    sparse = hear_msss.load_model("untrained", encode_every=3)
    every = hear_msss.load_model("untrained", encode_every=1)
    every, every_times = hear_msss.get_timestamp_embeddings(audio, every)
    embeddings, times = hear_msss.get_timestamp_embeddings(audio, sparse)
    assert torch.equal(times, every_times) and embeddings.shape == every.shape
    assert (embeddings[:, ::3] - every[:, ::3]).abs().max() < 1e-4
    count = every.shape[1]
    for k in range(count):
        left, share = k - k % 3, (k % 3) / 3
        if left + 3 < count:
            expected = (1 - share) * every[:, left].numpy() + share * every[:, left + 3].numpy()
            assert np.abs(embeddings[:, k].numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("hop_ms, timestamps", [(10, 15), (30, 5), (50, 3), (70, 2), (80, 1), (500, 1)])
def test_by_default_windows_are_150_ms_apart_or_as_far_as_the_hop(hop_ms, timestamps):
    audio = torch.randn(1, 12_000, generator=torch.Generator().manual_seed(hop_ms)) / 10
    options = ({}, {"encode_every": timestamps}, {"encode_every": timestamps + 1})
    models = [hear_msss.load_model("untrained", hop_ms=hop_ms, **option) for option in options]
    of_default, of_count, of_one_more = (
        hear_msss.get_timestamp_embeddings(audio, model)[0] for model in models
    )
    assert torch.equal(of_default, of_count)
    assert of_default.shape[1] < 2 or not torch.equal(of_default, of_one_more)


def test_a_hop_that_was_rounded_by_a_calculation_is_the_hop_it_stands_for():
    for hop_ms in (50 + 1e-10, 50, 50 - 1e-10):
        assert hear_msss.load_model("untrained", hop_ms=hop_ms).options.timestamps_per_window == 3


def test_encoded_windows_are_at_most_a_minute_apart():
    """The last window may lie so far behind the clip, and all between takes memory."""
    audio = torch.zeros(1, 160)
    model = hear_msss.load_model("untrained", hop_ms=500, encode_every=120)
    assert hear_msss.get_timestamp_embeddings(audio, model)[0].shape == (1, 1, 512)
    with pytest.raises(ValueError, match=r"encode_every=121 with hop_ms=500: .* 60\.5 s apart; .*most 60 s"):
        hear_msss.load_model("untrained", hop_ms=500, encode_every=121)
    hear_msss.load_model("untrained", hop_ms=3_600_000, encode_every=1)


@pytest.mark.parametrize("options", [{"encode_every": 0}, {"encode_every": 1.5}, {"encode_every": True}])
def test_encode_every_is_checked(options):
    with pytest.raises(ValueError, match="encode_every"):
        hear_msss.load_model("untrained", **options)
