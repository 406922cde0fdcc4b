"""Dense timestamps: each exactly once, from the right frame of the right window."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import hear_msss
from hear_msss import windows
from hear_msss.config import ModelConfig

CONFIG = ModelConfig()
HOPS = [1, 2, 4, 5, 8, 16, 32]


@given(hop=st.sampled_from(HOPS), count=st.integers(1, 400), group=st.integers(0, 3))
def test_every_timestamp_gets_the_frame_nearest_to_it(hop, count, group):
    first = group * windows.dense_group(hop, CONFIG)
    centres, picks = windows.dense_windows(first, first + count, hop, CONFIG)
    assert len(picks) == count == len(set(picks.tolist()))
    assert np.all(np.diff(centres) > 0)
    window, frame = np.divmod(picks, 3)
    assert set(window.tolist()) == set(range(len(centres)))
    stands_for = centres[window] * hop + 32 * (frame - 1)  # in frames of the spectrogram
    off = np.abs(stands_for - np.arange(first, first + count) * hop)
    assert off.max() <= windows.DENSE_TOLERANCE
    if 32 % hop == 0:
        assert off.max() == 0


def test_three_times_fewer_windows():
    centres, _ = windows.dense_windows(0, 1800, 5, CONFIG)
    assert len(centres) == 600


def test_a_hop_that_does_not_fit_names_those_that_do():
    with pytest.raises(ValueError, match=r"hop_ms=130 .*50.*320"):
        hear_msss.load_model("untrained", timestamp="dense", hop_ms=130)


@pytest.fixture(scope="module")
def model():
    return hear_msss.load_model("untrained", timestamp="dense", hop_ms=40)


@pytest.mark.parametrize("samples", [1, 5000, 16_000, 16_000 * 2 + 1])
def test_embeddings_equal_a_loop_over_windows_cut_from_the_waveform(model, samples):
    audio = torch.randn(1, samples, generator=torch.Generator().manual_seed(samples)) / 10
    embeddings, times = hear_msss.get_timestamp_embeddings(audio, model)
    count = samples // 640 + 1
    assert times[0].tolist() == [40.0 * k for k in range(count)]
    assert embeddings.shape == (1, count, 512)
    padded = F.pad(audio, (32_000, 32_000))[0]
    for k in range(count):
        group, within = divmod(k, 24)
        whole = (group + 1) * 24 <= count
        frame = within // 8 if whole else 1
        centre = (k + 8 * (1 - frame)) * 640 + 32_000
        segment = padded[centre - 7800 : centre + 7800]
        with torch.no_grad():
            h = model.encoder(model.front_end(segment[None]))
        assert (embeddings[0, k] - h[0, frame]).abs().max() < 1e-4


def test_timestamps_are_those_of_the_other_options():
    audio = torch.zeros(2, 40_000)
    _, dense = hear_msss.get_timestamp_embeddings(audio, hear_msss.load_model("untrained", timestamp="dense"))
    _, middle = hear_msss.get_timestamp_embeddings(audio, hear_msss.load_model("untrained"))
    assert torch.equal(dense, middle)


@pytest.mark.parametrize("samples", [1, 2400, 16_000, 40_001])
def test_encode_every_third_interpolates_the_two_between(samples):
    audio = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples)) / 10
    sparse = hear_msss.load_model("untrained", encode_every=3)
    every, every_times = hear_msss.get_timestamp_embeddings(audio, hear_msss.load_model("untrained"))
    embeddings, times = hear_msss.get_timestamp_embeddings(audio, sparse)
    assert torch.equal(times, every_times) and embeddings.shape == every.shape
    assert (embeddings[:, ::3] - every[:, ::3]).abs().max() < 1e-4
    count = every.shape[1]
    for k in range(count):
        left, share = k - k % 3, (k % 3) / 3
        if left + 3 < count:
            expected = (1 - share) * every[:, left].numpy() + share * every[:, left + 3].numpy()
            assert np.abs(embeddings[:, k].numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("options", [{"encode_every": 0}, {"encode_every": 2, "timestamp": "dense"}])
def test_encode_every_is_checked(options):
    with pytest.raises(ValueError, match="encode_every"):
        hear_msss.load_model("untrained", **options)
