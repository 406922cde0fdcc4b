"""Our encoder against the stock EfficientNet-B0."""

from __future__ import annotations

import pytest
import torch

from hear_msss.config import ModelConfig
from hear_msss.encoder import Encoder, stock_network, use_own_padding
from hear_msss.weights import untrained_encoder


@pytest.fixture(scope="module")
def networks():
    """The stock network with calibrated batch norm, and the same with its own padding."""
    stock = stock_network(ModelConfig(), drop_connect_rate=0.0)
    stock.load_state_dict(untrained_encoder().network.state_dict())
    own = stock_network(ModelConfig(), drop_connect_rate=0.0)
    own.load_state_dict(stock.state_dict())
    return stock, use_own_padding(own)


@pytest.mark.parametrize("training", [False, True])
def test_own_padding_is_bit_identical(networks, training):
    stock, own = (network.train(training) for network in networks)
    segments = torch.randn(3, 1, 64, 96, generator=torch.Generator().manual_seed(0))
    ours, theirs = own.extract_features(segments), stock.extract_features(segments)
    assert ours.abs().max() > 0.1
    assert torch.equal(ours, theirs)


def test_trunk_equals_the_stock_network():
    encoder = untrained_encoder().double()  # in double, so that only rounding of 1e-16 can differ
    stock = stock_network(encoder.config).double().eval()
    stock.load_state_dict(encoder.network.state_dict())
    log_mel = torch.randn(2, 64, 96, generator=torch.Generator().manual_seed(0)).double() * 5 - 5
    with torch.no_grad():
        scaled = (log_mel - encoder.config.log_mel_mean) / encoder.config.log_mel_std
        torch.testing.assert_close(encoder.trunk(log_mel)[0], stock.extract_features(scaled[:, None]))


def test_h_is_projection_norm_tanh_of_the_frequency_average():
    encoder = untrained_encoder()
    log_mel = torch.randn(2, 64, 96, generator=torch.Generator().manual_seed(0)) * 5 - 5
    with torch.no_grad():
        h = encoder(log_mel)
        assert h.shape == (2, 3, 512)
        feature_map = encoder.trunk(log_mel)[0]
        for frame in range(3):
            x = feature_map[..., frame].mean(-1) @ encoder.projection.weight.T + encoder.projection.bias
            x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
            expected = torch.tanh(x * encoder.norm.weight + encoder.norm.bias)
            torch.testing.assert_close(h[:, frame], expected, rtol=1e-4, atol=1e-5)


def test_taps_are_the_outputs_of_the_named_blocks():
    encoder, seen = untrained_encoder(), {}
    for number in (2, 10):
        encoder.network._blocks[number].register_forward_hook(
            lambda _m, _i, output, number=number: seen.update({number: output})
        )
    with torch.no_grad():
        _, taps = encoder.trunk(torch.zeros(1, 64, 96), taps=(2, 10))
    assert [tuple(tap.shape) for tap in taps] == [(1, 24, 16, 24), (1, 112, 4, 6)]
    assert all(torch.equal(tap, seen[number]) for tap, number in zip(taps, (2, 10), strict=True))


def test_calibrated_batch_norm_keeps_the_signal_alive():
    encoder = untrained_encoder()
    with torch.no_grad():
        noise = torch.randn(4, 64, 96, generator=torch.Generator().manual_seed(0)) * 5 - 4.5
        h = encoder(noise)
    assert h.std(dim=0).mean() > 0.05  # different inputs give different outputs


def test_seeded_weights_are_the_same_each_time_and_leave_the_generator_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, second = untrained_encoder().state_dict(), untrained_encoder().state_dict()
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("pooling, normalize_h", [("maximum", True), ("average", False)])
def test_h_by_maximum_over_frequency_or_without_norm_and_tanh(pooling, normalize_h):
    encoder = untrained_encoder(ModelConfig(frequency_pooling=pooling, normalize_h=normalize_h))
    log_mel = torch.randn(2, 64, 96, generator=torch.Generator().manual_seed(0)) * 5 - 5
    with torch.no_grad():
        feature_map, h = encoder.trunk(log_mel)[0], encoder(log_mel)
        for frame in range(3):
            column = feature_map[..., frame]
            pooled = column.max(-1).values if pooling == "maximum" else column.mean(-1)
            x = pooled @ encoder.projection.weight.T + encoder.projection.bias
            if normalize_h:
                x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
                x = torch.tanh(x)
            torch.testing.assert_close(h[:, frame], x, rtol=1e-3, atol=1e-4)
    assert normalize_h == any(name.startswith("norm.") for name in encoder.state_dict())


def test_stochastic_depth_rises_linearly_from_block_to_block(monkeypatch):
    encoder, rates = Encoder(ModelConfig(), drop_connect_rate=0.32), []
    for block in encoder.network._blocks:
        monkeypatch.setattr(
            block, "forward", lambda x, drop_connect_rate: rates.append(drop_connect_rate) or x
        )
    monkeypatch.setattr(encoder.network, "_conv_head", torch.nn.Identity())
    monkeypatch.setattr(encoder.network, "_bn1", torch.nn.Identity())
    encoder.trunk(torch.zeros(1, 64, 96))
    assert rates == pytest.approx([0.32 * number / 16 for number in range(16)])
