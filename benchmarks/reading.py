"""Compare the reader of sound files with ffmpeg and libsndfile over a folder of odd files.

python -m benchmarks.reading FOLDER [FOLDER ...] [--all]

Every file below FOLDER is read, whatever its name, by hear_msss.audio, by the ffmpeg program and by
soundfile. What is found for each is one of: agree, warning, refused by all, refused here alone, longer here,
SHORTER IN SILENCE, OTHER SAMPLES, TRACEBACK. The last three are faults, and the exit code is then 1. The test
data of audio libraries (mutagen, tinytag, audioread, pydub, python-soundfile) make good folders.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from hear_msss.audio import SoundError, read_mono

FAULTS = ("SHORTER IN SILENCE", "OTHER SAMPLES", "TRACEBACK")
SLACK_S = 0.15  # encoder's delay and padding, which decoders count in their ways
RATE = 16_000  # at which samples are compared
ALIKE = 0.9  # least correlation of samples


def by_ffmpeg(path: Path) -> NDArray[np.float32]:
    """What ffmpeg decodes, mono at ``RATE``, as far as it gets."""
    command = ["ffmpeg", "-v", "quiet", "-nostdin", "-i", str(path), "-map", "0:a", "-map", "-0:a:1?"]
    try:
        done = subprocess.run(
            [*command, "-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"], capture_output=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        return np.zeros(0, np.float32)
    return np.frombuffer(done.stdout[: len(done.stdout) // 4 * 4], np.float32)


def soundfile_s(path: Path) -> float:
    """Seconds that soundfile reads; 0 where it cannot."""
    try:
        samples, rate = soundfile.read(path, always_2d=True)
        return len(samples) / rate
    except Exception:  # of many kinds, TypeError and MemoryError among them
        return 0.0


def alike(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> bool:
    """Whether two readings hold the same sound, at the lag that fits best."""
    length = min(len(ours), len(theirs), 20 * RATE)
    a, b = ours[:length], theirs[:length]
    power = float(np.sqrt(np.sum(a**2) * np.sum(b**2)))
    if length < 800 or power < 1e-6 * length:  # 50 ms, where resamplers swing in, or silence in both
        return length < 800 or abs(float(np.abs(a).max()) - float(np.abs(b).max())) < 0.1
    size = 2 * length
    products = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)))
    return float(products.max()) / power > ALIKE


def compare(path: Path) -> tuple[str, str]:
    """What is found for one file, and a sentence."""
    theirs = by_ffmpeg(path)
    longest_s = max(len(theirs) / RATE, soundfile_s(path))
    try:
        ours, _, warnings = read_mono(path, RATE)
    except SoundError as error:
        kind = "refused here alone" if longest_s else "refused by all"
        return kind, f"{error.reason} (others: {longest_s:.2f} s)"
    except Exception:
        return "TRACEBACK", traceback.format_exc()
    ours_s = len(ours) / RATE
    lengths = f"{ours_s:.2f} s, ffmpeg {len(theirs) / RATE:.2f} s, soundfile {soundfile_s(path):.2f} s"
    if warnings:
        return "warning", f"{lengths}: {'; '.join(warnings)}"
    if ours_s < longest_s - SLACK_S:
        return "SHORTER IN SILENCE", lengths
    if len(theirs) and not alike(ours, theirs):
        return "OTHER SAMPLES", lengths
    return ("longer here" if ours_s > longest_s + SLACK_S else "agree"), lengths


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.reading",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--all", action="store_true", help="list the files that agree, too")
    arguments = parser.parse_args()
    if not shutil.which("ffmpeg"):
        parser.error("the ffmpeg program is needed, as what to compare with")
    counts: Counter[str] = Counter()
    for folder in arguments.folders:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            kind, sentence = compare(path)
            counts[kind] += 1
            if kind != "agree" or arguments.all:
                print(f"{kind}: {path.relative_to(folder)}: {sentence}")
    print("\n| found | files |\n|---|---|")
    for kind, count in counts.most_common():
        print(f"| {kind} | {count} |")
    print(f"| in all | {counts.total()} |")
    return int(any(counts[fault] for fault in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
