"""What an adapter makes: the task folder as it shall be, before any audio is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Clip:
    """A clip of the task folder, and where its audio comes from.

    Attributes:
        name: file name in the task folder, ending in ``.wav``.
        source: the raw file.
        labels: labels, or events ``{"label", "start", "end"}`` in ms.
        start: first frame of the source.
        frames: how many frames of the source; -1 for all to its end.
    """

    name: str
    source: Path
    labels: list[Any]
    start: int = 0
    frames: int = -1


@dataclass(frozen=True)
class Plan:
    """
    Attributes:
        metadata: of the task folder; ``sample_duration`` in seconds is what clips are cut or padded to.
        splits: split -> clips.
        vocabulary: labels in the order of their index.
    """

    metadata: Mapping[str, Any]
    splits: Mapping[str, Sequence[Clip]]
    vocabulary: Sequence[str]

    @property
    def folder_name(self) -> str:
        return "{task_name}-{version}-{mode}".format(**self.metadata)


def make_plan(metadata: Mapping[str, Any], splits: Mapping[str, Sequence[Clip]]) -> Plan:
    """A plan whose vocabulary is what its clips are labelled with, sorted.

    Clips are sorted by name, and ``splits`` and ``nfolds`` are filled in.
    """
    labels = {
        entry["label"] if isinstance(entry, dict) else entry
        for clips in splits.values()
        for clip in clips
        for entry in clip.labels
    }
    ordered = {split: sorted(clips, key=lambda clip: clip.name) for split, clips in splits.items()}
    filled = {**metadata, "splits": list(splits)}
    if metadata["split_mode"] != "trainvaltest":
        filled["nfolds"] = len(splits)
    return Plan(filled, ordered, [str(label) for label in sorted(labels)])


def cut_events(events: list[dict[str, Any]], clip_s: float) -> list[dict[str, Any]]:
    """Events in the order of their start, cut at the clip's end; none that starts there or later."""
    end_ms = clip_s * 1000
    kept = [{**event, "end": min(event["end"], end_ms)} for event in events if event["start"] < end_ms]
    return sorted(kept, key=lambda event: (event["start"], event["end"], event["label"]))
