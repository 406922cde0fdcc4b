"""The 19 tasks of the HEAR benchmark: what they are, and by which names they go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from eval_tasks.errors import UserError

PUBLISHED_RATE = 48000  # Hz, the only one that the public archives come in


@dataclass(frozen=True)
class HearTask:
    """One task of the benchmark; the fields are those of ``tasks.yaml``, which explains them."""

    title: str
    folders: tuple[str, ...]
    embedding: str
    prediction: str
    splits: str
    clip_s: float | None
    clips: int
    hours: float
    score: str
    leaderboard: str


@cache
def hear_tasks() -> tuple[HearTask, ...]:
    """The 19 tasks, in the order of the benchmark's task sheet."""
    text = resources.files("eval_tasks.tasks").joinpath("tasks.yaml").read_text(encoding="utf-8")
    return tuple(HearTask(**{**entry, "folders": tuple(entry["folders"])}) for entry in yaml.safe_load(text))


def published(folder_name: str) -> HearTask | None:
    """The benchmark's task that a folder name belongs to; None for stand-ins and tasks of one's own."""
    for task in hear_tasks():
        if folder_name in task.folders:
            return task
    return None


def select_folders(names: Iterable[str]) -> list[str]:
    """Folder names that the user's words stand for.

    Args:
        names: folder names, beginnings of them (``esc50``, ``speech_commands``), titles, or ``all``.

    Returns:
        in the order of the words, each once.

    Raises:
        UserError: a word that stands for no task.
    """
    selected: dict[str, None] = {}
    for name in names:
        found = [
            folder
            for task in hear_tasks()
            for folder in task.folders
            if name == "all" or folder.startswith(name) or task.title.lower() == name.lower()
        ]
        if name in found:
            found = [name]
        if not found:
            known = ", ".join(folder for task in hear_tasks() for folder in task.folders)
            raise UserError(f"no task {name!r}: expected all, or the beginning of one of {known}")
        selected.update(dict.fromkeys(found))
    return list(selected)
