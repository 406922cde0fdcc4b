"""A corpus that more than one file of tests trains on."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from pretrain.__main__ import main


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A dozen harmonic tones of 12 s, packed: 24 clips, the two of one file held out."""
    folder = tmp_path_factory.mktemp("sounds")
    time_s = np.arange(192_000) / 16_000
    for number in range(12):
        pitch_hz = 110 * 2 ** (number / 4)
        sound = sum(np.sin(2 * np.pi * k * pitch_hz * time_s) / k for k in range(1, 5))
        soundfile.write(folder / f"{number}.wav", 0.1 * sound * np.exp(-time_s / 8), 16_000)
    packed = tmp_path_factory.mktemp("corpus") / "packed"
    assert main(["pack", str(folder), "--out", str(packed), "--jobs", "1"]) == 0
    return packed
