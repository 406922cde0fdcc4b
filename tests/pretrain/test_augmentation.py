"""What is drawn to change the views, and that each change is in its view."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tones import CONFIG, CPU, SAMPLES, band_of, tone

from hear_msss.frontend import FrontEnd
from pretrain.augmentation import (
    FILTER_KNOTS_HZ,
    Augmentation,
    Augmentations,
    draw_augmentations,
    draw_filter,
    draw_uniform,
)
from pretrain.config_layers import layered, read_config
from pretrain.views import Views


def test_ratios_are_uniform_in_range_and_a_function_of_the_seed():
    ratio = draw_uniform(20_000, 0.8, 1.2, seed=5)
    assert 0.8 <= ratio.min() < 0.801 and 1.199 < ratio.max() <= 1.2
    quartiles = np.quantile(ratio.numpy(), [0.25, 0.5, 0.75])
    assert quartiles == pytest.approx([0.9, 1.0, 1.1], abs=0.01)
    assert torch.equal(ratio, draw_uniform(20_000, 0.8, 1.2, seed=5))
    assert not torch.equal(ratio, draw_uniform(20_000, 0.8, 1.2, seed=6))


def test_filters_are_normal_and_a_function_of_the_seed():
    gain_db = draw_filter(20_000, 6.0, 5, CPU)
    assert gain_db.shape == (20_000, len(FILTER_KNOTS_HZ))
    assert gain_db.mean(0).abs().max() < 0.2
    assert gain_db.std(0).numpy() == pytest.approx(6.0, rel=0.03)
    assert torch.equal(gain_db, draw_filter(20_000, 6.0, 5, CPU))
    assert not torch.equal(gain_db, draw_filter(20_000, 6.0, 6, CPU))


def test_shares_are_uniform_and_apart_from_the_ratios():
    settings = layered([read_config("cpu"), {"mix_share": 0.4, "ratio_min": 0.6, "ratio_max": 1.0}])
    drawn = draw_augmentations(20_000, settings, 4, CPU).x_hat
    ratio, share = drawn.ratio, drawn.background_share
    assert np.quantile(share.numpy(), [0, 0.25, 0.5, 0.75, 1]) == pytest.approx(
        [0, 0.1, 0.2, 0.3, 0.4], abs=0.01
    )
    assert abs(float(np.corrcoef(share.numpy(), ratio.numpy())[0, 1])) < 0.03


@pytest.mark.parametrize("config, moved, filtered", [("full", 0.4, 0), ("filtered", 0, 9)])
def test_x_hat_is_made_as_the_config_says(config, moved, filtered):
    settings = layered([read_config("cpu"), read_config(config)])
    drawn = draw_augmentations(20_000, settings, 4, CPU).x_hat
    ratio, gain_db = drawn.ratio, drawn.filter_db
    assert float(ratio.max() - ratio.min()) == pytest.approx(moved, abs=1e-3)
    assert float(ratio.mean()) == pytest.approx(1, abs=2e-3)
    if filtered:
        assert float(gain_db.std()) == pytest.approx(filtered, rel=0.02)
    else:
        assert gain_db is None


def test_cola_has_no_x_hat():
    settings = layered([read_config("cpu"), read_config("cola")])
    assert draw_augmentations(4, settings, 4, CPU).x_hat is None


def decibels(changed: torch.Tensor, plain: torch.Tensor) -> np.ndarray:
    """Difference of log-mels in dB, averaged over all that is well above the offset of the logarithm."""
    loud = plain > np.log(CONFIG.log_offset) + 5
    change = torch.where(loud, (changed - plain) * 10 / np.log(10), torch.nan)
    return change.flatten(1).nanmean(dim=1).numpy()


def test_gains_filters_and_backgrounds_change_the_view_that_they_are_for():
    """Each view in turn: its gain in dB is heard in it and in no other."""
    noise = torch.randint(-9000, 9000, (2, 4, SAMPLES), dtype=torch.int16)
    views, gain_db = Views(CONFIG), torch.tensor([-12.0, -3.0, 0.0, 9.0])
    unchanged = Augmentations(x_hat=Augmentation(ratio=torch.ones(4)))
    plain = views(*noise, unchanged).chunk(3)
    for number, name in enumerate(("anchor", "positive", "x_hat")):
        drawn = replace(unchanged, **{name: replace(getattr(unchanged, name), gain_db=gain_db)})
        changed = views(*noise, drawn).chunk(3)
        for other in range(3):
            if other == number:
                assert decibels(changed[other], plain[other]) == pytest.approx(gain_db.numpy(), abs=0.05)
            else:
                assert torch.equal(changed[other], plain[other])


def test_x_prime_has_noise_of_the_given_deviation():
    silence = torch.zeros(8, SAMPLES, dtype=torch.int16)
    settings = layered([read_config("cpu"), {"positive_noise": 0.02, "alpha": 0, "beta": 0}])
    drawn = draw_augmentations(8, settings, 4, CPU)
    assert drawn.positive.noise.std() == pytest.approx(0.02, rel=0.02)
    x, positive = Views(CONFIG)(silence, silence, drawn).chunk(2)
    reference = FrontEnd(CONFIG)(0.02 * torch.randn(8, SAMPLES, generator=torch.Generator().manual_seed(1)))
    assert (x == np.log(CONFIG.log_offset)).all()
    assert float(positive.mean()) == pytest.approx(float(reference.mean()), abs=0.05)


def test_what_is_drawn_for_x_prime_and_for_x_hat_is_independent():
    values = {"filter_db": 6, "positive_filter_db": 3, "mix_share": 0.4, "positive_mix_share": 0.2}
    settings = layered([read_config("cpu"), values, {"random_gain_db": 6}])
    drawn = draw_augmentations(20_000, settings, 4, CPU)
    positive, x_hat = drawn.positive, drawn.x_hat
    assert float(positive.filter_db.std()) == pytest.approx(3, rel=0.03)
    assert float(positive.background_share.max()) == pytest.approx(0.2, abs=0.01)
    gains = torch.stack([view.gain_db for view in (drawn.anchor, positive, x_hat)])
    assert gains.min() == pytest.approx(-6, abs=0.01) and gains.max() == pytest.approx(6, abs=0.01)
    rows = [*gains, positive.background_share, x_hat.background_share, x_hat.ratio]
    rows += [positive.filter_db[:, 0], x_hat.filter_db[:, 0]]
    correlations = np.corrcoef(torch.stack(rows).numpy()) - np.eye(len(rows))
    assert np.abs(correlations).max() < 0.03
    again = draw_augmentations(20_000, settings, 4, CPU)
    assert torch.equal(again.positive.filter_db, positive.filter_db)


def test_x_prime_and_x_hat_have_their_backgrounds_from_other_clips():
    """A clip must not be known by the background that its two views share: of five clips one is loud."""
    sounds = torch.zeros(5, SAMPLES, dtype=torch.int16)
    sounds[:] = torch.randint(-20, 20, (5, SAMPLES), dtype=torch.int16)
    sounds[2] = tone(1000)
    settings = layered([read_config("cpu"), {"mix_share": 0.4, "positive_mix_share": 0.4, "beta": 0}])
    settings = replace(settings, ratio_min=1, ratio_max=1)
    log_mel = Views(CONFIG)(sounds, sounds, draw_augmentations(5, settings, 4, CPU))
    band = round(float(band_of(1000)))
    level = log_mel[:, band].mean(-1) - log_mel[:, band + 8].mean(-1)
    x, positive, x_hat = ((rows > 1).nonzero().flatten().tolist() for rows in level.chunk(3))
    assert (x, positive, x_hat) == ([2], [0, 2], [1, 2])


def test_the_authors_slip_of_units_is_heard_as_a_third_of_a_semitone():
    settings = layered([read_config("authors")])
    ratio = draw_augmentations(20_000, settings, 4, CPU).x_hat.ratio
    semitones = 12 * np.log2(ratio.numpy())
    assert semitones.min() == pytest.approx(np.log2(0.8), abs=1e-3)
    assert semitones.max() == pytest.approx(np.log2(1.2), abs=1e-3)
