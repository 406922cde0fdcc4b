"""whole_clip: one pass over a clip, against a network built for that length and a loop over its frames."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from efficientnet_pytorch import EfficientNet

import hear_msss
from hear_msss.cli.writers import counted, write_file
from hear_msss.collection.batching import embed_clips
from hear_msss.frontend import FrontEnd
from hear_msss.graphs.modules import export_graph
from hear_msss.model import MSSS
from hear_msss.options import Options
from hear_msss.streaming import DecodedClip
from hear_msss.weights import untrained_encoder

ROUNDING = 1e-4  # of an untrained network, as in test_api


def noise(sounds, samples):
    return torch.randn(sounds, samples, generator=torch.Generator().manual_seed(0)) / 10


@pytest.fixture(scope="module")
def encoder():
    return untrained_encoder()


@pytest.fixture(scope="module")
def model(encoder):
    return MSSS(encoder, Options(whole_clip=True))


@torch.no_grad()
def slow_h(encoder, clip):
    """``(samples,)`` to h, frame by frame, by ``efficientnet_pytorch`` padded for this very length."""
    frames = max(1, (len(clip) - 400) // 160 + 1)
    frames = max(96, (frames + 31) // 32 * 32)
    clip = torch.nn.functional.pad(clip, (0, (frames - 1) * 160 + 400 - len(clip)))
    log_mel = FrontEnd(encoder.config)(clip)
    assert log_mel.shape == (64, frames)
    network = EfficientNet.from_name(
        "efficientnet-b0", in_channels=1, image_size=(64, frames), include_top=False
    ).eval()
    network.load_state_dict(encoder.network.state_dict())
    x = (log_mel - encoder.config.log_mel_mean) / encoder.config.log_mel_std
    feature_map = network.extract_features(x[None, None])[0]
    rows = [
        torch.tanh(encoder.norm(encoder.projection(feature_map[:, :, i].mean(1))))
        for i in range(feature_map.shape[2])
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("samples", [1, 3_000, 15_600, 16_000, 50_000])
def test_against_a_slow_loop(encoder, model, samples):
    audio = noise(2, samples)
    embeddings, times_ms = hear_msss.get_timestamp_embeddings(audio, model)
    scenes = hear_msss.get_scene_embeddings(audio, model)
    middles = [(i * 32 * 160 + (31 * 160 + 400) / 2) / 16 for i in range(200)]
    expected_ms = [ms for ms in middles if ms <= samples / 16] or middles[:1]
    assert times_ms.dtype == torch.float32 and times_ms.tolist() == [expected_ms] * 2
    assert embeddings.shape == (2, len(expected_ms), 512) and model.timestamp_embedding_size == 512
    for clip, found, scene in zip(audio, embeddings, scenes, strict=True):
        h = slow_h(encoder, clip)[: len(expected_ms)]
        torch.testing.assert_close(found, h, rtol=0, atol=ROUNDING)
        torch.testing.assert_close(scene, h.mean(0), rtol=0, atol=ROUNDING)


def test_few_clips_at_once_and_mean_and_maximum(encoder, model):
    audio = noise(3, 40_000)
    expected, _ = hear_msss.get_timestamp_embeddings(audio, model)
    one_by_one = MSSS(encoder, Options(whole_clip=True, chunk_size=1, scene="mean_max"))
    found, _ = hear_msss.get_timestamp_embeddings(audio, one_by_one)
    torch.testing.assert_close(found, expected, rtol=0, atol=ROUNDING)
    scenes = hear_msss.get_scene_embeddings(audio, one_by_one)
    both = torch.cat([expected.mean(1), expected.amax(1)], dim=-1)
    assert scenes.shape[1] == one_by_one.scene_embedding_size == 1024
    torch.testing.assert_close(scenes, both, rtol=0, atol=ROUNDING)


def test_a_burst_is_heard_at_its_time():
    """By the log-mel, as squeeze and excitation takes a clip's mean into every frame of h."""
    model = hear_msss.load_model(whole_clip=True, features="log_mel", scene="mean")
    quiet = noise(1, 80_000) / 100
    for middle_s in (1.2, 3.7):
        loud = quiet.clone()
        begin = round((middle_s - 0.1) * 16_000)
        loud[:, begin : begin + 3_200] *= 1_000
        before, times_ms = hear_msss.get_timestamp_embeddings(quiet, model)
        after, _ = hear_msss.get_timestamp_embeddings(loud, model)
        loudest = (after - before).norm(dim=-1).argmax()
        assert abs(times_ms[0, loudest] - 1000 * middle_s) <= 160


def test_all_levels_of_bundled_weights():
    """Frames of a long clip all lie in the middle of it, and have the middle's statistics."""
    audio = noise(1, 16_000 * 4)
    options = {"scene": "mean", "backend": "torch"}
    whole = hear_msss.load_model(whole_clip=True, features="log_mel", **options)
    found, times_ms = hear_msss.get_timestamp_embeddings(audio, whole)
    windows = hear_msss.load_model(features="log_mel", **options)
    with torch.no_grad():  # the window of which frame 4 of the whole pass is the middle one
        expected = windows.encoder(windows.log_mel(audio)[:, :, 3 * 32 : 6 * 32])[0, 1]
    torch.testing.assert_close(found[0, 4], expected, rtol=0, atol=1e-4)
    assert times_ms[0, 4] == 4 * 320 + 167.5


@pytest.mark.parametrize("timestamps", [False, True])
def test_files_are_embedded_as_clips_are(model, timestamps):
    clips = [noise(1, samples)[0] for samples in (400, 40_000, 90_000)]
    items = [
        SimpleNamespace(clip=DecodedClip(io.BytesIO(clip.numpy().tobytes()), len(clip))) for clip in clips
    ]
    items.insert(1, SimpleNamespace(clip=None))
    rows = [rows for _, rows in embed_clips(items, model, timestamps)]
    assert len(rows) == 4 and rows.pop(1).embeddings.shape[0] == 0
    for clip, found in zip(clips, rows, strict=True):
        if timestamps:
            expected, times_ms = hear_msss.get_timestamp_embeddings(clip[None], model)
            np.testing.assert_allclose(found.times_ms, times_ms[0], atol=1e-3)
        else:
            expected = hear_msss.get_scene_embeddings(clip[None], model)[:, None]
        np.testing.assert_allclose(found.embeddings, expected[0], atol=ROUNDING)


def test_a_file_of_too_few_rows_does_not_appear(tmp_path):
    blocks = [(np.zeros((2, 4), np.float32), np.zeros(2))]
    with pytest.raises(RuntimeError, match="2 embeddings were made where 3 were expected"):
        write_file(tmp_path / "a.npy", "npy", counted(blocks, 3), 3, 4, timestamps=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        {"whole_clip": 1},
        {"whole_clip": True, "scene": "frames"},
        {"whole_clip": True, "backend": "onnxruntime"},
    ],
)
def test_what_does_not_fit_is_refused(options):
    with pytest.raises(ValueError, match="whole_clip"):
        Options(**options)


def test_no_graph_of_a_whole_clip(model, tmp_path):
    with pytest.raises(ValueError, match="whole_clip"):
        export_graph(model, "scene", tmp_path / "scene.onnx")
