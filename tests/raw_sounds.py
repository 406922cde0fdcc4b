"""Raw sounds for adapters, and the `prepare` command in a test."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pandas
import soundfile

from eval_tasks.__main__ import main

RATE = 16000


def write_noise(path: Path, frames: int, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Noise that depends on the file's name only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int(hashlib.sha1(path.name.encode()).hexdigest()[:8], 16)
    audio = np.random.default_rng(seed).integers(-9000, 9000, (frames, channels), dtype=np.int16)
    soundfile.write(path, audio, rate, subtype="PCM_16")
    return audio


def read_pcm(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="int16")[0]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def zip_folder(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in sorted(folder.rglob("*")):
            zipped.write(path, path.relative_to(folder))
    return archive


def pandas_sample(stems: list[str], split: str, count: int) -> list[str]:
    """The rule as it is told: sorted, shuffled by pandas' sample seeded with SHA-1, the first ones kept."""
    seed = int(hashlib.sha1(f"SubsampleSplit({split})".encode()).hexdigest(), 16) % (2**32 - 1)
    frame = pandas.DataFrame({"stem": stems}).sort_values("stem")
    return sorted(frame.sample(frac=1, random_state=seed)["stem"].iloc[:count])


def prepare(adapter: str, raw: list[Path], out: Path, *options: str) -> int:
    paths = [str(path) for path in raw]
    return main(["prepare", adapter, "--raw", *paths, "--out", str(out), "--jobs", "1", "--quiet", *options])
