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

from collections.abc import Sequence
from pathlib import Path

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, listed
from eval_tasks.adapters.hear_rules import clips_within
from eval_tasks.errors import UserError
from hear_msss.audio import SoundError, measure

WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
BACKGROUND, SILENCE, UNKNOWN = "_background_noise_", "_silence_", "_unknown_"
CLIP_S = 1.0


def find(folders: Sequence[Path], small: bool) -> list[Recording]:
    train_root, test_root = find_roots(folders)
    valid, test = (
        (train_root / file).read_text().split() for file in ("validation_list.txt", "testing_list.txt")
    )
    held_out = {*valid, *test}
    train = [
        path
        for path in train_root.glob("[!_]*/*.wav")
        if path.relative_to(train_root).as_posix() not in held_out
    ]
    recordings = [word(path, "train") for path in train]
    recordings += [word(train_root / name, "valid") for name in valid]
    recordings += [word(path, "test") for path in test_root.glob("*/*.wav")]
    for path in sorted((train_root / BACKGROUND).glob("*.wav")):
        recordings += silence(path, "valid" if path.name.startswith("running_tap") else "train")
    return recordings


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
            f"{listed(folders)}: expected one folder with validation_list.txt (found {len(train)}) and one "
            f"of the test set, with {UNKNOWN} (found {len(test)}): give the training and the test archive"
        )
    return train[0], test[0]


def word(path: Path, split: str) -> Recording:
    folder = path.parent.name
    label = folder if folder in (*WORDS, SILENCE) else UNKNOWN
    return Recording(f"{folder}_{path.stem}", path, [label], split)


def silence(path: Path, split: str) -> list[Recording]:
    """One second of background noise every half second, the last ending before the file does.

    Raises:
        UserError: a file that cannot be read.
    """
    try:
        noise = measure(path)
    except SoundError as error:
        raise UserError(f"{error}: fetch the archive again") from None
    second = noise.sample_rate
    return [
        Recording(f"{SILENCE}_{path.stem}-{start}", path, [SILENCE], split, "", start, second)
        for start in range(0, noise.samples - second, second // 2)
    ]


DATA_SET = HearDataSet(
    name="speech_commands",
    about=__doc__ or "",
    task_name="speech_commands",
    version="v0.0.2",
    split_mode="trainvaltest",
    modes={
        # All of the test set.
        "5h": Mode(CLIP_S, {**clips_within(5, CLIP_S), "test": None}),
        "full": Mode(CLIP_S),
        SMALL: Mode(CLIP_S),
    },
    find=find,
    scores=("top1_acc",),
)
