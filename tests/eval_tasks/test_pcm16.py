"""Samples to 16 bits: the golden values are what ffmpeg 5.1 wrote (-acodec pcm_s16le -ac 1)."""

from __future__ import annotations

import numpy as np
import pytest

from eval_tasks.adapters.pcm16 import to_pcm16

# Raw samples, a row for each time, in units of the second number; what ffmpeg made of them.
CASES = {
    "PCM_16 in stereo": (
        "PCM_16",
        [[5, 6], [6, 5], [-5, -6], [-6, -5], [32767, 32767], [-32768, -32768], [7, 7], [1, 0], [-1, 0]],
        2.0**-15,
        [6, 6, -5, -5, 32767, -32768, 7, 1, 0],
    ),
    "PCM_24": (
        "PCM_24",
        [[255], [-255], [128], [-128], [127], [-1], [1], [1992], [-1992]],
        2.0**-23,
        [0, -1, 0, -1, 0, -1, 0, 7, -8],
    ),
    "PCM_24 in stereo": (
        "PCM_24",
        [[255, 0], [-255, 0], [128, 128], [-128, -128], [384, 384], [-1, 1], [640, 640]],
        2.0**-23,
        [0, 0, 0, 0, 2, 0, 2],
    ),
    "FLOAT": (
        "FLOAT",
        [[0.5], [1.5], [2.5], [-0.5], [-1.5], [0.49], [40000.0], [-40000.0]],
        2.0**-15,
        [0, 2, 2, 0, -2, 0, 32767, -32768],
    ),
    "FLOAT in stereo": (
        "FLOAT",
        [[0.5, 0.5], [1.0, 2.0], [3.0, 2.0], [-1.0, -2.0], [40000.0, 40000.0]],
        2.0**-15,
        [0, 2, 2, -2, 32767],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rounding_is_that_of_ffmpeg(name):
    subtype, rows, unit, expected = CASES[name]
    raw = (np.array(rows) * unit).astype(np.float32)
    samples = to_pcm16(raw.mean(axis=1, dtype=np.float32), subtype, raw.shape[1])
    assert samples.dtype == np.float32
    assert (samples * 32768).tolist() == expected
