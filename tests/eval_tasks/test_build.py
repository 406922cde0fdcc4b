"""Clips of a task folder, made from raw sounds."""

import numpy as np
import pytest
import soundfile

from eval_tasks.adapters.build import make_clip
from eval_tasks.adapters.plan import Clip


def tone(hz, rate):
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(rate) / rate)


@pytest.mark.parametrize(("hz", "kept"), [(1000, True), (7000, True), (9000, False), (20000, False)])
def test_another_rate_has_what_it_can_hold_and_no_aliases(tmp_path, hz, kept):
    soundfile.write(tmp_path / "raw.wav", tone(hz, 48000), 48000)
    target = tmp_path / "made.wav"
    assert make_clip(Clip("made.wav", tmp_path / "raw.wav", []), {16000: target}, 1.0) == (None, [])
    audio, rate = soundfile.read(target)
    assert rate == 16000 and len(audio) == 16000
    expected = tone(hz, 16000) if kept else np.zeros(16000)
    np.testing.assert_allclose(audio[800:-800], expected[800:-800], atol=1e-3)


@pytest.mark.parametrize(
    ("start", "frames", "clip_s"), [(0, -1, None), (100, 50, None), (100, -1, 0.5), (900, 100, 2)]
)
def test_a_clip_is_its_part_of_the_file_cut_or_filled_with_zeros(tmp_path, start, frames, clip_s):
    raw = np.arange(1000, dtype=np.int16) + 1
    soundfile.write(tmp_path / "raw.wav", raw, 1000)
    clip = Clip("made.wav", tmp_path / "raw.wav", [], start, frames)
    assert make_clip(clip, {1000: tmp_path / "made.wav"}, clip_s) == (None, [])
    expected = list(raw[start:] if frames < 0 else raw[start : start + frames])
    if clip_s is not None:
        expected = (expected + [0] * 5000)[: round(1000 * clip_s)]
    assert soundfile.read(tmp_path / "made.wav", dtype="int16")[0].tolist() == expected
