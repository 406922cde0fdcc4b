"""NSynth, pitches 21 to 108 (the piano's 88 keys).

--raw: the three archives nsynth-train, nsynth-valid and nsynth-test (.jsonwav.tar.gz), or their folders,
each with examples.json and audio/. nsynth has the official splits, which share no instrument between
training and the other two. nsynth_pitch_kfold, which is not of the 19, puts all the notes together and
makes ten folds, disjoint in instruments.

  python -m eval_tasks prepare nsynth --mode 5h --out tasks/ \\
      --raw nsynth-train.jsonwav.tar.gz nsynth-valid.jsonwav.tar.gz nsynth-test.jsonwav.tar.gz
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_files, listed
from eval_tasks.adapters.hear_rules import SPLITS, clips_within
from eval_tasks.errors import UserError

CLIP_S = 4.0
LOWEST_PITCH, HIGHEST_PITCH = 21, 108


def find(folders: Sequence[Path], small: bool) -> list[Recording]:
    recordings = []
    for split in SPLITS:
        root = find_root(folders, split)
        file = root / "examples.json"
        try:
            pitches = {name: note["pitch"] for name, note in json.loads(file.read_bytes()).items()}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}: expected notes with a pitch ({error!r}): fetch it again") from None
        for name, pitch in pitches.items():
            if LOWEST_PITCH <= pitch <= HIGHEST_PITCH:
                source = root / "audio" / f"{name}.wav"
                recordings.append(Recording(name, source, [pitch], split, key=name.split("-")[0]))
    return recordings


def find_root(folders: Sequence[Path], split: str) -> Path:
    """The folder of a split, which may lie in what was given.

    Raises:
        UserError: it is not there, or more than once.
    """
    named = f"nsynth-{split}"
    found = [file.parent for file in find_files(folders, "examples.json") if file.parent.name == named]
    if len(found) != 1:
        raise UserError(
            f"{listed(folders)}: expected one folder {named} with examples.json in it, found {len(found)}: "
            "give the three archives of NSynth"
        )
    return found[0]


def data_set(name: str, task_name: str, split_mode: str, modes: Mapping[str, Mode]) -> HearDataSet:
    return HearDataSet(
        name=name,
        about=__doc__ or "",
        task_name=task_name,
        version="v2.2.3",
        split_mode=split_mode,
        modes=modes,
        find=find,
        scores=("pitch_acc", "chroma_acc"),
    )


PITCH = data_set(
    "nsynth",
    "nsynth_pitch",
    "trainvaltest",
    {
        "5h": Mode(CLIP_S, clips_within(5, CLIP_S)),
        "50h": Mode(CLIP_S, clips_within(50, CLIP_S)),
        SMALL: Mode(CLIP_S),
    },
)
PITCH_KFOLD = data_set(
    "nsynth_pitch_kfold",
    "nsynth_pitch_kfold",
    "new_split_kfold",
    {
        # A fold is as long as the official test set is in that mode.
        "5h": Mode(CLIP_S, clips_within(5, CLIP_S)["test"], folds=10),
        "50h": Mode(CLIP_S, clips_within(50, CLIP_S)["test"], folds=10),
        SMALL: Mode(CLIP_S, folds=10),
    },
)
