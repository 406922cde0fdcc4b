"""The open tools that the mini tasks are rendered with: espeak-ng, fluidsynth and a soundfont."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

Audio = NDArray[np.float64]

SAMPLE_RATE = 16000
SYNTH_RATE = 48000
SOUNDFONTS = Path("/usr/share/sounds/sf2")  # where Debian and Ubuntu put them
FONTS = {"GM": "FluidR3_GM.sf2", "GS": "FluidR3_GS.sf2"}
DRUMS = 128  # bank number of the drum kits, which answer on MIDI channel 10


class MissingTool(RuntimeError):
    """A program or a soundfont that rendering needs is not installed."""


def check_tools() -> None:
    """Raise MissingTool naming everything that is not there, and how to get it."""
    programs = [name for name in ("espeak-ng", "fluidsynth") if shutil.which(name) is None]
    fonts = [str(SOUNDFONTS / name) for name in FONTS.values() if not (SOUNDFONTS / name).is_file()]
    if programs or fonts:
        raise MissingTool(
            f"rendering the mini tasks needs {', '.join(programs + fonts)}, not found here: "
            "apt-get install espeak-ng fluidsynth fluid-soundfont-gm fluid-soundfont-gs "
            "(the rendered tasks come with the package; only rendering them again needs the tools)"
        )


def _run(command: Sequence[str | Path]) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def espeak_variants() -> set[str]:
    """Names of the voice variants that the installed espeak-ng has; a variant it lacks it ignores."""
    return set(re.findall(r"!v/(\S+)", _run(["espeak-ng", "--voices=variant"])))


def _read_mono(path: Path) -> Audio:
    """The file as mono at 16 kHz."""
    audio, rate = sf.read(path, always_2d=True)
    return soxr.resample(audio.mean(axis=1), rate, SAMPLE_RATE, quality="VHQ")


def speak(text: str, voice: str, words_per_minute: int, pitch: int) -> Audio:
    """One utterance of espeak-ng, silence at both ends cut; pitch 0 to 99, its default is 50."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder, "speech.wav")
        _run(["espeak-ng", "-z", "-v", voice, "-s", str(words_per_minute), "-p", str(pitch), "-w", wav, text])
        audio = _read_mono(wav)
    loud = np.flatnonzero(np.abs(audio) > 0.01 * np.abs(audio).max())
    return audio[loud[0] : loud[-1] + 1]


@dataclass(frozen=True)
class Preset:
    """One sound of a soundfont: bank 128 is the drum kits, whose keys are different sounds."""

    font: str
    bank: int
    program: int

    def __str__(self) -> str:
        return f"{self.font}-{self.bank:03d}-{self.program:03d}"


def _variable_length(number: int) -> bytes:
    """MIDI's variable-length number: seven bits a byte, the high bit says that more follow."""
    parts = [number & 0x7F]
    while number := number >> 7:
        parts.append(number & 0x7F | 0x80)
    return bytes(reversed(parts))


def _midi(preset: Preset, notes: Sequence[tuple[int, int]], hold_ms: int, every_ms: int) -> bytes:
    """A MIDI file that plays ``(key, velocity)`` one after the other; one tick is one ms."""
    channel = 9 if preset.bank == DRUMS else 0
    events = [(0, bytes([0xFF, 0x51, 3]) + (1_000_000).to_bytes(3, "big"))]  # a quarter note is 1 s
    if channel != 9:
        events.append((0, bytes([0xB0 | channel, 0, preset.bank])))
    events.append((0, bytes([0xC0 | channel, preset.program])))
    for number, (key, velocity) in enumerate(notes):
        events.append((number * every_ms, bytes([0x90 | channel, key, velocity])))
        events.append((number * every_ms + hold_ms, bytes([0x80 | channel, key, 0])))
    events.append((len(notes) * every_ms, bytes([0xFF, 0x2F, 0])))
    track, now = b"", 0
    for time, message in events:
        track += _variable_length(time - now) + message
        now = time
    return struct.pack(">4sIHHH", b"MThd", 6, 0, 1, 1000) + struct.pack(">4sI", b"MTrk", len(track)) + track


def play(preset: Preset, notes: Sequence[tuple[int, int]], hold_ms: int, every_ms: int) -> list[Audio]:
    """Render notes with fluidsynth, without reverb and chorus.

    Args:
        preset: what plays.
        notes: ``(key, velocity)`` each.
        hold_ms: from key down to key up.
        every_ms: from one key down to the next; what still sounds by then is in the next note.

    Returns:
        One mono 16 kHz array of ``every_ms`` a note.
    """
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder, "notes.mid"), Path(folder, "notes.wav")
        midi.write_bytes(_midi(preset, notes, hold_ms, every_ms))
        command = ["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-r", str(SYNTH_RATE), "-O", "float"]
        _run([*command, "-T", "wav", "-F", wav, SOUNDFONTS / FONTS[preset.font], midi])
        audio = _read_mono(wav)
    samples = every_ms * SAMPLE_RATE // 1000
    audio = np.pad(audio, (0, max(0, len(notes) * samples - len(audio))))
    clips = [audio[i * samples : (i + 1) * samples] for i in range(len(notes))]
    silent = [note for note, clip in zip(notes, clips, strict=True) if np.abs(clip).max() < 1e-4]
    if silent:
        raise RuntimeError(f"{preset} is silent at (key, velocity) {silent}: not in this soundfont")
    return clips
