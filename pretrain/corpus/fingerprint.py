"""Fingerprints that tell whether two recordings hold the same sound, at any level and from any codec.

The method of Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System" (ISMIR 2002): 32 bits a
frame, each the sign of the change over time of the difference between the energies of two neighbouring
bands. Frames overlap so much that the same sound, cut at another place, has nearly the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16000
WINDOW_SAMPLES = 4096  # 256 ms
HOP_SAMPLES = 320  # 20 ms
BITS = 32
BAND_EDGES_HZ = np.geomspace(200.0, 5000.0, BITS + 2)
FRAMES_AT_ONCE = 2048
# Added to the energy of each band (samples in [-1, 1]), so that digital silence has no bits of its own.
ENERGY_FLOOR = 1e-6


def band_energies(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log energy of 33 bands, ``(frames, 33)``, of samples at 16 kHz in [-1, 1]."""
    if len(samples) < WINDOW_SAMPLES:
        return np.zeros((0, BITS + 1), dtype=np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
    window = np.hanning(WINDOW_SAMPLES).astype(np.float32)
    edges = np.round(BAND_EDGES_HZ * WINDOW_SAMPLES / SAMPLE_RATE).astype(int)
    energies = []
    for first in range(0, len(frames), FRAMES_AT_ONCE):
        spectrum = np.fft.rfft(frames[first : first + FRAMES_AT_ONCE] * window, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        energies.append(np.add.reduceat(power, edges, axis=1)[:, :-1])
    return np.log(np.concatenate(energies) + np.float32(ENERGY_FLOOR))


def fingerprint(samples: NDArray[np.float32]) -> NDArray[np.uint32]:
    """32 bits for each frame but the first, ``(frames - 1,)``; empty for less than two frames (276 ms)."""
    energies = band_energies(samples)
    slope = np.diff(energies, axis=1)
    bits = np.diff(slope, axis=0) > 0
    packed = np.packbits(bits, axis=1, bitorder="little")
    return packed.reshape(-1, BITS // 8).copy().view("<u4").reshape(-1)


def differing_bits(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> NDArray[np.int64]:
    """How many bits differ in each frame, ``(frames,)``, of two fingerprints of one length; 16 by chance."""
    differing = np.bitwise_xor(a, b).view(np.uint8).reshape(len(a), BITS // 8)
    return np.unpackbits(differing, axis=1).sum(axis=1, dtype=np.int64)
