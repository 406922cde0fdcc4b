"""What is to be made of a table of labelled recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval_tasks.errors import UserError
from eval_tasks.files import unsafe_name
from eval_tasks.tasks.check_description import SCORES

LONGEST_CLIP_S = 100_000.0
TIME_UNITS_MS = {"s": 1000.0, "ms": 1.0}


@dataclass(frozen=True)
class Options:
    """
    Attributes:
        csv: the table.
        audio: the folder that the table's files are in.
        name, version, mode: of the task folder.
        type: scene or event.
        multilabel: scenes with any number of labels.
        time_unit: of start and end: s or ms.
        clip_seconds: cut or pad every clip to this; None keeps their lengths.
        metric: names of the scores, the main one first; None for the usual ones.
        group_column: clips that share its value stay in one split.
        split_column: names the split of each clip.
        folds: how many to make.
        ratios: of train, valid and test, where neither of the two above is given.
    """

    csv: Path
    audio: Path
    name: str
    type: str
    version: str = "v1"
    mode: str = "full"
    multilabel: bool = False
    time_unit: str = "s"
    clip_seconds: float | None = None
    metric: Sequence[str] | None = None
    group_column: str | None = None
    split_column: str | None = None
    folds: int | None = None
    ratios: Sequence[float] = (80, 10, 10)

    def __post_init__(self) -> None:
        """
        Raises:
            UserError: a value that is none of those expected.
        """
        for field in ("csv", "audio"):
            object.__setattr__(self, field, Path(getattr(self, field)))
        for field, known in (("type", ("scene", "event")), ("time_unit", tuple(TIME_UNITS_MS))):
            if getattr(self, field) not in known:
                raise UserError(f"{field} {getattr(self, field)!r}: expected one of {', '.join(known)}")
        if unknown := set(self.metric or ()) - set(SCORES):
            raise UserError(f"metric {sorted(unknown)}: expected some of {', '.join(SCORES)}")
        if problem := unsafe_name(f"{self.name}-{self.version}-{self.mode}"):
            raise UserError(f"name, version and mode make the folder {problem}")
        if self.clip_seconds is not None and not 0 < self.clip_seconds < LONGEST_CLIP_S:
            raise UserError(f"clip_seconds {self.clip_seconds:g}: expected above 0, below {LONGEST_CLIP_S:g}")
