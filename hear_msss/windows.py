"""Where windows are and which time each one belongs to: integer arithmetic, no audio."""

from __future__ import annotations

import numpy as np

from hear_msss.config import ModelConfig

SCENE_HOP_FRAMES = 48  # half a window
SCENE_REST = 0.25  # a rest of at most this share of a hop gets no window of its own


def hop_frames(hop_ms: float, config: ModelConfig) -> int:
    """Frames between two timestamps.

    Raises:
        ValueError: ``hop_ms`` is not a positive multiple of the frame hop (10 ms).
    """
    frame_ms = 1000 * config.hop_length / config.sample_rate
    frames = round(hop_ms / frame_ms)
    if frames < 1 or abs(frames * frame_ms - hop_ms) > 1e-9:
        raise ValueError(
            f"hop_ms={hop_ms}: expected a positive multiple of {frame_ms:g} ms, the hop of the spectrogram"
        )
    return frames


def timestamp_count(samples: int, hop: int, config: ModelConfig) -> int:
    """Timestamps at 0, hop, 2 hop ... that do not lie after the end of ``samples`` samples."""
    return samples // (hop * config.hop_length) + 1


def timestamps_ms(first: int, last: int, hop: int, config: ModelConfig) -> np.ndarray:
    """Times of timestamps ``first`` to ``last - 1`` in ms, float64, each computed from its index."""
    return np.arange(first, last, dtype=np.float64) * (1000 * hop * config.hop_length) / config.sample_rate


def samples_around(centres: np.ndarray, hop: int, config: ModelConfig) -> tuple[int, int]:
    """First sample, and the one after the last, that windows around these timestamps see.

    The middle of the window around timestamp ``k`` is sample ``k * hop * hop_length``. The range may
    begin before the clip (below 0) and end after it; the caller puts zeros there.
    """
    first = int(centres[0]) * hop * config.hop_length - config.segment_samples // 2
    last = int(centres[-1]) * hop * config.hop_length - config.segment_samples // 2
    return first, last + config.segment_samples


def scene_margins(samples: int, config: ModelConfig) -> tuple[int, int]:
    """Zero samples before and after a clip shorter than a window, which centre it; otherwise (0, 0)."""
    missing = max(0, config.segment_samples - samples)
    return missing // 2, missing - missing // 2


def scene_starts(frames: int, config: ModelConfig) -> np.ndarray:
    """First frames of the windows that cover a clip of ``frames`` frames evenly, end to end.

    The windows are about half a window apart. A clip that exceeds one window by less than an eighth of
    a window, such as a keyword of 1 s, gets one window in its middle.
    """
    spare = frames - config.segment_frames
    windows = 1 + max(0, int(np.ceil(spare / SCENE_HOP_FRAMES - SCENE_REST)))
    if windows == 1:
        return np.array([spare // 2])
    return np.round(np.linspace(0, spare, windows)).astype(np.int64)
