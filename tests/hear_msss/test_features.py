"""Levels beside h: against numpy, and standardised by what they were measured on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.decomposition import PCA

import hear_msss
from hear_msss.config import ModelConfig
from hear_msss.features import (
    BLOCK_CHANNELS,
    LIMIT,
    Features,
    Levels,
    all_levels,
    block_means,
    choices,
    log_mel_statistics,
    measure_levels,
    principal_components,
)
from hear_msss.frontend import FrontEnd
from hear_msss.model import MSSS
from hear_msss.options import Options
from hear_msss.weights import Weights, load_weights, save_weights, untrained_encoder, untrained_weights


@pytest.fixture(scope="module")
def segments() -> torch.Tensor:
    noise = torch.randn(6, 15_600, generator=torch.Generator().manual_seed(0))
    loudness = torch.logspace(-3, -0.5, 6)[:, None] * (1 + torch.sin(torch.arange(15_600) / 900))
    return FrontEnd()(noise * loudness)


@pytest.fixture(scope="module")
def encoder():
    return untrained_encoder()


@pytest.fixture(scope="module")
def levels(encoder, segments) -> Levels:
    return measure_levels(encoder, segments)


def test_log_mel_statistics_are_those_of_numpy(segments):
    got, log_mel = log_mel_statistics(segments).numpy(), segments.numpy()
    assert got.shape == (6, 3, 192)
    for frame in range(3):
        third = log_mel[:, :, 32 * frame : 32 * frame + 32]
        local = log_mel[:, :, 32 * frame + 14 : 32 * frame + 18].mean(-1)
        expected = np.concatenate([local, third.mean(-1), third.std(-1)], axis=1)
        np.testing.assert_allclose(got[:, frame], expected, rtol=1e-4, atol=1e-4)


def test_block_means_are_means_over_frequency_and_a_third_of_the_time(encoder, segments):
    with torch.no_grad():
        taps = encoder.trunk(segments, tuple(BLOCK_CHANNELS))[1]
        got = block_means(taps)
    assert got.shape == (6, 3, 448)
    first = 0
    for tap, channels in zip(taps, BLOCK_CHANNELS.values(), strict=True):
        for frame, third in enumerate(np.array_split(tap.numpy(), 3, axis=3)):
            np.testing.assert_allclose(
                got[:, frame, first : first + channels], third.mean((2, 3)), rtol=1e-3, atol=1e-4
            )
        first += channels


def test_levels_are_standardised_where_they_were_measured(encoder, levels, segments):
    with torch.no_grad():
        frames = Features(encoder, "blocks+log_mel", levels)(segments)
    inside = (frames.abs() < LIMIT).all(dim=0).all(dim=0)
    assert inside.float().mean() > 0.95
    count = int(inside.sum())
    torch.testing.assert_close(frames.mean(0)[:, inside], torch.zeros(3, count), rtol=0, atol=1e-3)
    torch.testing.assert_close(frames.flatten(0, 1).std(0)[inside], torch.ones(count), rtol=0, atol=1e-3)


def test_components_are_those_of_scikit_learn(encoder, levels, segments):
    """Weighted and standardised by numpy, then sklearn's PCA, each component up to its sign."""
    with torch.no_grad():
        values = torch.cat([*all_levels(encoder, segments, ["h", "blocks", "log_mel"]).values()], -1).numpy()
        got = Features(encoder, "components", levels)(segments).flatten(0, 1).numpy()
    centred = values - values.mean(0)
    deviation = np.maximum(centred.reshape(18, -1).std(0, ddof=1), 1e-3)
    weights = np.repeat([1.0, 1.0, 2.0], [512, 448, 192])
    standard = (np.clip(centred / deviation, -LIMIT, LIMIT) * weights).reshape(18, -1)
    pca = PCA(n_components=10, svd_solver="full").fit(standard.astype(np.float64))
    expected = pca.transform(standard)
    scale = expected.std(0) + 0.025 * expected.std(0)[0]
    np.testing.assert_allclose(np.abs(got[:, :10]), np.abs(expected / scale), atol=2e-2)
    model = hear_msss.load_model("untrained", features="components", scene="frames")
    assert (model.scene_embedding_size, model.timestamp_embedding_size) == (3 * 1152, 1152)


