"""mini_events: 12 s scenes of percussion and effects with known onsets, from samples that no two
splits share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eval_tasks.mini.hear_format import MiniClip, MiniTask
from eval_tasks.mini.keywords import background
from eval_tasks.mini.tools import DRUMS, SAMPLE_RATE, Audio, Preset, play

SCENES = {"train": 12, "valid": 4, "test": 6}
SCENE_S = 12
MIN_MS, MAX_MS = 300, 1200  # of an event: heareval drops what it sees for less than 125 or 250 ms
VELOCITIES = (70, 95, 120)


@dataclass(frozen=True)
class Kind:
    """A class of events.

    Attributes:
        strokes: fewest and most strokes of one event; short sounds come as rolls.
        every_ms: shortest and longest time from stroke to stroke.
        sources: of each split, ``(preset, key)``.
    """

    strokes: tuple[int, int]
    every_ms: tuple[int, int]
    sources: dict[str, list[tuple[Preset, int]]]


def _kit(program: int, *keys: int) -> list[tuple[Preset, int]]:
    return [(Preset("GM", DRUMS, program), key) for key in keys]


def _effect(font: str, bank: int, program: int) -> list[tuple[Preset, int]]:
    return [(Preset(font, bank, program), 60)]


KINDS = {
    "bang": Kind((1, 1), (0, 0), {  # explosion, car crash, punch; door; gun shot
        "train": _effect("GS", 3, 127) + _effect("GS", 4, 125) + _effect("GS", 3, 126),
        "valid": _effect("GS", 3, 124),
        "test": _effect("GM", 0, 127),
    }),
    "bell": Kind((2, 4), (150, 220), {  # cowbell, low agogo, triangle; TR-808 cowbell; high agogo, ride bell
        "train": _kit(0, 56, 68, 81), "valid": _kit(25, 56), "test": _kit(0, 67, 53),
    }),
    "cymbal": Kind((1, 1), (0, 0), {  # crash 1, ride 1, china, splash; ride 2; crash 2, orchestra crash
        "train": _kit(0, 49, 51, 52, 55), "valid": _kit(0, 59), "test": _kit(0, 57) + _kit(48, 57),
    }),
    "shaker": Kind((4, 6), (90, 140), {  # tambourine, cabasa; small shaker; maracas, sleigh bells
        "train": _kit(0, 54, 69), "valid": _kit(0, 82), "test": _kit(0, 70, 83),
    }),
    "snare": Kind((4, 6), (80, 120), {  # of the kits standard to standard 2, electronic; power; others
        "train": _kit(0, 38) + _kit(1, 38) + _kit(2, 38) + _kit(24, 38),
        "valid": _kit(16, 38),
        "test": _kit(3, 38) + _kit(10, 38) + _kit(48, 38),
    }),
    "tom": Kind((1, 2), (200, 300), {  # of the kits standard, electronic, power
        "train": _kit(0, 41, 43, 45, 48, 50), "valid": _kit(24, 41, 45), "test": _kit(16, 41, 45, 48),
    }),
    "wood": Kind((4, 6), (80, 120), {  # high block, sticks, clave; TR-808 clave; low block, castanet
        "train": _kit(0, 76, 31, 75), "valid": _kit(25, 75), "test": _kit(0, 77, 85),
    }),
}  # fmt: skip


def trimmed(stroke: Audio) -> Audio:
    """From the onset (the first sample above a fifth of the peak) on, peak 1, faded in over 1 ms."""
    stroke = stroke / np.abs(stroke).max()
    stroke = stroke[np.argmax(np.abs(stroke) > 0.2) :].copy()
    stroke[:16] *= np.linspace(0, 1, 16)
    return stroke


def event(kind: Kind, stroke: Audio, rng: np.random.Generator) -> Audio:
    """One event: the strokes, cut where they have decayed by 25 dB, between MIN_MS and MAX_MS."""
    strokes = int(rng.integers(kind.strokes[0], kind.strokes[1] + 1))
    every = int(rng.integers(kind.every_ms[0], kind.every_ms[1] + 1) * SAMPLE_RATE / 1000)
    audio = np.zeros(len(stroke) + every * (strokes - 1))
    for number in range(strokes):
        gain = 1.0 if number == 0 else rng.uniform(0.7, 1.0)
        audio[number * every : number * every + len(stroke)] += gain * stroke
    level = np.sqrt(np.convolve(audio**2, np.ones(160) / 160, "same"))
    samples = int(np.flatnonzero(level > level.max() * 10 ** (-25 / 20))[-1])
    samples = min(max(samples, MIN_MS * SAMPLE_RATE // 1000), MAX_MS * SAMPLE_RATE // 1000)
    audio = audio[:samples]
    audio[-400:] *= np.linspace(1, 0, 400)
    return audio / np.abs(audio).max()


def scene(
    strokes: dict[str, list[tuple[str, Audio]]], rng: np.random.Generator
) -> tuple[Audio, list[dict[str, str | float]], set[str]]:
    """Events in turn over a faint background; about one in six begins while the last still sounds."""
    samples = SCENE_S * SAMPLE_RATE
    audio = background(samples, rng, slope=rng.uniform(0.5, 1.5)) * 0.3 * 10 ** (-rng.uniform(28, 38) / 20)
    labels: list[dict[str, str | float]] = []
    sources: set[str] = set()
    start = int(rng.uniform(0.2, 0.8) * SAMPLE_RATE)
    order: list[str] = []
    while True:
        order = order or list(rng.permutation(list(KINDS)))
        label = order.pop()
        source, stroke = strokes[label][rng.integers(len(strokes[label]))]
        sound = event(KINDS[label], stroke, rng)
        end = start + len(sound)
        if end > samples - SAMPLE_RATE // 5:
            return audio, labels, sources
        audio[start:end] += sound * rng.uniform(0.25, 0.45)
        labels.append({"label": label, "start": start * 1000 / SAMPLE_RATE, "end": end * 1000 / SAMPLE_RATE})
        sources.add(f"{label} {source}")
        if rng.random() < 1 / 6:
            start += max(len(sound) // 2, SAMPLE_RATE // 5)
        else:
            start = end + int(rng.uniform(0.15, 0.9) * SAMPLE_RATE)


def clips(rng: np.random.Generator) -> Iterator[MiniClip]:
    for split, count in SCENES.items():
        strokes: dict[str, list[tuple[str, Audio]]] = {label: [] for label in KINDS}
        for label, kind in KINDS.items():
            for preset, key in kind.sources[split]:
                notes = [(key, velocity) for velocity in VELOCITIES]
                for stroke in play(preset, notes, hold_ms=1500, every_ms=3500):
                    strokes[label].append((f"{preset} key {key}", trimmed(stroke)))
        for number in range(count):
            audio, labels, sources = scene(strokes, rng)
            yield MiniClip(split, f"scene{number:02d}-{split}", audio, labels, tuple(sorted(sources)))


def task(rng: np.random.Generator) -> MiniTask:
    return MiniTask(
        name="mini_events",
        embedding_type="event",
        prediction_type="multilabel",
        duration_s=float(SCENE_S),
        evaluation=("event_onset_200ms_fms", "segment_1s_er"),
        vocabulary=list(KINDS),
        clips=clips(rng),
        param_grid={
            "batch_size": [256],
            "max_epochs": [30],
            "patience": [2],
            "check_val_every_n_epoch": [10],
        },
    )
