"""Small raw data of the three data sets that HEAR's small archives lack: noise in their layouts.

The pieces of MIDI in ``eval_tasks/golden/maestro-midi`` were written for these tests: notes and pedal at
random, one piece without a pedal, two in which keys are struck again at the very time of a note's start or
end.
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import soundfile

# Name of each piece and its length in seconds; the last is named in the table, and not there.
PIECES = {"piece0": 6.217, "piece1": 7.173, "piece2": 7.25, "piece3": 7.5, "absent": 9.0}
MIDI = Path(__file__).parent / "eval_tasks" / "golden" / "maestro-midi"


def noise(path: Path, frames: int, rate: int, channels: int = 1) -> None:
    """Noise that depends on the file's name only, over the whole range of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = (
        hashlib.sha256(f"{path.name} {n}".encode()).digest() for n in range(frames * channels // 16 + 1)
    )
    samples = np.frombuffer(b"".join(blocks), "<i2")[: frames * channels].reshape(frames, channels)
    soundfile.write(path, samples, rate, subtype="PCM_16")


def dcase2016_task2(root: Path) -> None:
    """Ten scenes: one of ten validates, and one of ten tests."""
    folders = [
        root / "dev" / "dcase2016_task2_train_dev" / "dcase2016_task2_dev",
        root / "test" / "dcase2016_task2_test_public",
    ]
    for number in range(10):
        folder, name = folders[number % 2], f"scene_1_ebr_-6_nec_{number}_poly_0"
        noise(folder / "sound" / f"{name}.wav", 3 * 8000, 8000)
        (folder / "annotation").mkdir(exist_ok=True)
        events = [
            (2.5 + number / 7, 3.25 + number / 3, "cough"),
            (1.0, 1.5, "drawer"),
            (119.5, 121.0, "keys"),
            (120.0, 122.0, "phone"),
        ]
        lines = ("\t".join(map(str, event)) for event in events)
        (folder / "annotation" / f"{name}.txt").write_text("\n".join(lines) + "\n")


def nsynth(root: Path) -> None:
    """24 instruments of four notes, one of these below the piano's lowest key."""
    for split, instruments in (("train", 18), ("valid", 3), ("test", 3)):
        folder = root / split / f"nsynth-{split}"
        notes = {}
        for instrument in range(instruments):
            for pitch in (20, 21, 60, 108):
                name = f"{split}_acoustic_{instrument:03d}-{pitch:03d}-100"
                notes[name] = {"pitch": pitch, "note_str": name}
                noise(folder / "audio" / f"{name}.wav", 8000, 8000)
        (folder / "examples.json").write_text(json.dumps(notes))


def maestro(root: Path) -> None:
    """Four pieces in stereo, two at 44.1 and two at 48 kHz, and a fifth that is not there."""
    base = root / "maestro-v3.0.0"
    rows = []
    for number, (piece, duration_s) in enumerate(PIECES.items()):
        name = f"20{number:02d}/MIDI-{piece}_wav"
        rows.append(("train", f"{name}.midi", f"{name}.wav", duration_s))
        if piece != "absent":
            noise(base / f"{name}.wav", 6 * 44100, 44100 if number < 2 else 48000, channels=2)
            (base / f"{name}.midi").write_bytes((MIDI / f"{piece}.midi").read_bytes())
    with (base / "maestro-v3.0.0.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("split", "midi_filename", "audio_filename", "duration"), *rows])
