"""NSynth, pitches 21 to 108 (the piano's 88 keys).

--raw: the three archives nsynth-train, nsynth-valid and nsynth-test (.jsonwav.tar.gz), or their folders,
each with examples.json and audio/. The official splits share no instrument between training and the
other two.

  python -m eval_tasks prepare nsynth --mode 5h --out tasks/ \\
      --raw nsynth-train.jsonwav.tar.gz nsynth-valid.jsonwav.tar.gz nsynth-test.jsonwav.tar.gz
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from eval_tasks.adapters.hear_rules import SPLITS, clips_within, subsample
from eval_tasks.adapters.plan import Clip, Plan, make_plan
from eval_tasks.errors import UserError

CLIP_S = 4.0
LOWEST_PITCH, HIGHEST_PITCH = 21, 108
HOURS = {"5h": 5, "50h": 50, "small": None}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mode", choices=tuple(HOURS), default="5h", help="how much of it (default: %(default)s)"
    )


def plan(folders: Sequence[Path], args: argparse.Namespace) -> Plan:
    metadata = {
        "task_name": "nsynth_pitch",
        "version": "v2.2.3",
        "mode": args.mode,
        "embedding_type": "scene",
        "prediction_type": "multiclass",
        "split_mode": "trainvaltest",
        "sample_duration": CLIP_S,
        "evaluation": ["pitch_acc", "chroma_acc"],
    }
    hours = HOURS[args.mode]
    limits = clips_within(hours, CLIP_S) if hours else dict.fromkeys(SPLITS)
    splits = {}
    for split in SPLITS:
        root = find_root(folders, split)
        notes = json.loads((root / "examples.json").read_text(encoding="utf-8"))
        pitches = {
            name: note["pitch"]
            for name, note in notes.items()
            if LOWEST_PITCH <= note["pitch"] <= HIGHEST_PITCH
        }
        if args.mode == "small":
            pitches = {name: p for name, p in pitches.items() if audio(root, name).is_file()}
        missing = [name for name in pitches if not audio(root, name).is_file()]
        if missing:
            raise UserError(
                f"{len(missing)} notes of {root.name}/examples.json are missing, the first "
                f"{audio(root, missing[0]).relative_to(root)}: fetch the archive again, or give --mode "
                "small for a cut-down one"
            )
        chosen = subsample(list(pitches), split, limits[split])
        splits[split] = [Clip(f"{name}.wav", audio(root, name), [pitches[name]]) for name in chosen]
    return make_plan(metadata, splits)


def audio(root: Path, name: str) -> Path:
    return root / "audio" / f"{name}.wav"


def find_root(folders: Sequence[Path], split: str) -> Path:
    """The folder of a split, which may lie in what was given.

    Raises:
        UserError: it is not there, or more than once.
    """
    named = f"nsynth-{split}"
    found = [
        file.parent
        for folder in folders
        for file in folder.rglob("examples.json")
        if file.parent.name == named
    ]
    if len(found) != 1:
        raise UserError(
            f"{', '.join(map(str, folders))}: expected one folder {named} with examples.json in it, found "
            f"{len(found)}: give the three archives of NSynth"
        )
    return found[0]
