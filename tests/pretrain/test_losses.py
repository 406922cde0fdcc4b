"""Each loss against a slow loop over single numbers."""

import pytest
import torch
from slow_losses import (
    SIZES,
    make,
    random,
    slow_clip,
    slow_cross_view,
    slow_frame,
    slow_pitch,
    slow_similarity,
)

from pretrain.losses import (
    BilinearSimilarity,
    CosineSimilarity,
    clip_accuracy,
    clip_loss,
    cross_view_loss,
    frame_loss,
    pitch_error_semitones,
    pitch_loss,
    pitch_target,
)
from pretrain.losses.similarity import make_similarity
from pretrain.settings import PITCH_TARGETS


@pytest.mark.parametrize("kind", ["bilinear", "cosine"])
@pytest.mark.parametrize("batch, frames, dim", SIZES)
def test_similarity(kind, batch, frames, dim):
    similarity, a, b = make(kind, dim), random(batch, frames, dim), random(batch, 2, dim, seed=1)
    scores = similarity(a, b)
    assert scores.shape == (batch, frames, 2)
    for n in range(batch):
        for t in range(frames):
            for i in range(2):
                expected = slow_similarity(similarity, a[n, t], b[n, i])
                assert scores[n, t, i].item() == pytest.approx(expected, rel=1e-9)


def test_bilinear_similarity_begins_at_the_scale_of_a_linear_layer():
    torch.manual_seed(0)
    weight, linear = BilinearSimilarity(256).weight, torch.nn.Linear(256, 256).weight
    for statistic in (torch.std, lambda w: w.abs().max()):
        torch.testing.assert_close(statistic(weight), statistic(linear), rtol=0.02, atol=0)


def test_bilinear_similarity_is_not_symmetric():
    similarity, a, b = make("bilinear", 4), random(3, 4), random(3, 4, seed=1)
    assert not torch.allclose(similarity(a, b), similarity(b, a).T)


@pytest.mark.parametrize("kind", ["bilinear", "cosine"])
@pytest.mark.parametrize("batch, frames, dim", SIZES)
@pytest.mark.parametrize("gathered", [False, True])
def test_clip_loss(kind, batch, frames, dim, gathered):
    similarity, anchors = make(kind, dim), random(batch, dim)
    first = batch if gathered else 0  # this process is the second of three
    candidates = random(3 * batch if gathered else batch, dim, seed=1)
    loss = clip_loss(similarity(anchors, candidates), first + torch.arange(batch))
    assert loss.item() == pytest.approx(slow_clip(similarity, anchors, candidates, first), rel=1e-9)


@pytest.mark.parametrize("kind", ["bilinear", "cosine"])
@pytest.mark.parametrize("batch, frames, dim", SIZES)
@pytest.mark.parametrize("m", [0, 1, 2])
def test_frame_loss(kind, batch, frames, dim, m):
    similarity, z = make(kind, dim), random(batch, frames, dim)
    if m > frames / 2:
        with pytest.raises(ValueError, match="expected 0 to"):
            frame_loss(similarity(z, z), m)
        return
    loss = frame_loss(similarity(z, z), m)
    assert loss.item() == pytest.approx(slow_frame(similarity, z, m), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("batch, frames, dim", SIZES)
def test_pitch_loss(batch, frames, dim):
    pitch, shifted, shift = random(batch, frames), random(batch, frames, seed=1), random(batch, seed=2)
    assert pitch_loss(pitch, shifted, shift).item() == pytest.approx(slow_pitch(pitch, shifted, shift))


@pytest.mark.parametrize("kind", ["bilinear", "cosine"])
@pytest.mark.parametrize("batch, frames, dim", SIZES)
@pytest.mark.parametrize("other_segments", [False, True])
def test_cross_view_loss(kind, batch, frames, dim, other_segments):
    similarity, x, shifted = make(kind, dim), random(batch, frames, dim), random(batch, frames, dim, seed=1)
    expected = slow_cross_view(similarity, x, shifted, other_segments)
    candidates = shifted.flatten(0, 1) if other_segments else None
    loss = cross_view_loss(similarity, x, shifted, candidates)
    assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_pitch_targets():
    ratio = torch.tensor([0.5, 1.0, 2.0, 2 ** (1 / 12)], dtype=torch.float64)
    assert pitch_target(ratio, "semitones").tolist() == pytest.approx([-12, 0, 12, 1])
    assert pitch_target(ratio, "log2").tolist() == pytest.approx([-1, 0, 1, 1 / 12])
    assert pitch_target(ratio, "ratio_minus_one").tolist() == pytest.approx([-0.5, 0, 1, 2 ** (1 / 12) - 1])
    assert pitch_target(ratio, "authors")[1:].tolist() == pytest.approx([0, 4095, 1])
    with pytest.raises(ValueError, match="ratio_minus_one, semitones, log2, authors"):
        pitch_target(ratio, "cents")


@pytest.mark.parametrize("target", PITCH_TARGETS)
def test_pitch_error_is_in_semitones_whatever_the_target(target):
    ratio = torch.tensor([0.8, 1.2], dtype=torch.float64)
    pitch = random(2, 3)
    exact = pitch + pitch_target(ratio, target)[:, None]
    off = pitch + pitch_target(ratio * 2 ** (3 / 12), target)[:, None]
    assert pitch_error_semitones(pitch, exact, ratio, target).item() == pytest.approx(0, abs=1e-9)
    assert pitch_error_semitones(pitch, off, ratio, target).item() == pytest.approx(3)


def test_clip_accuracy_counts_a_tie_as_a_miss():
    positive = torch.arange(4)
    assert clip_accuracy(torch.eye(4), positive).item() == 1
    assert clip_accuracy(torch.zeros(4, 4), positive).item() == 0
    assert clip_accuracy(torch.eye(4).roll(1, 0), positive).item() == 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: clip_loss(random(3, 3, 3), torch.arange(3)), "anchors, candidates"),
        (lambda: frame_loss(random(3, 2, 4)), "batch, frames, frames"),
        (lambda: pitch_loss(random(3, 2), random(3, 3), random(3)), "batch, frames"),
        (lambda: cross_view_loss(CosineSimilarity(), random(3, 2, 4), random(3, 3, 4)), "batch, frames, d"),
        (lambda: CosineSimilarity(0), "temperature"),
        (lambda: make_similarity("euclidean", 3), "bilinear"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
