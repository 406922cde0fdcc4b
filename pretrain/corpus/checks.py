"""What pack makes sure of before it writes: the settings are the same, and the disk will do."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from hear_msss.audio import SoundError, open_sound
from hear_msss.locks import LOCK
from pretrain.corpus.audio import ClipSettings
from pretrain.corpus.find import SourceFile
from pretrain.corpus.store import BYTES_PER_SAMPLE
from pretrain.files import PART, open_replacing

SPARE_BYTES = 64 << 20
AHEAD = 4  # files for each process that may be converted before the store has taken them
GUESSED_BYTES_PER_S = 16_000  # of a file without a length in its header: compressed, at 128 kbit/s


def check_settings(folder: Path, settings: ClipSettings) -> None:
    """A corpus keeps the settings that it was begun with."""
    path = folder / "settings.json"
    if path.exists():
        begun = ClipSettings(**json.loads(path.read_text(encoding="utf-8")))
        if begun != settings:
            raise ValueError(
                f"{folder} was begun with {asdict(begun)}, asked for now: {asdict(settings)}; "
                "give the same options or another --out"
            )
        return
    if any(entry.name not in (LOCK, path.name + PART) for entry in folder.iterdir()):
        raise ValueError(f"{folder}: there are other files in it; give a new or an empty folder")
    with open_replacing(path) as out:
        json.dump(asdict(settings), out)


def guessed_duration_s(path: Path) -> float:
    """From the header, or else from the size; 0 where no sound is (it will be listed as unreadable)."""
    try:
        with open_sound(path) as sound:
            size = path.stat().st_size
            # A damaged header may claim any length; below 4 kbit/s there is nothing but silence.
            return min(sound.announced_s or size / GUESSED_BYTES_PER_S, size / 500)
    except (SoundError, OSError):
        return 0.0


def check_space(folder: Path, files: Sequence[SourceFile], settings: ClipSettings, jobs: int) -> list[float]:
    """Refuse to begin what the disk cannot hold.

    Returns:
        The files' durations in seconds, as their headers let guess.

    Raises:
        OSError: with what is needed and what is free.
    """
    with ThreadPoolExecutor(jobs) as threads:
        durations = list(threads.map(guessed_duration_s, (file.path for file in files)))
    second = settings.sample_rate * BYTES_PER_SAMPLE
    in_flight = sum(sorted(durations)[-AHEAD * jobs :])  # converted, not yet in the store
    needed = int((sum(durations) + in_flight) * second) + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if files:
        print(
            f"{len(files)} files, {sum(durations) / 3600:.2f} h, {needed / 1e9:.2f} GB needed",
            file=sys.stderr,
        )
    if needed > free:
        raise OSError(
            f"{folder}: {needed / 1e9:.2f} GB needed for {sum(durations) / 3600:.1f} h of audio, "
            f"{free / 1e9:.2f} GB free: make room, give another --out or fewer sources"
        )
    return durations
