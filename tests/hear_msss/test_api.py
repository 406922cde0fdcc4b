"""The HEAR API: shapes, batching, chunking, errors, golden values."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hear_msss
from hear_msss.config import ModelConfig
from hear_msss.model import MSSS
from hear_msss.options import Options
from hear_msss.weights import untrained_encoder


@pytest.fixture(scope="module")
def model() -> MSSS:
    return hear_msss.load_model("untrained")


ROUNDING = 1e-4  # of an untrained network, whose batch norms magnify float32 rounding (4e-5 seen)


def _clips(count: int, samples: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, samples, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@given(sounds=st.integers(1, 3), samples=st.integers(1, 40_000))
@settings(max_examples=12, deadline=None)
def test_shapes_types_and_range_over_lengths(model, sounds, samples):
    audio = _clips(sounds, samples)
    scenes = hear_msss.get_scene_embeddings(audio, model)
    embeddings, times = hear_msss.get_timestamp_embeddings(audio, model)
    timestamps = samples // 800 + 1
    assert scenes.shape == (sounds, model.scene_embedding_size)
    assert embeddings.shape == (sounds, timestamps, model.timestamp_embedding_size)
    assert times.shape == (sounds, timestamps)
    assert scenes.dtype == embeddings.dtype == times.dtype == torch.float32  # as the HEAR API has it
    assert torch.isfinite(scenes).all() and torch.isfinite(embeddings).all()
    assert times[0].tolist() == [50.0 * i for i in range(timestamps)]


@pytest.mark.parametrize("scene", ["mean", "mean_max", "frames"])
def test_scene_is_pooled_from_the_windows_that_cover_the_clip(scene):
    model = hear_msss.load_model("untrained", scene=scene)
    audio = _clips(2, 40_000)
    frames = model.front_end(audio)  # 248 frames: windows at 0, 51, 101 and 152
    with torch.no_grad():
        h = torch.stack([model.encoder(frames[:, :, s : s + 96]) for s in (0, 51, 101, 152)], dim=1)
    expected = h.mean(dim=(1, 2))
    if scene == "mean_max":
        expected = torch.cat([expected, h.amax(dim=(1, 2))], dim=-1)
    if scene == "frames":
        expected = torch.cat([h[:, :, frame].mean(dim=1) for frame in range(3)], dim=-1)
    torch.testing.assert_close(hear_msss.get_scene_embeddings(audio, model), expected, rtol=0, atol=ROUNDING)


def test_frames_are_as_many_as_a_window_of_the_weights_has():
    encoder = untrained_encoder(ModelConfig(segment_frames=64))  # two frames of h
    model = MSSS(encoder, Options(scene="frames", timestamp="frames", hop_ms=200))
    assert model.scene_embedding_size == model.timestamp_embedding_size == 2 * 512
    audio = _clips(2, 16_000)
    assert hear_msss.get_scene_embeddings(audio, model).shape == (2, 1024)
    assert hear_msss.get_timestamp_embeddings(audio, model)[0].shape == (2, 6, 1024)


@pytest.mark.parametrize("timestamp", ["middle", "mean", "middle_mean", "frames"])
def test_timestamps_are_windows_cut_from_the_waveform(timestamp):
    model = hear_msss.load_model("untrained", timestamp=timestamp, hop_ms=70, chunk_size=7, encode_every=1)
    audio = _clips(2, 20_000)
    embeddings, times = hear_msss.get_timestamp_embeddings(audio, model)
    padded = torch.nn.functional.pad(audio, (20_000, 20_000))
    for index in (0, 3, 9, embeddings.shape[1] - 1):
        begin = 20_000 + int(times[0, index] * 16) - 7_800
        with torch.no_grad():
            h = model.encoder(model.front_end(padded[:, begin : begin + 15_600]))
        parts = {"middle": h[:, 1], "mean": h.mean(1), "middle_mean": torch.cat([h[:, 1], h.mean(1)], -1)}
        parts["frames"] = torch.cat([h[:, 0], h[:, 1], h[:, 2]], -1)
        torch.testing.assert_close(embeddings[:, index], parts[timestamp], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("chunk_size", [1, 5, 64])
def test_alone_or_in_a_batch_and_in_any_chunks(chunk_size, model):
    audio = _clips(3, 24_000)
    other = hear_msss.load_model("untrained", chunk_size=chunk_size)
    scenes = hear_msss.get_scene_embeddings(audio, other)
    embeddings, _ = hear_msss.get_timestamp_embeddings(audio, other)
    for number, clip in enumerate(audio):
        alone = hear_msss.get_scene_embeddings(clip[None], model)[0]
        torch.testing.assert_close(scenes[number], alone, rtol=0, atol=ROUNDING)
        alone = hear_msss.get_timestamp_embeddings(clip[None], model)[0][0]
        torch.testing.assert_close(embeddings[number], alone, rtol=0, atol=ROUNDING)


def test_spectrogram_in_blocks_is_the_whole_spectrogram(model, monkeypatch):
    audio = _clips(3, 30_000)
    whole = model.front_end(audio)
    for frames in (7, 100, 250):
        monkeypatch.setattr("hear_msss.model.block_frames", lambda device, frames=frames: frames)
        torch.testing.assert_close(model.log_mel(audio), whole)


@pytest.mark.parametrize(
    "audio",
    [
        torch.zeros(1, 1),
        torch.full((1, 4800), 0.5),
        torch.zeros(2, 16_000),
        torch.sign(torch.sin(torch.arange(16_000) * 0.3))[None],
        torch.rand(2, 16_000, dtype=torch.float64),
    ],
    ids=["one sample", "0.3 s", "silence", "square wave", "float64"],
)
def test_extreme_sounds_give_finite_float32(model, audio):
    scenes = hear_msss.get_scene_embeddings(audio, model)
    embeddings, _ = hear_msss.get_timestamp_embeddings(audio, model)
    assert scenes.dtype == embeddings.dtype == torch.float32
    assert torch.isfinite(scenes).all() and torch.isfinite(embeddings).all()


def test_a_thousand_clips(model):
    scenes = hear_msss.get_scene_embeddings(_clips(1000, 400), model)
    assert scenes.shape == (1000, 512) and torch.isfinite(scenes).all()


@pytest.mark.parametrize(
    ("audio", "error", "words"),
    [
        (torch.zeros(16_000), ValueError, r"audio\[None\]"),
        (torch.zeros(1, 2, 16_000), ValueError, "two dimensions"),
        (torch.zeros(2, 16_000, dtype=torch.int16), TypeError, "32768"),
        (torch.zeros(0, 16_000), ValueError, "at least one sound"),
        (torch.zeros(2, 0), ValueError, "at least one sound"),
        (torch.tensor([[0.0, float("nan")]]), ValueError, "sound 0 at sample 1"),
        (torch.tensor([[0.0], [float("inf")]]), ValueError, "sound 1 at sample 0"),
        (torch.full((1, 100), 3000.0), ValueError, r"\[-1, 1\]"),
        (np.zeros((1, 100), dtype=np.float32), TypeError, "from_numpy"),
        (torch.zeros(1, 100).to_sparse(), TypeError, "dense"),
        (torch.zeros(1, 100, device="meta"), TypeError, "device meta"),
        (torch.nested.nested_tensor([torch.zeros(100), torch.zeros(50)]), TypeError, "pad nested sounds"),
    ],
)
@pytest.mark.parametrize("function", [hear_msss.get_scene_embeddings, hear_msss.get_timestamp_embeddings])
def test_audio_that_cannot_be_embedded(model, function, audio, error, words):
    with pytest.raises(error, match=words):
        function(audio, model)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"hopms": 50}, TypeError, "Did you mean 'hop_ms'"),
        ({"scene": "median"}, ValueError, "mean_max"),
        ({"timestamp": 1}, ValueError, "middle"),
        ({"hop_ms": 33}, ValueError, "multiple of 10 ms"),
        ({"hop_ms": "50"}, ValueError, "milliseconds"),
        ({"hop_ms": math.inf}, ValueError, "milliseconds"),
        ({"hop_ms": math.nan}, ValueError, "milliseconds"),
        ({"hop_ms": 10**400}, ValueError, "milliseconds"),
        ({"encode_every": 1e12}, ValueError, "whole number"),
        ({"encode_every": 10**12}, ValueError, "whole number"),
        ({"chunk_size": 0}, ValueError, "whole number from 1"),
    ],
)
def test_options_that_do_not_exist(options, error, words):
    with pytest.raises(error, match=words):
        hear_msss.load_model("untrained", **options)


def test_model_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="load_model"):
        hear_msss.get_scene_embeddings(torch.zeros(1, 100), torch.nn.Identity())


def test_default_without_bundled_weights_warns(monkeypatch):
    monkeypatch.setattr("hear_msss.api.bundled", dict)
    with pytest.warns(UserWarning, match="UNTRAINED"):
        hear_msss.load_model()


def test_untrained_by_name_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hear_msss.load_model("untrained")


def test_default_is_the_bundled_weights_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = hear_msss.load_model()
    assert (model.options.features, model.options.scene) == ("components", "frames")
    assert (model.scene_embedding_size, model.timestamp_embedding_size) == (3 * 1152, 1152)


def test_default_alone_or_in_a_batch():
    """Trained weights magnify rounding less: equal to 1e-5 of the largest value."""
    model = hear_msss.load_model()
    audio = _clips(3, 24_000)
    scenes = hear_msss.get_scene_embeddings(audio, model)
    for number, clip in enumerate(audio):
        alone = hear_msss.get_scene_embeddings(clip[None], model)[0]
        torch.testing.assert_close(scenes[number], alone, rtol=0, atol=1e-5 * float(scenes.abs().max()))
