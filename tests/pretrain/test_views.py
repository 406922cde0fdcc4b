"""x-hat has its sounds at the frequencies it should have."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
from tones import CONFIG, CPU, SAMPLES, band_of, loudest_band, tone, x_hat_of

from hear_msss.frontend import FrontEnd
from pretrain.augmentation import (
    FILTER_KNOTS_HZ,
    Augmentation,
    Augmentations,
    draw_filter,
)
from pretrain.views import Views, shift_pitch_of_waveform

MINI_TASKS = Path(__file__).parents[2] / "eval_tasks/mini/tasks"


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


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1])


def test_warp_agrees_with_pitch_shifts_of_clips_in_the_time_domain():
    """librosa's phase vocoder and resampler, and our own reference, on words, notes and scenes."""
    paths = [path for task in sorted(MINI_TASKS.glob("mini_*")) for path in sorted(task.rglob("*.ogg"))[::60]]
    assert len(paths) > 8
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
    assert with_librosa > 0.97
    assert with_waveform > 0.97
    assert with_librosa > without
