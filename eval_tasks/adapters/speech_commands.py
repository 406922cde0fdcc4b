"""Speech Commands v0.02, the 12-label version.

--raw: the training archive (or its folder, the one with validation_list.txt) and the test archive (or its
folder, the one with _silence_ and _unknown_), in any order. The ten command words keep their names, all
other words are _unknown_, and _silence_ is cut from the background noise: one second every half second.
Validation is validation_list.txt and the running tap; the files of testing_list.txt are left out, for
the test archive holds the official test set.

  python -m eval_tasks prepare speech_commands --mode 5h --out tasks/ \\
      --raw speech_commands_v0.02.tar.gz speech_commands_test_set_v0.02.tar.gz
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from eval_tasks.adapters.hear_rules import clips_within, subsample
from eval_tasks.adapters.plan import Clip, Plan, make_plan
from eval_tasks.errors import UserError
from hear_msss.audio import SoundError, measure

WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
BACKGROUND, SILENCE, UNKNOWN = "_background_noise_", "_silence_", "_unknown_"
CLIP_S = 1.0
# small: whatever is there of the lists' files, for cut-down archives.
MODES = ("5h", "full", "small")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mode", choices=MODES, default="5h", help="how much of it (default: %(default)s)")


def plan(folders: Sequence[Path], args: argparse.Namespace) -> Plan:
    train_root, test_root = find_roots(folders)
    metadata = {
        "task_name": "speech_commands",
        "version": "v0.0.2",
        "mode": args.mode,
        "embedding_type": "scene",
        "prediction_type": "multiclass",
        "split_mode": "trainvaltest",
        "sample_duration": CLIP_S,
        "evaluation": ["top1_acc"],
    }
    listed = {
        split: (train_root / file).read_text().split()
        for split, file in (("valid", "validation_list.txt"), ("test", "testing_list.txt"))
    }
    valid = [train_root / name for name in listed["valid"]]
    missing = [path for path in valid if not path.is_file()]
    if missing and args.mode != "small":
        raise UserError(
            f"{len(missing)} files of validation_list.txt are missing from the training archive, the first "
            f"{missing[0].relative_to(train_root)}: fetch the archive again, or give --mode small for a "
            "cut-down one"
        )
    held_out = set(listed["valid"]) | set(listed["test"])
    train = [
        path
        for path in train_root.glob("[!_]*/*.wav")
        if path.relative_to(train_root).as_posix() not in held_out
    ]
    splits = {
        "train": [word_clip(path) for path in train],
        "valid": [word_clip(path) for path in valid if path.is_file()],
        "test": [word_clip(path) for path in test_root.glob("*/*.wav")],
    }
    for path in sorted((train_root / BACKGROUND).glob("*.wav")):
        split = "valid" if path.name.startswith("running_tap") else "train"
        splits[split] += silence_clips(path)
    limits = {**clips_within(5, CLIP_S), "test": None} if args.mode == "5h" else dict.fromkeys(splits)
    for split, clips in splits.items():
        by_stem = {Path(clip.name).stem: clip for clip in clips}
        splits[split] = [by_stem[stem] for stem in subsample(list(by_stem), split, limits[split])]
    return make_plan(metadata, splits)


def find_roots(folders: Sequence[Path]) -> tuple[Path, Path]:
    """The folders of the training and of the test archive, which may lie in what was given.

    Raises:
        UserError: one is not there.
    """
    train = [file.parent for folder in folders for file in folder.rglob("validation_list.txt")]
    test = [
        found.parent
        for folder in folders
        for found in folder.rglob(UNKNOWN)
        if found.is_dir() and not (found.parent / "validation_list.txt").exists()
    ]
    if len(train) != 1 or len(test) != 1:
        raise UserError(
            f"{', '.join(map(str, folders))}: expected one folder with validation_list.txt (found "
            f"{len(train)}) and one of the test set, with {UNKNOWN} (found {len(test)}): give the training "
            "and the test archive"
        )
    return train[0], test[0]


def word_clip(path: Path) -> Clip:
    folder = path.parent.name
    label = folder if folder in (*WORDS, SILENCE) else UNKNOWN
    return Clip(f"{folder}_{path.name}", path, [label])


def silence_clips(path: Path) -> list[Clip]:
    """One second of background noise every half second, the last ending before the file does."""
    try:
        noise = measure(path)
    except SoundError as error:
        raise UserError(str(error)) from None
    second = noise.sample_rate
    return [
        Clip(f"{SILENCE}_{path.stem}-{start}.wav", path, [SILENCE], start, second)
        for start in range(0, noise.samples - second, second // 2)
    ]
