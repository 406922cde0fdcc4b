"""Equation 7, the heads, and their gradients."""

from dataclasses import replace

import pytest
import torch
from slow_losses import random, slow_clip, slow_cross_view, slow_frame, slow_pitch

from hear_msss.config import ModelConfig
from pretrain.augmentation import Augmentation
from pretrain.heads import Heads, Representations
from pretrain.losses import (
    MultipleSamplingLoss,
    clip_accuracy,
)
from pretrain.settings import Settings


def total_loss(dim: int, similarity: str = "bilinear", **values) -> MultipleSamplingLoss:
    """In float64, for representations of ``dim`` numbers."""
    torch.manual_seed(0)
    values |= {"steps": 1, "similarity": similarity, "model": ModelConfig(embedding_dim=dim)}
    return MultipleSamplingLoss(Settings(**values)).double()


def representations(batch: int, frames: int, dim: int) -> list[Representations]:
    return [
        Representations(
            random(batch, dim, seed=s),
            random(batch, frames, dim, seed=s + 10),
            random(batch, frames, seed=s + 20),
            random(batch, frames, 8, seed=s + 30) if s < 2 else None,
            random(batch, frames, 8, seed=s + 40) if s < 2 else None,
        )
        for s in range(3)
    ]


def test_the_spectrum_loss_is_of_x_and_x_prime_alone():
    x, positive, _ = views = representations(4, 3, 5)
    ratio = torch.ones(4, dtype=torch.float64)
    settings = {"alpha": 0, "beta": 0, "gamma": 1, "filter_db": 3, "spectrum_components": 4}
    without, _ = total_loss(5, **settings)(views, Augmentation(ratio=ratio))
    total = total_loss(5, delta=0.5, **settings)
    loss, parts = total(views, Augmentation(ratio=ratio))
    expected = sum(
        0.5 * (float(view.spectrum[i, t, k]) - float(view.spectrum_target[i, t, k])) ** 2 / (2 * 4 * 3)
        for view in (x, positive)
        for i in range(4)
        for t in range(3)
        for k in range(8)
    )
    assert parts["spectrum"].item() == pytest.approx(expected)
    assert loss.item() - without.item() == pytest.approx(0.5 * expected)
    blind = [replace(view, spectrum_target=None) for view in views]
    with pytest.raises(ValueError, match="give spectrum"):
        total(blind, Augmentation(ratio=ratio))


@pytest.mark.parametrize("kind", ["bilinear", "cosine"])
@pytest.mark.parametrize("alpha, beta, gamma", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0.5, 2, 0.3)])
def test_total(kind, alpha, beta, gamma):
    x, positive, shifted = views = representations(4, 3, 5)
    ratio = torch.tensor([0.8, 0.9, 1.1, 1.2], dtype=torch.float64)
    total = total_loss(5, kind, alpha=alpha, beta=beta, gamma=gamma, frame_neighbors=1)
    loss, parts = total(views, Augmentation(ratio=ratio))
    expected = slow_clip(total.clip_similarity, x.clip, positive.clip)
    # Equation 5: the mean over the three views.
    expected += alpha * sum(slow_frame(total.frame_similarity, view.frame, 1) for view in views) / 3
    expected += beta * slow_pitch(x.pitch, shifted.pitch, ratio - 1)
    expected += gamma * slow_cross_view(total.frame_similarity, x.frame, shifted.frame, False)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    assert ("frame" in parts, "pitch" in parts, "cross_view" in parts) == (alpha > 0, beta > 0, gamma > 0)


def test_cola_needs_no_shifted_view_and_the_pitch_loss_does():
    views = representations(3, 3, 4)[:2]
    total_loss(4, alpha=0, beta=0)(views)
    with pytest.raises(ValueError, match="x-hat"):
        total_loss(4, alpha=0, beta=1)(views)


@pytest.mark.parametrize("both, with_x_hat", [(True, False), (False, True), (True, True)])
def test_clip_loss_of_several_pairs_is_their_mean(both, with_x_hat):
    x, positive, shifted = views = representations(4, 3, 5)
    total = total_loss(5, alpha=0, beta=0, clip_both_directions=both, clip_x_hat=with_x_hat)
    similarity = total.clip_similarity
    expected = [slow_clip(similarity, x.clip, positive.clip)]
    expected += [slow_clip(similarity, positive.clip, x.clip)] * both
    expected += [slow_clip(similarity, shifted.clip, positive.clip)] * with_x_hat
    x_hat = Augmentation(ratio=torch.ones(4)) if with_x_hat else None
    loss, parts = total(views if with_x_hat else views[:2], x_hat)
    assert loss.item() == pytest.approx(sum(expected) / len(expected), rel=1e-9)
    assert parts["clip_accuracy"] == clip_accuracy(similarity(x.clip, positive.clip), torch.arange(4))


def test_one_matrix_or_one_each():
    shared, apart = total_loss(4), total_loss(4, shared_similarity=False)
    assert shared.clip_similarity is shared.frame_similarity and len(list(shared.parameters())) == 1
    assert not torch.equal(apart.clip_similarity.weight, apart.frame_similarity.weight)


@pytest.mark.parametrize("pooling", ["average", "maximum"])
@pytest.mark.parametrize("normalize_h", [True, False])
def test_heads(pooling, normalize_h):
    model = ModelConfig(embedding_dim=6, normalize_h=normalize_h)
    settings = Settings(steps=1, model=model, clip_pooling=pooling, delta=1, spectrum_components=4)
    heads = Heads(settings).double()
    for number, parameter in enumerate(heads.parameters()):
        parameter.data = random(*parameter.shape, seed=number)
    h, target = random(2, 3, 6), random(2, 3, 8, seed=1)
    found = heads(h, target)
    assert found.spectrum_target is target and heads(h).spectrum is None

    def slow(head, x):
        if not normalize_h:
            norm, _, linear = head
            x = (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt() * norm.weight + norm.bias
            return linear.weight @ torch.tanh(x) + linear.bias
        return head.weight @ x + head.bias

    for n in range(2):
        pooled = torch.stack([max(column) if pooling == "maximum" else sum(column) / 3 for column in h[n].T])
        torch.testing.assert_close(found.clip[n], slow(heads.clip, pooled))
        for t in range(3):
            torch.testing.assert_close(found.frame[n, t], slow(heads.frame, h[n, t]))
            torch.testing.assert_close(found.pitch[n, t], slow(heads.pitch, h[n, t])[0])
            torch.testing.assert_close(found.spectrum[n, t], slow(heads.spectrum, h[n, t]))


@pytest.mark.parametrize("kind", ["bilinear", "cosine"])
def test_gradients(kind):
    ratio = torch.tensor([0.8, 0.95, 1.2], dtype=torch.float64)
    total = total_loss(
        3, kind, alpha=0.7, beta=0.3, gamma=0.2, frame_neighbors=1, cross_view_other_segments=True
    )
    weights = [parameter.detach().clone().requires_grad_() for parameter in total.parameters()]
    names = [name for name, _ in total.named_parameters()]
    views = representations(3, 3, 3)
    tensors = [t.requires_grad_() for view in views for t in (view.clip, view.frame, view.pitch)]

    def loss(*inputs):
        parts, given = inputs[:9], dict(zip(names, inputs[9:], strict=True))
        rebuilt = [
            replace(view, clip=c, frame=f, pitch=p)
            for view, c, f, p in zip(views, parts[::3], parts[1::3], parts[2::3], strict=True)
        ]
        return torch.func.functional_call(total, given, (rebuilt, Augmentation(ratio=ratio)))[0]

    assert torch.autograd.gradcheck(loss, (*tensors, *weights))
