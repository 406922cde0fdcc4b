"""What the benchmark's data sets have in common: recordings become the clips of splits, by HEAR's rules.

An adapter says where the recordings lie and what they are labelled with. Everything after that is here,
in the order of hear-preprocess 2021.1.1, whose outcome on the same data this must equal: files that are
missing, splits or folds, the subset that a mode keeps, the length of the clips.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval_tasks.adapters.hear_rules import SPLITS, complete_splits, fold_names, split_into_folds, subsample
from eval_tasks.adapters.plan import Clip, Plan, cut_events, make_plan
from eval_tasks.errors import UserError

SMALL = "small"  # the mode for cut-down archives: whatever is there of what the data set lists
MANY_SCORES = ("top1_acc", "mAP", "d_prime", "aucroc")  # those of most tasks, the main one first


@dataclass(frozen=True)
class Recording:
    """A clip as the raw data has it.

    Attributes:
        stem: the clip's name without its ending; no other recording of the data set has it.
        source: the raw file.
        labels: labels, or events in ms; or what reads them, called for the clips that a mode keeps.
        split: train, valid, test or a fold, where the data set brings one.
        key: recordings of one key stay in one split; "" stands for the stem.
        start: first frame of the source.
        frames: how many frames of the source; -1 for all to its end.
    """

    stem: str
    source: Path
    labels: Sequence[Any] | Callable[[], Sequence[Any]]
    split: str = "train"
    key: str = ""
    start: int = 0
    frames: int = -1

    @property
    def split_key(self) -> str:
        return self.key or self.stem


@dataclass(frozen=True)
class Mode:
    """How much of a data set.

    Attributes:
        clip_s: what clips are cut or padded to, in seconds; None keeps their lengths.
        max_clips: of each split, or of any fold; None keeps all.
        folds: how many folds, where the data set brings none.
        valid_percent, test_percent: of the keys, where the data set brings no such split.
    """

    clip_s: float | None
    max_clips: Mapping[str, int | None] | int | None = None
    folds: int | None = None
    valid_percent: float = 10
    test_percent: float = 10

    def limit(self, split: str) -> int | None:
        return self.max_clips.get(split) if isinstance(self.max_clips, Mapping) else self.max_clips


@dataclass(frozen=True)
class ModeOptions:
    """What a data set of the benchmark can be asked for.

    Attributes:
        mode: how much of it; "" is the benchmark's own.
    """

    mode: str = ""


@dataclass(frozen=True)
class HearDataSet:
    """A data set of the benchmark, which makes one task folder in each of its modes.

    Attributes:
        name: of the adapter.
        about: what it takes and makes, for ``--help``.
        task_name, version, scores, split_mode, multilabel, is_event: of the task folder.
        modes: the benchmark's own first; all but ``small`` are made from the whole data set.
        find: folders, and whether the data may be cut down -> recordings.
        recordings: how many ``find`` gives of the whole data set; None where it checks that itself.
        metadata: more of what the task folder's metadata holds.
    """

    name: str
    about: str
    task_name: str
    version: str
    split_mode: str
    modes: Mapping[str, Mode]
    find: Callable[[Sequence[Path], bool], list[Recording]]
    recordings: int | None = None
    scores: Sequence[str] = MANY_SCORES
    multilabel: bool = False
    is_event: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    Options = ModeOptions

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        own = next(iter(self.modes))
        parser.add_argument(
            "--mode",
            choices=tuple(self.modes),
            default=own,
            help="how much of it; small: whatever is there, for cut-down archives (default: %(default)s)",
        )

    def folder_name(self, mode: str) -> str:
        """Of the task folder."""
        return f"{self.task_name}-{self.version}-{mode}"

    def plan(self, folders: Sequence[Path], options: ModeOptions) -> Plan:
        """
        Args:
            folders: the raw data.
            options: the mode.

        Raises:
            UserError: no such mode, or raw data that is not the data set's: missing or unexpected files,
                labels that do not fit.
        """
        name = options.mode or next(iter(self.modes))
        if name not in self.modes:
            raise UserError(f"{self.name} has no mode {name!r}: expected one of {', '.join(self.modes)}")
        mode, small = self.modes[name], name == SMALL
        found = self.present(self.find(folders, small), folders, small)
        splits = {}
        for split, members in self.split(found, mode, small).items():
            by_stem = {recording.stem: recording for recording in members}
            kept = subsample(list(by_stem), split, mode.limit(split))
            splits[split] = [self.clip(by_stem[stem], mode.clip_s) for stem in kept]
        if empty := [split for split, clips in splits.items() if not clips]:
            raise UserError(f"{listed(folders)}: no clips of {self.name} for {', '.join(empty)}")
        metadata = {
            "task_name": self.task_name,
            "version": self.version,
            "mode": name,
            "embedding_type": "event" if self.is_event else "scene",
            "prediction_type": "multilabel" if self.multilabel or self.is_event else "multiclass",
            "split_mode": self.split_mode,
            "sample_duration": mode.clip_s,
            "evaluation": list(self.scores),
            **self.metadata,
        }
        return make_plan(metadata, splits)

    def present(self, recordings: list[Recording], folders: Sequence[Path], small: bool) -> list[Recording]:
        """The recordings whose files are there, each name once: all of them, unless the data is cut down.

        Raises:
            UserError: some are missing, there are more or fewer than there should be, or two of one name.
        """
        there = [recording for recording in recordings if recording.source.is_file()]
        missing = len(recordings) - len(there)
        if missing and not small:
            first = next(r.source for r in recordings if not r.source.is_file())
            raise UserError(
                f"{missing} files of {self.name} are missing, the first {first}: fetch the archive again, or "
                "give --mode small for a cut-down one"
            )
        if not there or (not small and self.recordings not in (None, len(there))):
            raise UserError(
                f"{listed(folders)}: found {len(there)} recordings of {self.name}, expected "
                f"{self.recordings or 'some'}: give all of its archives, or --mode small for cut-down ones"
            )
        by_stem: dict[str, Recording] = {}
        for recording in there:
            first_one = by_stem.setdefault(recording.stem, recording)
            if first_one is not recording:
                raise UserError(
                    f"{recording.source} and {first_one.source}: two recordings of one name, "
                    f"{recording.stem}: give the raw data once"
                )
        return there

    def split(self, recordings: list[Recording], mode: Mode, small: bool) -> dict[str, list[Recording]]:
        """Split -> recordings."""
        if self.split_mode == "new_split_kfold":
            assert mode.folds is not None
            labels: dict[str, set[Any]] = defaultdict(set)
            # Neither cut-down data nor events need every label in every fold.
            every_label = not small and not self.is_event
            for recording in recordings:
                known = recording.labels if every_label and not callable(recording.labels) else ()
                labels[recording.split_key] |= set(known)
            assignment = split_into_folds(labels, mode.folds, every_label)
            names: Sequence[str] = fold_names(mode.folds)
        else:
            keys: dict[str, set[str]] = defaultdict(set)
            for recording in recordings:
                keys[recording.split].add(recording.split_key)
            if self.split_mode == "presplit_kfold":
                names = sorted(keys)
                assignment = {}
            else:
                names = SPLITS
                assignment = complete_splits(keys, mode.valid_percent, mode.test_percent)
        splits: dict[str, list[Recording]] = {name: [] for name in names}
        for recording in recordings:
            split = recording.split
            if self.split_mode == "new_split_kfold" or split == "train":
                split = assignment.get(recording.split_key, split)
            splits[split].append(recording)
        return splits

    def clip(self, recording: Recording, clip_s: float | None) -> Clip:
        labels = list(recording.labels() if callable(recording.labels) else recording.labels)
        if self.is_event and clip_s is not None:
            labels = cut_events(labels, clip_s)
        return Clip(
            f"{recording.stem}.wav",
            recording.source,
            labels,
            recording.start,
            recording.frames,
        )


def listed(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders))


def find_files(folders: Sequence[Path], pattern: str = "*.wav") -> list[Path]:
    """Files, or folders, anywhere in the folders, these included, in alphabetical order.

    Not what begins with a dot: archives packed on a Mac hold such doubles.
    """
    inside = [path for folder in folders for path in folder.rglob(pattern)]
    themselves = [folder for folder in folders if folder.match(pattern)]
    return sorted({path for path in (*inside, *themselves) if not path.name.startswith(".")})


def find_named(folders: Sequence[Path], pattern: re.Pattern[str]) -> list[tuple[Path, re.Match[str]]]:
    """The wav files whose names are of a pattern, with what it found in each name."""
    return [(path, match) for path in find_files(folders) if (match := pattern.fullmatch(path.name))]


def find_one(folders: Sequence[Path], pattern: str, of: str) -> Path:
    """The one file, or folder, of that name anywhere in the folders.

    Raises:
        UserError: there is none, or there are several.
    """
    found = find_files(folders, pattern)
    if len(found) != 1:
        raise UserError(
            f"{listed(folders)}: expected one {pattern} of {of}, found {len(found)}: give the archive that "
            "holds it, once"
        )
    return found[0]
