"""Where windows are and which time each one belongs to: integer arithmetic, no audio."""

from __future__ import annotations

from dataclasses import dataclass

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
    """Between the windows of a clip that is no longer than about one window: 40 ms, where these are 960."""
    return config.segment_frames // 24


def is_short(samples: int, config: ModelConfig) -> bool:
    """Whether a clip exceeds one window by less than an eighth of a window, as a keyword of 1 s does."""
    return config.frames(samples) - config.segment_frames <= SCENE_REST * scene_hop_frames(config)


@dataclass(frozen=True, eq=False)
class SceneWindows:
    """The windows of a clip whose embeddings are averaged to its scene embedding.

    Attributes:
        before, behind: zero samples that are put around the clip.
        starts: first frames of the windows, ``(windows,)``, counted from the first of these zeros.
        shifts: mel bands by which each window's log-mel is moved upwards, ``(windows,)``; downwards if
            negative.
    """

    before: int
    behind: int
    starts: np.ndarray
    shifts: np.ndarray


def scene_windows(
    samples: int, short_clip_windows: int, short_clip_band_shift: int, config: ModelConfig
) -> SceneWindows:
    """Where the windows of a clip of ``samples`` samples are, and by how many mel bands each is shifted.

    The windows of a short clip are a 24th of a window apart, with the clip in their middle. Their shifts are
    0, ``short_clip_band_shift``, 0, ``-short_clip_band_shift`` in turn, beginning with the first. So it
    matters less where a word begins, and who speaks. The windows of a longer clip cover it evenly, end to
    end, about half a window apart, and are not shifted.
    """
    if not is_short(samples, config):
        spare = config.frames(samples) - config.segment_frames
        count = 1 + int(np.ceil(spare / scene_hop_frames(config) - SCENE_REST))
        starts = np.round(np.linspace(0, spare, count)).astype(np.int64)
        return SceneWindows(0, 0, starts, np.zeros_like(starts))
    number = np.arange(short_clip_windows, dtype=np.int64)
    steps = number * short_clip_hop_frames(config)
    missing = max(0, config.segment_samples + int(steps[-1]) * config.hop_length - samples)
    spare = config.frames(samples + missing) - config.segment_frames
    shifts = np.array([0, short_clip_band_shift, 0, -short_clip_band_shift])[number % 4]
    return SceneWindows(missing // 2, missing - missing // 2, (spare - int(steps[-1])) // 2 + steps, shifts)
