"""Timestamps and windows: arithmetic that must hold for ten hours of audio."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hear_msss import windows
from hear_msss.config import ModelConfig

CONFIG = ModelConfig()
TEN_HOURS = 10 * 3600 * 16000


@pytest.mark.parametrize("hop_ms", [10, 30, 40, 50, 70])
def test_timestamps_are_exact_for_ten_hours(hop_ms):
    hop = windows.hop_frames(hop_ms, CONFIG)
    count = windows.timestamp_count(TEN_HOURS, hop, CONFIG)
    times = windows.timestamps_ms(0, count, hop, CONFIG)
    assert times.dtype == np.float64
    for index in (0, 1, count // 3, count - 1):
        assert Fraction(times[index]) == index * hop_ms
    assert 36_000_000 - hop_ms < times[-1] <= 36_000_000
    assert np.all(np.diff(times) == hop_ms)


def test_a_part_of_the_timestamps_equals_that_part_of_all():
    whole = windows.timestamps_ms(0, 1000, 5, CONFIG)
    assert np.array_equal(windows.timestamps_ms(900, 1000, 5, CONFIG), whole[900:])


@given(samples=st.integers(1, 3 * 16000), hop=st.integers(1, 12))
def test_every_timestamp_has_a_window_centred_on_it(samples, hop):
    count = windows.timestamp_count(samples, hop, CONFIG)
    assert (count - 1) * hop * 10 <= 1000 * samples / 16000 < count * hop * 10
    begin, end = windows.samples_around(np.arange(count), hop, CONFIG)
    assert end - begin == (count - 1) * hop * 160 + CONFIG.segment_samples
    for index in {0, count // 2, count - 1}:
        middle_in_clip = begin + index * hop * 160 + CONFIG.segment_samples / 2
        assert middle_in_clip / 16 == windows.timestamps_ms(index, index + 1, hop, CONFIG)[0]


@given(
    samples=st.integers(1, 800_000),
    short_windows=st.integers(1, 24),
    length=st.sampled_from([32, 64, 96, 192]),
)
def test_scene_windows_cover_the_clip(samples, short_windows, length):
    config = ModelConfig(segment_frames=length)
    cut = windows.scene_windows(samples, short_windows, 0, config)
    starts = cut.starts
    frames = (cut.before + samples + cut.behind - 400) // 160 + 1
    covered = np.zeros(frames, dtype=bool)
    for start in starts:
        assert 0 <= start <= frames - length
        covered[start : start + length] = True
    assert np.all(np.diff(starts) > 0)
    if samples < 400 + (length + length // 8) * 160:
        assert (~covered).sum() <= length // 8  # with windows of 96 frames, at most 60 ms at either end
        assert starts[-1] - starts[0] < length  # so each has a part of the clip
    else:
        assert covered.all()
        assert np.diff(starts).max() <= 5 / 8 * length + 1


@pytest.mark.parametrize(
    ("frames", "count"), [(96, 1), (98, 1), (108, 1), (109, 2), (156, 2), (157, 3), (1536, 31)]
)
def test_an_eighth_of_a_window_more_needs_no_window_of_its_own(frames, count):
    """A clip of 1 s (98 frames) is one window in its middle; else windows are about half a window apart."""
    starts = windows.scene_windows(400 + (frames - 1) * 160, 1, 0, CONFIG).starts
    assert len(starts) == count
    assert starts[0] == (0 if count > 1 else (frames - 96) // 2)


@given(samples=st.integers(1, 17_679), short_windows=st.integers(1, 24))
def test_the_windows_of_a_short_clip_are_40_ms_apart_around_its_middle(samples, short_windows):
    cut = windows.scene_windows(samples, short_windows, 0, CONFIG)
    assert 0 <= cut.behind - cut.before <= 1
    assert len(cut.starts) == short_windows and np.all(np.diff(cut.starts) == 4)
    middle = (cut.starts[0] + cut.starts[-1]) / 2 * 160 + 15_600 / 2 - cut.before  # of all windows
    assert abs(middle - samples / 2) <= 160


def test_a_clip_just_too_long_to_be_short_has_no_zeros_around_it():
    cut = windows.scene_windows(17_680, 3, 0, CONFIG)
    assert (cut.before, cut.behind) == (0, 0)
    assert len(cut.starts) == 2


@pytest.mark.parametrize("bands", [0, 1, 5])
def test_every_second_window_of_a_short_clip_is_shifted_up_and_down_in_turn(bands):
    assert windows.scene_windows(16_000, 6, bands, CONFIG).shifts.tolist() == [0, bands, 0, -bands, 0, bands]
    assert windows.scene_windows(17_680, 6, bands, CONFIG).shifts.tolist() == [0, 0]


@pytest.mark.parametrize("hop_ms", [0, -50, 5, 25, 50.5])
def test_hop_that_is_no_multiple_of_a_frame(hop_ms):
    with pytest.raises(ValueError, match="multiple of 10 ms"):
        windows.hop_frames(hop_ms, CONFIG)
