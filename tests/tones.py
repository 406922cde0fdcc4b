"""Tones, and the mel bands in which they show."""

import numpy as np
import torch

from hear_msss.config import ModelConfig
from pretrain.augmentation import (
    Augmentation,
    Augmentations,
)

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
