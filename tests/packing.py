"""Sounds to pack, and the `pack` command in a test."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

from pretrain.corpus import pack, store

ROOT = Path(__file__).resolve().parents[1]
STORE_FILES = (
    store.AUDIO,
    store.JOURNAL,
    store.INDEX_FILE,
    store.MANIFEST,
    store.REJECTS,
    store.WARNINGS,
    store.CORPUS,
)


def noise(seconds: float, seed: int, rate: int = 16000, channels: int = 1) -> np.ndarray:
    shape = (round(seconds * rate), channels)
    return 0.1 * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def tone(frequency_hz: float, seconds: float, rate: int, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate)) / rate)


def write(path: Path, samples: np.ndarray, rate: int = 16000, subtype: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def run_pack(*arguments: object, jobs: int = 1) -> int:
    import argparse

    parser = argparse.ArgumentParser()
    pack.add_arguments(parser)
    return pack.run(parser.parse_args([*map(str, arguments), "--jobs", str(jobs)]))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in STORE_FILES}


def spectrum_peak(samples: np.ndarray, rate: int = 16000) -> tuple[float, float]:
    """Frequency and amplitude of the strongest sine, from the bin of a Hann-windowed FFT."""
    window = np.hanning(len(samples))
    magnitude = np.abs(np.fft.rfft(samples * window)) / (window.sum() / 2)
    top = int(magnitude.argmax())
    return top * rate / len(samples), float(magnitude[top])
