"""mini_keywords: ten spoken words in 1 s clips, by espeak-ng speakers that no two splits share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eval_tasks.mini.hear_format import MiniClip, MiniTask
from eval_tasks.mini.tools import SAMPLE_RATE, Audio, MissingTool, espeak_variants, speak

WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp", "en-029")
VARIANTS = [  # of espeak-ng, those that sound like different people (no whispers, no robots)
    "Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Jacky", "Lee", "Marco", "Mario",
    "Michael", "Mike", "Nguyen", "adam", "anika", "antonio", "belinda", "boris", "caleb", "david", "ed",
    "edward", "f1", "f2", "f3", "f4", "f5", "grandma", "grandpa", "iven", "linda", "m1", "m2", "m3", "m4",
    "m5", "m6", "m7", "max", "miguel", "pablo", "quincy", "rob", "shelby", "steph", "zac",
]  # fmt: skip
SPEAKERS = {"train": 24, "valid": 6, "test": 12}


def background(samples: int, rng: np.random.Generator, slope: float) -> Audio:
    """Gaussian noise whose power falls with frequency as ``f ** -slope``, RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum *= np.maximum(1, np.arange(len(spectrum))) ** (-slope / 2)
    noise = np.fft.irfft(spectrum, samples)
    return noise / np.sqrt(np.mean(noise**2))


def utterance(word: str, voice: str, rng: np.random.Generator) -> Audio:
    """One second: the word at a random place, level, speed and pitch, in faint noise."""
    speech = speak(word, voice, words_per_minute=int(rng.integers(130, 200)), pitch=int(rng.integers(30, 71)))
    speech = speech[:SAMPLE_RATE]
    audio = np.zeros(SAMPLE_RATE)
    start = int(rng.integers(0, SAMPLE_RATE - len(speech) + 1))
    audio[start : start + len(speech)] = speech * rng.uniform(0.15, 0.7) / np.abs(speech).max()
    level = np.sqrt(np.mean(audio**2)) * 10 ** (-rng.uniform(15, 35) / 20)
    return audio + level * background(SAMPLE_RATE, rng, slope=rng.uniform(0.5, 1.5))


def clips(rng: np.random.Generator) -> Iterator[MiniClip]:
    if missing := set(VARIANTS) - espeak_variants():
        raise MissingTool(
            f"this espeak-ng lacks the voice variants {sorted(missing)}: expected espeak-ng 1.51"
        )
    variants = iter(rng.permutation(VARIANTS))
    for split, count in SPEAKERS.items():
        for number in range(count):
            variant = str(next(variants))
            voice = f"{ACCENTS[number % len(ACCENTS)]}+{variant}"
            for word in WORDS:
                yield MiniClip(split, f"{word}-{variant}", utterance(word, voice, rng), [word], (variant,))


def task(rng: np.random.Generator) -> MiniTask:
    return MiniTask(
        name="mini_keywords",
        embedding_type="scene",
        prediction_type="multiclass",
        duration_s=1.0,
        evaluation=("top1_acc",),
        vocabulary=WORDS,
        clips=clips(rng),
        param_grid={"batch_size": [32], "max_epochs": [50], "patience": [5]},
    )
