"""The spectrum that h must keep: a tone peaks in its band, whitening whitens, the loss equals a loop."""

import math

import pytest
import torch

from hear_msss.config import ModelConfig
from hear_msss.frontend import FrontEnd
from pretrain.losses.spectrum import spectrum_loss, unexplained_share
from pretrain.spectrum import (
    BANDS_PER_SEMITONE,
    LOWEST_NOTE,
    TARGET_LIMIT,
    FineSpectrum,
    SpectrumTarget,
    mel_patches,
    note_to_hz,
    whitening,
)

CONFIG = ModelConfig()


def tone(hz: float) -> torch.Tensor:
    return 0.3 * torch.sin(2 * math.pi * hz * torch.arange(CONFIG.segment_samples) / CONFIG.sample_rate)


@pytest.mark.parametrize("note", [45, 52.5, 60, 69, 81.5, 93, 108])
def test_a_tone_peaks_in_the_band_of_its_note_in_every_frame(note: float) -> None:
    bands = FineSpectrum(CONFIG)(tone(float(note_to_hz(torch.tensor(note))))[None])
    assert bands.shape == (1, 3, 161)
    assert (bands.argmax(-1) == (note - LOWEST_NOTE) * BANDS_PER_SEMITONE).all()


def test_low_notes_a_semitone_apart_differ_more_than_in_the_log_mel() -> None:
    notes = torch.stack([tone(float(note_to_hz(torch.tensor(note)))) for note in (52.0, 53.0)])
    fine, mel = FineSpectrum(CONFIG)(notes).mean(1), FrontEnd(CONFIG)(notes).mean(-1)
    assert (fine[0] - fine[1]).abs().max() > 2 * (mel[0] - mel[1])[:8].abs().max()


def test_equals_a_fourier_sum_over_the_320_ms_of_the_second_frame() -> None:
    torch.manual_seed(0)
    waveform = 0.1 * torch.randn(CONFIG.segment_samples, dtype=torch.float64)
    # Frames 32 to 63 of the front end see samples 5120 to 10479; 5120 samples in their middle.
    time = torch.arange(5240, 10360, dtype=torch.float64)
    hann = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(5120, dtype=torch.float64) / 5120)
    scale = (3 / 8 * 400) / (3 / 8 * 5120)  # of the power: both windows' sums of squares
    band = 2 * 30  # note 61
    centre, low, high = (float(note_to_hz(torch.tensor(float(n)))) for n in (61, 60.5, 61.5))
    low, high = min(low, centre - 6.25), max(high, centre + 6.25)
    weighted = total = 0.0
    for number in range(int(low / 16000 * 8192), int(high / 16000 * 8192) + 2):
        hz = number * 16000 / 8192
        weight = max(0.0, min((hz - low) / (centre - low), (high - hz) / (high - centre)))
        phase = 2 * math.pi * hz * time / 16000
        part = waveform[5240:10360] * hann
        weighted += weight * scale * float((part * phase.cos()).sum() ** 2 + (part * phase.sin()).sum() ** 2)
        total += weight
    expected = math.log(weighted / total + 1e-5)
    assert FineSpectrum(CONFIG)(waveform[None].float())[0, 1, band] == pytest.approx(expected, abs=1e-3)


def test_mel_patches_are_means_of_four_frames_mel_by_mel() -> None:
    log_mel = torch.randn(2, 64, 96)
    patches = mel_patches(log_mel)
    assert patches.shape == (2, 3, 512)
    assert torch.allclose(patches[1, 2, 8 * 5 + 3], log_mel[1, 5, 64 + 12 : 64 + 16].mean())


def test_whitened_values_have_no_mean_unit_variance_and_no_correlation() -> None:
    torch.manual_seed(0)
    values = torch.randn(500, 3, 20) @ torch.randn(20, 20) + 4
    mean, matrix = whitening(values, 8, 0.0)
    white = ((values - mean) @ matrix).flatten(0, 1)
    assert torch.allclose(white.mean(0), torch.zeros(8), atol=1e-4)
    assert torch.allclose(white.T @ white / len(white), torch.eye(8), atol=1e-3)


def test_targets_are_whitened_limited_and_of_both_spectra() -> None:
    torch.manual_seed(0)
    front_end, target = FrontEnd(CONFIG), SpectrumTarget(CONFIG, components=16)
    waveform = torch.randn(40, CONFIG.segment_samples) * torch.logspace(-3, -1, 40)[:, None]
    target.measure(waveform, front_end(waveform))
    made = target(waveform, front_end(waveform))
    assert made.shape == (40, 3, 32)
    assert made.abs().max() <= TARGET_LIMIT
    assert made.flatten(0, 1).std(0)[[0, 16]].sub(1).abs().max() < 0.05  # the largest of each, hardly shrunk
    assert not torch.allclose(made[..., :16], made[..., 16:])
    with pytest.raises(ValueError, match="spectrum_components"):
        SpectrumTarget(CONFIG, components=1000)


def test_loss_and_share_equal_a_loop() -> None:
    torch.manual_seed(0)
    estimate, target = torch.randn(4, 3, 5), torch.randn(4, 3, 5)
    total = error = spread = 0.0
    for segment in range(4):
        for frame in range(3):
            for number in range(5):
                square = float(estimate[segment, frame, number] - target[segment, frame, number]) ** 2
                total += 0.5 * square / 12
                error += square
                spread += float(target[segment, frame, number] - target[..., number].mean()) ** 2
    assert spectrum_loss(estimate, target) == pytest.approx(total, rel=1e-5)
    assert unexplained_share(estimate, target) == pytest.approx(error / spread, rel=1e-5)
    with pytest.raises(ValueError, match="expected"):
        spectrum_loss(estimate[:3], target)
