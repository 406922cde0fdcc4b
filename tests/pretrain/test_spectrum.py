"""The spectrum that h must keep: a tone peaks in its band, whitening whitens, the loss equals a loop."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hear_msss.config import ModelConfig
from hear_msss.frontend import FrontEnd
from pretrain.__main__ import main
from pretrain.checkpoint import load_checkpoint
from pretrain.learner import Learner
from pretrain.losses.spectrum import spectrum_loss, unexplained_share
from pretrain.runlog import read_log
from pretrain.settings import Settings
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
from pretrain.views import Views

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
    tone = torch.sin(torch.arange(CONFIG.segment_samples) * 0.2)[None]  # unlike anything that was measured
    assert target(tone, front_end(tone)).abs().max() == TARGET_LIMIT == 5
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


def test_the_learner_asks_h_of_x_and_x_prime_and_the_gradient_reaches_the_encoder() -> None:
    torch.manual_seed(0)
    settings = Settings(steps=1, alpha=0, beta=0, delta=1, spectrum_components=8)
    learner = Learner(settings)
    anchor, positive = torch.randint(-3000, 3000, (2, 4, CONFIG.segment_samples)).to(torch.int16)
    log_mel = Views(CONFIG)(anchor, positive)
    assert learner.spectrum is not None
    learner.spectrum.measure(torch.cat([anchor, positive]) / 32768, log_mel)
    target = learner.spectrum_target(anchor, positive, log_mel)
    assert target is not None
    assert torch.allclose(target[4:], learner.spectrum(positive / 32768, log_mel[4:]))
    loss, parts = learner.losses(learner(log_mel), None, target)
    assert loss.item() == pytest.approx(float(parts["clip"] + parts["spectrum"]))
    clip = learner.losses(learner(log_mel), None, target)[1]["clip"]
    assert clip != parts["spectrum"]
    loss.backward()
    read = learner.heads.spectrum
    assert read is not None and read.weight.grad.abs().sum() > 0
    assert learner.encoder.projection.weight.grad.abs().sum() > 0


def test_a_run_measures_once_and_goes_on_with_the_same_target(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(20):
        samples = 0.1 * random.standard_normal(20000) * np.linspace(0.1, 1, 20000) ** number
        (tmp_path / "sounds").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "sounds" / f"{number}.wav", samples, 16000)
    assert main(["pack", str(tmp_path / "sounds"), "--out", str(tmp_path / "corpus"), "--jobs", "1"]) == 0
    layers = ["--config", "cpu", "--config", "spectrum", "--corpus", str(tmp_path / "corpus")]
    small = "batch_size=4 spectrum_components=8 ema_decay=0.9 validation_fraction=0.5 validate_every=1"
    small_run = [word for value in small.split() for word in ("--set", value)]
    run, weights = tmp_path / "run", []
    assert main(["train", *layers, *small_run, "--set", "steps=1", "--out", str(run)]) == 0
    for steps in (1, 2):
        assert main(["train", "--resume", "--set", f"steps={steps}", "--out", str(run)]) == 0
        state = load_checkpoint(run)
        weights.append(state["learner"]["spectrum.fine_matrix"])
        assert torch.equal(state["average"]["module.spectrum.fine_matrix"], weights[-1])
    assert torch.equal(weights[0], weights[1]) and weights[0].abs().sum() > 0
    validated = [record for record in read_log(run) if record["phase"] == "validation"]
    assert [record["step"] for record in validated] == [1, 2]
    assert all(record["spectrum_unexplained"] > 0.5 for record in validated)