@pytest.mark.parametrize("count", [1, 512, 1152])
def test_a_file_may_hold_any_number_of_components(encoder, levels, tmp_path, count):
    """Those of an earlier version are the first 512 of today's."""
    matrix = torch.randn(1152, 1152, generator=torch.Generator().manual_seed(0)) / 30
    whole, part = (Levels(levels.mean, levels.std, matrix[:, :n].contiguous()) for n in (1152, count))
    embeddings = []
    for held in (whole, part):
        save_weights(tmp_path / "w.safetensors", Weights(encoder, held, {}))
        model = hear_msss.load_model(str(tmp_path / "w.safetensors"), features="components")
        assert model.timestamp_embedding_size == held.components.shape[1]
        embeddings.append(hear_msss.get_scene_embeddings(torch.ones(1, 16_000) / 8, model))
    torch.testing.assert_close(embeddings[1], embeddings[0][:, :count], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1152, 0), (1152, 1153), (1151, 512), (1152,), (), (2, 576, 512)])
def test_components_that_fit_no_levels_are_refused(encoder, levels, tmp_path, shape):
    save_weights(tmp_path / "w.safetensors", Weights(encoder, levels, {}))
    tensors = load_file(tmp_path / "w.safetensors")
    with safe_open(tmp_path / "w.safetensors", framework="pt") as archive:
        metadata = archive.metadata()
    save_file(tensors | {"components": torch.zeros(shape)}, tmp_path / "bad.safetensors", metadata)
    with pytest.raises(ValueError, match="components"):
        load_weights(tmp_path / "bad.safetensors")


def test_a_small_encoder_has_as_many_components_as_levels():
    weights = untrained_weights(ModelConfig(embedding_dim=8))
    model = MSSS(weights.encoder, Options(features="components"), weights.levels)
    assert model.timestamp_embedding_size == 8 + 448 + 192


def test_components_do_not_depend_on_signs_that_eigenvectors_leave_open(encoder, monkeypatch):
    levels = torch.randn(40, 3, 1152, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    once = principal_components(levels, encoder.config)
    whole = torch.linalg.eigh

    def turned(matrix):
        values, vectors = whole(matrix)
        return values, -vectors

    monkeypatch.setattr(torch.linalg, "eigh", turned)
    torch.testing.assert_close(principal_components(levels, encoder.config), once)


@pytest.mark.parametrize("features", sorted(set(choices()) - {"components"}))
def test_parts_stand_side_by_side(encoder, levels, segments, features):
    sizes = {"h": 512, "blocks": 448, "log_mel": 192}
    with torch.no_grad():
        joined = Features(encoder, features, levels)(segments[:2])
        first = 0
        for part in features.split("+"):
            alone = Features(encoder, part, levels)(segments[:2])
            torch.testing.assert_close(joined[..., first : first + sizes[part]], alone)
            first += sizes[part]
    assert joined.shape == (2, 3, first)
    model = hear_msss.load_model("untrained", features=features)
    assert (model.scene_embedding_size, model.timestamp_embedding_size) == (first, first)


def test_far_outliers_are_limited(encoder, levels):
    with torch.no_grad():
        loud = Features(encoder, "log_mel", levels)(torch.full((1, 64, 96), 1e4))
    assert loud[..., :128].unique().tolist() == [10.0] == [LIMIT]


def test_h_stays_as_it_is(encoder, levels, segments):
    with torch.no_grad():
        torch.testing.assert_close(Features(encoder, "h", levels)(segments[:2]), encoder(segments[:2]))


def test_statistics_travel_with_the_weights(encoder, levels, tmp_path):
    save_weights(tmp_path / "w.safetensors", Weights(encoder, levels, {}))
    loaded = load_weights(tmp_path / "w.safetensors").levels
    for name in ("mean", "std", "components"):
        assert torch.equal(getattr(loaded, name), getattr(levels, name))
    assert levels.std.std() > 0
    model = hear_msss.load_model(str(tmp_path / "w.safetensors"), features="components")
    assert torch.equal(model.encoder.components, levels.components)


def test_weights_without_statistics_give_h_and_nothing_else(encoder, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, Weights(encoder, None, {}))
    assert load_weights(path).levels is None
    assert hear_msss.get_scene_embeddings(torch.zeros(1, 16_000), hear_msss.load_model(str(path))).shape == (
        1,
        512,
    )
    with pytest.raises(ValueError, match="without --no-levels"):
        hear_msss.load_model(str(path), features="components")


def test_unknown_features():
    with pytest.raises(ValueError, match="components"):
        hear_msss.load_model("untrained", features="mfcc")
