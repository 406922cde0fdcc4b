"""Each loss against a slow loop written from its equation."""

import math
from dataclasses import replace

import pytest
import torch

from hear_msss.config import ModelConfig
from pretrain.augmentation import Augmentation
from pretrain.heads import Heads, Representations
from pretrain.losses import (
    BilinearSimilarity,
    CosineSimilarity,
    MultipleSamplingLoss,
    clip_accuracy,
    clip_loss,
    cross_view_loss,
    frame_loss,
    pitch_error_semitones,
    pitch_loss,
    pitch_target,
)
from pretrain.settings import PITCH_TARGETS, Settings

SIZES = [(2, 1, 3), (3, 3, 4), (5, 4, 2)]  # batch, frames, d


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make(kind: str, dim: int) -> torch.nn.Module:
    if kind == "cosine":
        return CosineSimilarity(0.2)
    similarity = BilinearSimilarity(dim).double()
    similarity.weight.data = random(dim, dim, seed=9)
    return similarity


def slow_similarity(similarity: torch.nn.Module, a: torch.Tensor, b: torch.Tensor) -> float:
    """Equations 1 and 3, or 8, for two vectors, term by term."""
    a, b = a.tolist(), b.tolist()
    if isinstance(similarity, CosineSimilarity):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b)) / 0.2
    w = similarity.weight.tolist()
    return sum(a[i] * w[i][j] * b[j] for i in range(len(a)) for j in range(len(b)))


def slow_clip(similarity, anchors, candidates, first: int = 0) -> float:
    """Equation 2; the positive of anchor n is candidate first + n."""
    total = 0.0
    for n, anchor in enumerate(anchors):
        scores = [slow_similarity(similarity, anchor, candidate) for candidate in candidates]
        total -= math.log(math.exp(scores[first + n]) / sum(math.exp(s) for s in scores))
    return total / len(anchors)


def slow_frame(similarity, segments, m: int) -> float:
    """Equation 4, and the mean over t."""
    total = 0.0
    for segment in segments:
        frames = len(segment)
        for t in range(frames):
            scores = [slow_similarity(similarity, segment[t], segment[i]) for i in range(frames)]
            near = [t + tau for tau in range(-m, m + 1) if 0 <= t + tau < frames]
            share = sum(math.exp(scores[i]) for i in near) / sum(math.exp(s) for s in scores)
            total -= math.log(share) / len(near) / frames
    return total / len(segments)


def slow_pitch(pitch, shifted, shift) -> float:
    errors = [
        (float(shifted[n, t]) - float(pitch[n, t]) - float(shift[n])) ** 2
        for n in range(len(pitch))
        for t in range(pitch.shape[1])
    ]
    return sum(errors) / len(errors)


def slow_cross_view(similarity, x, shifted, other_segments: bool) -> float:
    total = 0.0
    for n in range(len(x)):
        for t in range(x.shape[1]):
            own = math.exp(slow_similarity(similarity, x[n, t], shifted[n, t]))
            segments = range(len(x)) if other_segments else [n]
            every = sum(
                math.exp(slow_similarity(similarity, x[n, t], shifted[k, i]))
                for k in segments
                for i in range(x.shape[1])
            )
            total -= math.log(own / every)
    return total / x.shape[0] / x.shape[1]


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
    for parameter in heads.parameters():
        parameter.data = random(*parameter.shape, seed=parameter.numel())
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


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: clip_loss(random(3, 3, 3), torch.arange(3)), "anchors, candidates"),
        (lambda: frame_loss(random(3, 2, 4)), "batch, frames, frames"),
        (lambda: pitch_loss(random(3, 2), random(3, 3), random(3)), "batch, frames"),
        (lambda: cross_view_loss(CosineSimilarity(), random(3, 2, 4), random(3, 3, 4)), "batch, frames, d"),
        (lambda: CosineSimilarity(0), "temperature"),
        (lambda: total_loss(3, "euclidean"), "bilinear"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
