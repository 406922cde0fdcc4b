"""The fast weight gradient of depthwise convolutions is torch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hear_msss.encoder import Encoder
from pretrain import depthwise
from pretrain.depthwise import SmallMapConv2d, use_fast_gradients


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("height, width", [(1, 1), (2, 3), (4, 6), (6, 1)])
def test_weight_gradient_is_torchs(kernel, height, width):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 7, height, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(7, 1, kernel, kernel, generator=generator, dtype=torch.float64, requires_grad=True)
    out = F.conv2d(x, weight, padding=kernel // 2, groups=7)
    gradient = torch.randn(out.shape, generator=generator, dtype=torch.float64)
    (expected,) = torch.autograd.grad(out, weight, gradient)
    assert torch.allclose(depthwise.weight_gradient(x, gradient, kernel), expected, rtol=1e-10, atol=1e-12)


def gradients(encoder: nn.Module) -> dict[str, torch.Tensor]:
    log_mel = torch.randn(6, 64, 96, generator=torch.Generator().manual_seed(1)).double() * 4 - 7
    h = encoder.double().train()(log_mel)
    (h * torch.randn(h.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    return {name: p.grad for name, p in encoder.named_parameters()}


@pytest.mark.parametrize("capability, fast", [("AVX2", 7), ("AVX512", 0)])
def test_gradients_of_the_encoder_stay_and_it_is_changed_only_where_it_gains(monkeypatch, capability, fast):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    used = []
    monkeypatch.setattr(
        depthwise, "weight_gradient", lambda *a, own=depthwise.weight_gradient: used.append(1) or own(*a)
    )
    torch.manual_seed(0)
    stock = Encoder(drop_connect_rate=0)
    torch.manual_seed(0)
    changed = use_fast_gradients(Encoder(drop_connect_rate=0))
    found = gradients(changed)
    assert len(used) == fast
    assert any(isinstance(module, SmallMapConv2d) for module in changed.modules()) == bool(fast)
    for name, expected in gradients(stock).items():
        assert torch.allclose(found[name], expected, rtol=1e-6, atol=1e-9), name
    assert list(changed.state_dict()) == list(stock.state_dict())
