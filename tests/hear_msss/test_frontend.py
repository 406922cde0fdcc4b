"""Front end against a direct numpy computation, against librosa and against torchaudio."""

from __future__ import annotations

import subprocess
import sys

import librosa
import numpy as np
import pytest
import torch
import torchaudio

from hear_msss.config import ModelConfig
from hear_msss.frontend import FrontEnd, mel_filters, warp_frequency


def _noise(samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed)) * 0.1


def _frame_power(signal: np.ndarray, config: ModelConfig, frame: int) -> np.ndarray:
    """One frame by its definition: 400 samples, periodic Hann, zero-padded FFT."""
    begin = frame * config.hop_length
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.win_length) / config.win_length)
    return np.abs(np.fft.rfft(signal[begin : begin + config.win_length] * window, config.n_fft)) ** 2


@pytest.mark.parametrize("n_fft", [512, 1024])
def test_power_is_that_of_a_direct_fft(n_fft):
    config = ModelConfig(n_fft=n_fft)
    signal = _noise(config.segment_samples)
    power = FrontEnd(config).power(signal).numpy()
    assert power.shape == (n_fft // 2 + 1, 96)
    for frame in (0, 1, 50, 95):
        expected = _frame_power(signal.numpy().astype(np.float64), config, frame)
        np.testing.assert_allclose(power[:, frame], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("n_fft", [512, 1024])
def test_log_mel_agrees_with_librosa(n_fft):
    config = ModelConfig(n_fft=n_fft)
    signal = _noise(8000, seed=1)
    bank = librosa.filters.mel(
        sr=16000, n_fft=n_fft, n_mels=64, fmin=60, fmax=7800, htk=True, norm=None, dtype=np.float64
    )
    frames = config.frames(8000)
    power = np.stack([_frame_power(signal.double().numpy(), config, i) for i in range(frames)], axis=1)
    np.testing.assert_allclose(
        FrontEnd(config)(signal).numpy(), np.log(bank @ power + config.log_offset), atol=2e-3
    )


@pytest.mark.parametrize("n_fft", [400, 512, 1024])
def test_log_mel_agrees_with_torchaudio(n_fft):
    config = ModelConfig(n_fft=n_fft)
    signal = torch.stack([_noise(8000, seed=2), torch.sin(torch.arange(8000) / 3)])
    margin = (n_fft - 400) // 2
    mel = torchaudio.transforms.MelSpectrogram(
        16000, n_fft, 400, 160, 60.0, 7800.0, n_mels=64, center=False, power=2.0
    )
    expected = torch.log(mel(torch.nn.functional.pad(signal, (margin, margin))) + config.log_offset)
    torch.testing.assert_close(FrontEnd(config)(signal), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("n_mels", "rate", "low", "high"), [(64, 16000, 60.0, 7800.0), (40, 8000, 0.0, 4000.0)]
)
def test_mel_filters_are_those_of_torchaudio(n_mels, rate, low, high):
    expected = torchaudio.functional.melscale_fbanks(513, low, high, n_mels, rate, norm=None, mel_scale="htk")
    torch.testing.assert_close(mel_filters(513, n_mels, rate, low, high), expected.T, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("samples", "frames"), [(400, 1), (559, 1), (560, 2), (15_600, 96), (15_759, 96)])
def test_frame_count(samples, frames):
    assert FrontEnd()(_noise(samples)).shape == (64, frames) == (64, ModelConfig().frames(samples))


def test_frames_do_not_depend_on_where_the_clip_was_cut():
    signal, front_end = _noise(16_000), FrontEnd()
    torch.testing.assert_close(front_end(signal)[:, 10:50], front_end(signal[1600:])[:, :40])


def test_batch_equals_single():
    batch = torch.stack([_noise(8000, seed) for seed in range(3)])
    front_end = FrontEnd()
    torch.testing.assert_close(front_end(batch), torch.stack([front_end(clip) for clip in batch]))


def test_warp_by_one_is_the_identity():
    power = FrontEnd().power(_noise(15_600))[None]
    assert torch.equal(warp_frequency(power, torch.ones(1)), power)


@pytest.mark.parametrize("ratio", [0.8, 0.93, 1.07, 1.2])
def test_warp_moves_a_straight_line_along_frequency(ratio):
    bins = 513
    line = torch.arange(bins, dtype=torch.float32).view(1, bins, 1).expand(2, bins, 4)
    warped = warp_frequency(line, torch.tensor([1.0, ratio]))
    expected = (torch.arange(bins) / ratio).clamp(max=bins - 1)
    torch.testing.assert_close(warped[0], line[0])
    torch.testing.assert_close(warped[1, :, 2], expected, rtol=1e-5, atol=1e-3)


def test_warp_refuses_a_ratio_per_nothing():
    with pytest.raises(ValueError, match=r"expected \(batch, bins, frames\)"):
        warp_frequency(torch.ones(2, 513, 4), torch.ones(3))


@pytest.mark.parametrize(
    "wrong", [{"n_fft": 256}, {"n_mels": 60}, {"f_max_hz": 9000.0}, {"segment_frames": 100}]
)
def test_settings_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).removesuffix("_hz") + "|mel range"):
        ModelConfig(**wrong)


def test_unknown_setting_is_named():
    with pytest.raises(ValueError, match="hop"):
        ModelConfig.from_dict({"hop": 160})


def test_the_plugin_imports_where_torchaudio_cannot_be_imported():
    code = "import sys; sys.modules['torchaudio'] = None; import hear_msss.__main__; print('imported')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "imported\n", done.stderr
