"""Where windows are and which time each one belongs to: integer arithmetic, no audio."""

from __future__ import annotations

import numpy as np

from hear_msss.config import ModelConfig

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


def scene_hop_frames(config: ModelConfig) -> int:
    """Between the windows of a clip: half a window."""
    return config.segment_frames // 2


def short_clip_hop_frames(config: ModelConfig) -> int:
    """Between the windows of a clip that is no longer than about one window: 80 ms, where these are 960."""
    return config.segment_frames // 12


def is_short(samples: int, config: ModelConfig) -> bool:
    """Whether a clip exceeds one window by less than an eighth of a window, as a keyword of 1 s does."""
    return config.frames(samples) - config.segment_frames <= SCENE_REST * scene_hop_frames(config)


def scene_margins(samples: int, windows: int, config: ModelConfig) -> tuple[int, int]:
    """Zero samples before and after a short clip, which centre it in its ``windows``; otherwise (0, 0)."""
    if not is_short(samples, config):
        return 0, 0
    seen = config.segment_samples + (windows - 1) * short_clip_hop_frames(config) * config.hop_length
    missing = max(0, seen - samples)
    return missing // 2, missing - missing // 2


def scene_starts(samples: int, short_clip_windows: int, config: ModelConfig) -> np.ndarray:
    """First frames of the windows of a clip of ``samples`` samples, counted from its margin's beginning.

    The windows of a short clip are a twelfth of a window apart, with the clip in their middle. Where a word
    begins in a window then matters less. The windows of a longer clip cover it evenly, end to end, about half
    a window apart.
    """
    margins = scene_margins(samples, short_clip_windows, config)
    spare = config.frames(samples + sum(margins)) - config.segment_frames
    if is_short(samples, config):
        steps = np.arange(short_clip_windows, dtype=np.int64) * short_clip_hop_frames(config)
        return (spare - int(steps[-1])) // 2 + steps
    windows = 1 + int(np.ceil(spare / scene_hop_frames(config) - SCENE_REST))
    return np.round(np.linspace(0, spare, windows)).astype(np.int64)
