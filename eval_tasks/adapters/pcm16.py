"""Samples to 16 bits, as hear-preprocess has them: clips at the raw data's own rate are equal to the bit.

Source: hear-preprocess 2021.1.1 has clips mixed to mono and written by ffmpeg (its libswresample). Which
samples are rounded, and how, depends on the raw format: seen in ffmpeg 5.1, held by a test against golden
values.
"""

from __future__ import annotations

import numpy as np

FULL_SCALE = 32768


def to_pcm16(audio: np.ndarray, subtype: str, channels: int) -> np.ndarray:
    """The nearest samples that 16 bits can hold.

    Args:
        audio: ``(samples,)`` float32 in [-1, 1], channels averaged.
        subtype: of the raw file, by soundfile's name.
        channels: of the raw file.

    Returns:
        ``(samples,)`` float32, multiples of 1 / 32768.
    """
    scaled = audio * np.float32(FULL_SCALE)
    if subtype == "PCM_16":
        rounded = np.floor(scaled + 0.5)  # the mean of two channels ends in .0 or .5
    elif subtype == "PCM_24" and channels == 1:
        rounded = np.floor(scaled)  # the lowest eight bits are dropped
    else:
        rounded = np.rint(scaled)
    return (rounded.clip(-FULL_SCALE, FULL_SCALE - 1) / FULL_SCALE).astype(np.float32)
