"""x-hat has its sounds at the frequencies it should have."""

from dataclasses import replace

import librosa
import numpy as np
import pytest
import soundfile
import torch

from hear_msss.config import ModelConfig
from hear_msss.frontend import FrontEnd
from pretrain.augmentation import (
    FILTER_KNOTS_HZ,
    Augmentation,
    Augmentations,
    draw_augmentations,
    draw_filter,
    draw_uniform,
)
from pretrain.layers import layered, read_config
from pretrain.views import Views, shift_pitch_of_waveform

CONFIG = ModelConfig()
SAMPLES = CONFIG.segment_samples


CPU = torch.device("cpu")


def x_hat_of(ratio: torch.Tensor, **changes) -> Augmentations:
    return Augmentations(x_hat=Augmentation(ratio=ratio, **changes))


def tone(frequency_hz: float) -> torch.Tensor:
    time_s = torch.arange(SAMPLES, dtype=torch.float64) / CONFIG.sample_rate
    return (8000 * torch.sin(2 * torch.pi * frequency_hz * time_s)).to(torch.int16)


def mel(frequency_hz: np.ndarray | float) -> np.ndarray:
    return 2595 * np.log10(1 + np.asarray(frequency_hz) / 700)  # HTK


BAND_WIDTH_MEL = float(mel(CONFIG.f_max_hz) - mel(CONFIG.f_min_hz)) / (CONFIG.n_mels + 1)


def band_of(frequency_hz: np.ndarray | float) -> np.ndarray:
    """Number of the mel band whose center is at this frequency, with fractions."""
    return (mel(frequency_hz) - mel(CONFIG.f_min_hz)) / BAND_WIDTH_MEL - 1


def loudest_band(log_mel: torch.Tensor) -> float:
    """Center of gravity of the mel power around its peak, in bands."""
    power = log_mel.exp().mean(-1).double().numpy() - CONFIG.log_offset
    peak = int(power.argmax())
    near = np.arange(max(0, peak - 1), min(len(power), peak + 2))
    return float((near * power[near]).sum() / power[near].sum())


