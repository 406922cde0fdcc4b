"""Gunshot Triangulation, which of four microphones recorded a shot, in seven folds: one for each firearm.

--raw: the folder of mic1raw.wav, mic2raw16b.wav, mic3raw.wav and mic4raw.wav, or the four files. They are
aligned, and cut to 22 clips of 1.5 s each, where the first microphone hears a shot. --mode small takes
clips that are cut already, mic<number>_shot<number>_fid<number>.wav.

  python -m eval_tasks prepare gunshot_triangulation --raw recordings/ --out tasks/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_named, find_one
from eval_tasks.errors import UserError
from hear_msss.audio import SoundError, measure, open_sound

# Source of what follows: hear-preprocess, which has it from the authors' create_data.m.
RATE = 48000
RECORDINGS = {  # each with the frame where the aligned part begins
    "mic1raw.wav": 15764451,
    "mic2raw16b.wav": 13764742,
    "mic3raw.wav": 9334032,
    "mic4raw.wav": 6794611,
}
THRESHOLD = 0.8  # of full scale: a shot begins
FRAMES_BETWEEN_SHOTS = 25000
SHOTS = 22
FIREARMS = (1, *(shot // 3 + 1 for shot in range(SHOTS - 1)))
BEFORE_SHOT, CLIP_FRAMES = RATE // 8, RATE * 3 // 2
CUT_NAME = re.compile(r"mic([1-4])_shot\d+_fid([1-7])\.wav")


def find_shots(loud: np.ndarray) -> list[int]:
    """The first frames of the shots, among all the frames that are loud."""
    shots: list[int] = []
    for frame in loud:
        # In the frame after the distance is passed hear-preprocess still ignores a shot.
        if not shots or frame > shots[-1] + FRAMES_BETWEEN_SHOTS + 1:
            shots.append(int(frame))
            if len(shots) == SHOTS:
                break
    return shots


def cut(paths: Sequence[Path]) -> list[Recording]:
    """Clips of the four recordings.

    Raises:
        UserError: another sample rate, fewer than 22 shots, or a recording that ends too early.
    """
    offsets = [offset - RATE for offset in RECORDINGS.values()]
    try:
        lengths = [measure(path) for path in paths]
        with open_sound(paths[0]) as first:
            audio = first.read(start=offsets[0])
    except SoundError as error:
        raise UserError(f"{error}: fetch it again") from None
    shots = find_shots(np.flatnonzero(np.abs(audio) >= THRESHOLD))
    if len(shots) != SHOTS:
        raise UserError(f"{paths[0]}: found {len(shots)} shots, expected {SHOTS}: fetch it again")
    recordings = []
    for mic, (path, length, offset) in enumerate(zip(paths, lengths, offsets, strict=True), start=1):
        end = offset + shots[-1] - BEFORE_SHOT + CLIP_FRAMES
        if length.sample_rate != RATE or length.samples < end:
            raise UserError(
                f"{path}: {length.samples} frames at {length.sample_rate} Hz, expected at least "
                f"{end} at {RATE} Hz: fetch it again"
            )
        for number, (shot, firearm) in enumerate(zip(shots, FIREARMS, strict=True)):
            recordings.append(
                Recording(
                    f"mic{mic}_shot{number}_fid{firearm}",
                    path,
                    [f"mic{mic}"],
                    key=f"fid{firearm}",
                    start=offset + shot - BEFORE_SHOT,
                    frames=CLIP_FRAMES,
                )
            )
    return recordings


def find(folders: Sequence[Path], small: bool) -> list[Recording]:
    if not small:
        return cut([find_one(folders, name, "Gunshot Triangulation") for name in RECORDINGS])
    return [
        Recording(path.stem, path, [f"mic{match[1]}"], key=f"fid{match[2]}")
        for path, match in find_named(folders, CUT_NAME)
    ]


DATA_SET = HearDataSet(
    name="gunshot_triangulation",
    about=__doc__ or "",
    task_name="gunshot_triangulation",
    version="v1.0",
    split_mode="new_split_kfold",
    modes={"full": Mode(1.5, folds=7), SMALL: Mode(1.5, folds=7)},
    find=find,
    recordings=4 * SHOTS,
)
