"""The gradient of chunks is that of the whole batch."""

import pytest
import torch
from torch import nn

from hear_msss.config import ModelConfig
from hear_msss.encoder import Encoder
from pretrain.augmentation import Augmentation
from pretrain.chunked import Chunks, backward_in_chunks, draw_chunks
from pretrain.learner import Learner
from pretrain.settings import Settings


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.fixture(scope="module")
def learner() -> Learner:
    torch.manual_seed(0)
    learner = Learner(Settings(steps=1, drop_connect_rate=0)).double()
    for name, buffer in learner.named_buffers():  # fresh statistics let the signal die out
        if name.endswith("running_var"):
            buffer.fill_(0.05)
    return learner


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, Augmentation]:
    generator = torch.Generator().manual_seed(1)
    log_mel = torch.randn(12, 64, 96, generator=generator, dtype=torch.float64) * 4 - 4
    return log_mel, Augmentation(ratio=torch.tensor([0.8, 0.9, 1.1, 1.2], dtype=torch.float64))


@pytest.mark.parametrize(
    "chunks", [Chunks(12), Chunks(5), Chunks(4, recompute=False), Chunks(0, 3), Chunks(3, 3)]
)
def test_gradient_equals_that_of_the_whole_batch(learner, batch, chunks):
    log_mel, x_hat = batch
    learner.eval()
    loss, _ = learner.losses(learner(log_mel), x_hat)
    loss.backward()
    expected = gradients(learner)
    metrics = backward_in_chunks(learner, log_mel, lambda h: learner.losses(h, x_hat), chunks)
    found = gradients(learner)
    assert metrics["loss"].item() == pytest.approx(loss.item(), rel=1e-12)
    assert found.keys() == expected.keys()
    for name in expected:
        scale = expected[name].abs().max().item()
        assert torch.allclose(found[name], expected[name], rtol=1e-7, atol=1e-9 * scale + 1e-14), name
    assert max(gradient.abs().max() for gradient in expected.values()) > 1e-3


class Noisy(nn.Module):
    """Batch norm and noise in one layer; remembers what it gave with and without a graph."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.linear = nn.Linear(4, 2)
        self.passes = []

    def forward(self, x):
        y = self.linear(self.norm(x) * torch.rand_like(x))
        self.passes.append((y.requires_grad, y.detach()))
        return y


def test_second_pass_repeats_the_noise_and_leaves_running_statistics_alone():
    torch.manual_seed(0)
    model, reference = Noisy(), nn.BatchNorm1d(4)
    x = torch.randn(10, 4) * 3 + 1
    rows = []
    model.register_forward_pre_hook(lambda module, args: rows.append(args[0]))
    backward_in_chunks(model, x, lambda h: (h.square().sum(), None), Chunks(4))
    first = [y for graph, y in model.passes if not graph]
    second = [y for graph, y in model.passes if graph]
    assert len(first) == len(second) == 3
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    for chunk in rows[:3]:
        reference(chunk)
    assert torch.equal(model.norm.running_mean, reference.running_mean)
    assert torch.equal(model.norm.running_var, reference.running_var)
    assert model.norm.num_batches_tracked == 3
    assert model.norm.track_running_stats


def test_rows_keep_their_places_and_all_are_seen_once_without_a_second_pass():
    calls = []
    scale = nn.Parameter(torch.tensor(2.0))

    class Doubling(nn.Module):
        def forward(self, x):
            calls.append(len(x))
            return x * scale

    x = torch.arange(7.0)[:, None]
    backward_in_chunks(Doubling(), x, lambda h: (h.sum(), calls.append(h.detach())), Chunks(7))
    assert calls[0] == 7 and len(calls) == 2
    calls.clear()
    seen = backward_in_chunks(Doubling(), x, lambda h: (h.sum(), h.detach()), Chunks(3))
    assert torch.equal(seen, 2 * x)
    assert sorted(calls) == [2, 2, 2, 2, 3, 3]  # three chunks, as even as can be, twice


def test_drop_connect_is_repeated_in_the_second_pass():
    torch.manual_seed(0)
    encoder = Encoder(ModelConfig(), drop_connect_rate=0.5).train()
    for norm in encoder.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eval()
            norm.running_var.fill_(0.05)
    seen = []
    encoder.register_forward_hook(lambda module, args, h: seen.append(h.detach()))
    backward_in_chunks(encoder, torch.randn(6, 64, 96) * 4, lambda h: (h.sum(), None), Chunks(3))
    assert torch.equal(seen[0], seen[2]) and torch.equal(seen[1], seen[3])


@pytest.mark.parametrize(
    "chunks, sizes", [(Chunks(0, 3), [4, 4, 4]), (Chunks(3, 3), [2] * 6), (Chunks(5), [4] * 3)]
)
def test_chunks_hold_each_row_once_and_no_rows_of_two_views(chunks, sizes):
    drawn = draw_chunks(12, chunks)
    assert sorted(torch.cat(drawn).tolist()) == list(range(12))
    assert [len(chunk) for chunk in drawn] == sizes
    if chunks.blocks == 3:
        assert all(len(set((chunk // 4).tolist())) == 1 for chunk in drawn)
    assert any(
        not torch.equal(chunk, draw) for chunk, draw in zip(drawn, draw_chunks(12, chunks), strict=True)
    )