@pytest.mark.parametrize("pitch_shift", ["warp", "waveform"])
def test_a_tone_lands_at_its_frequency_times_the_ratio(pitch_shift):
    """Within half a mel band, from 60 to 7800 Hz."""
    views = Views(CONFIG, pitch_shift)
    count = 40 if pitch_shift == "warp" else 12
    # Geometric, so that low frequencies, where bands are narrow, come as often as high ones.
    frequencies = np.geomspace(100, 7400, count)
    ratios = np.tile([0.8, 0.9, 1.1, 1.2], count // 4)
    inside = (frequencies * ratios > 85) & (frequencies * ratios < 7500)  # a whole band is in range
    frequencies, ratios = frequencies[inside], ratios[inside]
    anchor = torch.stack([tone(f) for f in frequencies])
    log_mel = views(anchor, anchor, x_hat_of(torch.from_numpy(ratios).float()))
    assert log_mel.shape == (3 * len(anchor), 64, 96)
    for row, (frequency, ratio) in enumerate(zip(frequencies, ratios, strict=True)):
        plain, shifted = loudest_band(log_mel[row]), loudest_band(log_mel[2 * len(anchor) + row])
        assert plain == pytest.approx(float(band_of(frequency)), abs=0.5)
        assert shifted == pytest.approx(float(band_of(frequency * ratio)), abs=0.5), (frequency, ratio)


def test_ratio_one_is_the_identity():
    anchor = torch.stack([tone(440), torch.randint(-9000, 9000, (SAMPLES,), dtype=torch.int16)])
    x, positive, shifted = Views(CONFIG)(anchor, anchor.flip(0), x_hat_of(torch.ones(2))).chunk(3)
    assert torch.equal(shifted, x)
    assert torch.equal(positive, x.flip(0))


def test_views_are_those_of_the_front_end_on_samples_in_unit_range():
    anchor = torch.randint(-32768, 32767, (3, SAMPLES), dtype=torch.int16)
    x, positive = Views(CONFIG)(anchor, anchor.roll(1, 0)).chunk(2)
    assert torch.allclose(x, FrontEnd(CONFIG)(anchor.double().float() / 32768))
    assert torch.equal(positive, x.roll(1, 0))


def test_each_segment_has_its_own_ratio():
    anchor = tone(1000).repeat(3, 1)
    ratio = torch.tensor([0.8, 1.0, 1.2])
    shifted = Views(CONFIG)(anchor, anchor, x_hat_of(ratio))[6:]
    expected = [float(band_of(1000 * r)) for r in ratio.tolist()]
    assert [loudest_band(row) for row in shifted] == pytest.approx(expected, abs=0.5)


def test_ratios_are_uniform_in_range_and_a_function_of_the_seed():
    ratio = draw_uniform(20_000, 0.8, 1.2, seed=5)
    assert 0.8 <= ratio.min() < 0.801 and 1.199 < ratio.max() <= 1.2
    quartiles = np.quantile(ratio.numpy(), [0.25, 0.5, 0.75])
    assert quartiles == pytest.approx([0.9, 1.0, 1.1], abs=0.01)
    assert torch.equal(ratio, draw_uniform(20_000, 0.8, 1.2, seed=5))
    assert not torch.equal(ratio, draw_uniform(20_000, 0.8, 1.2, seed=6))


@pytest.mark.parametrize("pitch_shift", ["warp", "waveform"])
def test_tones_of_the_filtered_view_have_the_gain_of_their_frequency(pitch_shift):
    """In dB, read off numpy's interpolation over octaves; x and x' stay as they are."""
    frequencies = np.array([125.0, 700.0, 1000.0, 1800.0, 4000.0, 6300.0])
    anchor = torch.stack([tone(f) for f in frequencies])
    gain_db = draw_filter(len(anchor), 6.0, seed=3, device=CPU)
    ratio = torch.ones(len(anchor))
    views = Views(CONFIG, pitch_shift)
    plain, filtered = (views(anchor, anchor, x_hat_of(ratio, filter_db=gain)) for gain in (None, gain_db))
    assert torch.equal(filtered[:12], plain[:12])
    for row, frequency in enumerate(frequencies):
        expected = np.interp(np.log2(frequency), np.log2(FILTER_KNOTS_HZ), gain_db[row].numpy())
        band = int(plain[12 + row].mean(-1).argmax())
        change = (filtered[12 + row, band] - plain[12 + row, band]).mean() * 10 / np.log(10)
        assert float(change) == pytest.approx(expected, abs=1.0), frequency


def test_a_filter_acts_after_the_shift():
    """A tone moved from 1000 to 1200 Hz has the gain of 1200 Hz."""
    anchor, ratio = tone(1000)[None], torch.tensor([1.2])
    gain_db = torch.zeros(1, len(FILTER_KNOTS_HZ))
    gain_db[0, FILTER_KNOTS_HZ.index(2000.0)] = 20.0
    plain, filtered = (
        Views(CONFIG)(anchor, anchor, x_hat_of(ratio, filter_db=gain))[2].mean(-1) for gain in (None, gain_db)
    )
    change = float(filtered.max() - plain.max()) * 10 / np.log(10)
    assert change == pytest.approx(20 * np.log2(1.2), abs=0.5)


def test_filters_are_normal_and_a_function_of_the_seed():
    gain_db = draw_filter(20_000, 6.0, 5, CPU)
    assert gain_db.shape == (20_000, len(FILTER_KNOTS_HZ))
    assert gain_db.mean(0).abs().max() < 0.2
    assert gain_db.std(0).numpy() == pytest.approx(6.0, rel=0.03)
    assert torch.equal(gain_db, draw_filter(20_000, 6.0, 5, CPU))
    assert not torch.equal(gain_db, draw_filter(20_000, 6.0, 6, CPU))


@pytest.mark.parametrize("pitch_shift", ["warp", "waveform"])
def test_the_next_clip_has_its_share_of_the_power(pitch_shift):
    """Tones of different levels, told apart by their bands; in x-hat alone, and silence takes no part."""
    tones = [tone(500), tone(2000) // 8, torch.zeros(SAMPLES, dtype=torch.int16), tone(4000)]
    anchor, ratio, share = torch.stack(tones), torch.ones(4), torch.tensor([0.1, 0.4, 0.3, 0.4])
    views = Views(CONFIG, pitch_shift)
    plain, mixed = (views(anchor, anchor, x_hat_of(ratio, background_share=s)) for s in (None, share))
    assert torch.equal(mixed[:8], plain[:8])
    power, before = ((rows[8:].double().exp() - CONFIG.log_offset).mean(-1) for rows in (mixed, plain))

    def change(row: int, of: int) -> float:
        band = int(before[of].argmax())
        return float(power[row, band] / before[row, band])

    assert change(0, of=0) == pytest.approx(0.9, rel=0.01)
    assert change(1, of=1) == pytest.approx(0.6, rel=0.01)  # beside silence
    assert power[2].sum() == pytest.approx(0, abs=1e-5)
    assert change(3, of=3) == pytest.approx(0.6, rel=0.01)
    # The neighbour's tone, brought to this row's level: power spectra of tones of one amplitude are alike.
    level = views.front_end.power(anchor.float() / 32768).double().mean((1, 2))
    for row, other in ((0, 1), (3, 0)):
        band = int(before[other].argmax())
        expected = share[row] * before[other, band] * level[row] / level[other]
        assert float(power[row, band]) == pytest.approx(float(expected), rel=0.05), row


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


def test_waveform_shift_keeps_length_and_level():
    waveform = tone(500).float() / 32768
    for ratio in (0.8, 1.25):
        shifted = shift_pitch_of_waveform(waveform, ratio)
        assert shifted.shape == waveform.shape
        middle = slice(2000, -2000)
        assert shifted[middle].std() == pytest.approx(float(waveform[middle].std()), rel=0.15)


@pytest.mark.parametrize(
    "anchor, positive",
    [
        (torch.zeros(2, SAMPLES), torch.zeros(2, SAMPLES)),
        (torch.zeros(2, SAMPLES, dtype=torch.int16), torch.zeros(3, SAMPLES, dtype=torch.int16)),
    ],
)
def test_wrong_input_is_named(anchor, positive):
    with pytest.raises(ValueError, match="int16"):
        Views(CONFIG)(anchor, positive)
    with pytest.raises(ValueError, match="warp, waveform"):
        Views(CONFIG, "resample")


@pytest.mark.parametrize(
    "name, value",
    [
        ("ratio", torch.ones(3)),
        ("filter_db", torch.zeros(3, len(FILTER_KNOTS_HZ))),
        ("background_share", torch.zeros(3)),
        ("gain_db", torch.zeros(3)),
    ],
)
def test_what_does_not_fit_the_batch_is_named(name, value):
    with pytest.raises(ValueError, match=name):
        Views(CONFIG)(*[tone(500).repeat(2, 1)] * 2, Augmentations(x_hat=Augmentation(**{name: value})))


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


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1])


