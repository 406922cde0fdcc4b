"""mini_pitch: notes of the 88 piano keys, 1 s each, by instruments that no two splits share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eval_tasks.mini.hear_format import MiniClip, MiniTask
from eval_tasks.mini.tools import SAMPLE_RATE, Preset, play

PITCHES = range(21, 109)  # MIDI note numbers, A0 to C8
INSTRUMENTS = {  # General MIDI programs, counted from 0; no sample of the soundfont is in two splits
    "train": {0: "grand piano", 4: "rhodes piano", 11: "vibraphone", 24: "nylon guitar", 80: "square lead",
              46: "harp", 66: "tenor sax", 73: "flute"},
    "valid": {27: "clean guitar", 79: "ocarina"},
    "test": {7: "clavinet", 12: "marimba", 21: "accordion", 42: "cello"},
}  # fmt: skip
HOLD_MS, CLIP_MS, EVERY_MS = 900, 1000, 4000


def clips(rng: np.random.Generator) -> Iterator[MiniClip]:
    """Each instrument plays every other key, odd and even ones in turn."""
    for split, instruments in INSTRUMENTS.items():
        for number, (program, instrument) in enumerate(instruments.items()):
            keys = [pitch for pitch in PITCHES if pitch % 2 == number % 2]
            notes = [(key, int(rng.integers(60, 121))) for key in keys]
            for key, note in zip(keys, play(Preset("GM", 0, program), notes, HOLD_MS, EVERY_MS), strict=True):
                audio = note[: CLIP_MS * SAMPLE_RATE // 1000]
                audio = audio * rng.uniform(0.2, 0.8) / np.abs(audio).max()
                audio[-320:] *= np.linspace(1, 0, 320)
                yield MiniClip(split, f"{program:03d}-{key:03d}", audio, [str(key)], (instrument,))


def task(rng: np.random.Generator) -> MiniTask:
    return MiniTask(
        name="mini_pitch",
        embedding_type="scene",
        prediction_type="multiclass",
        duration_s=CLIP_MS / 1000,
        evaluation=("pitch_acc", "chroma_acc"),
        vocabulary=[str(pitch) for pitch in PITCHES],
        clips=clips(rng),
        param_grid={"batch_size": [32], "max_epochs": [50], "patience": [5]},
    )