def test_warp_agrees_with_pitch_shifts_of_real_clips_in_the_time_domain(shared, record_property):
    """librosa's phase vocoder and resampler, and our own reference, on sounds of many kinds."""
    paths = sorted((shared / "audio" / "pool").rglob("*.ogg"))[::400][:16]
    if len(paths) < 8:
        pytest.skip("no pool of real clips in the shared folder")
    views, front_end = Views(CONFIG), FrontEnd(CONFIG)
    warped, by_librosa, by_waveform, unshifted = [], [], [], []
    for number, path in enumerate(paths):
        samples = soundfile.read(path, dtype="int16")[0]
        start = int(np.argmax(np.abs(samples))) if len(samples) > SAMPLES else 0
        segment = np.resize(samples[min(start, max(0, len(samples) - SAMPLES)) :], SAMPLES)
        ratio = float(np.linspace(0.8, 1.2, len(paths))[number])
        waveform = segment.astype(np.float32) / 32768
        semitones = 12 * np.log2(ratio)
        shifted = librosa.effects.pitch_shift(waveform, sr=16000, n_steps=semitones, n_fft=512)
        anchor = torch.from_numpy(segment)[None]
        x, _, hat = views(anchor, anchor, x_hat_of(torch.tensor([ratio])))
        unshifted.append(x)
        warped.append(hat)
        by_librosa.append(front_end(torch.from_numpy(shifted)))
        by_waveform.append(front_end(shift_pitch_of_waveform(torch.from_numpy(waveform), ratio)))
    # Above what a ratio below 1 leaves of the spectrum the time domain has silence and the warp
    # repeats the last bin: compare below 0.8 x 8 kHz.
    below = int(band_of(6400))
    stacked = [torch.stack(v)[:, :below] for v in (warped, by_librosa, by_waveform, unshifted)]
    with_librosa = correlation(stacked[0], stacked[1])
    with_waveform = correlation(stacked[0], stacked[2])
    without = correlation(stacked[3], stacked[1])
    print(f"warp and librosa {with_librosa:.3f}, waveform {with_waveform:.3f}, no shift {without:.3f}")
    record_property("correlation_of_warp_and_librosa", with_librosa)
    assert with_librosa > 0.97
    assert with_waveform > 0.97
    assert with_librosa > without
