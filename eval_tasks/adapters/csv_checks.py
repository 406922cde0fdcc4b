"""What a table of labels says against its recordings: lengths, events, labels, names."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval_tasks.errors import UserError
from eval_tasks.files import unsafe_name
from eval_tasks.tasks.check_description import same_but_for_case
from hear_msss.audio import SoundError, measure

OVERHANG_MS = 100.0  # an event may end so much after its recording, and is cut there
SHARE_OF_CLIP = 0.02  # events that all lie in so small a part of their recordings have another unit


def refuse_wrong_times(
    table: Path, events: Mapping[str, Sequence[Mapping[str, Any]]], length_s: Mapping[str, float], unit: str
) -> None:
    """
    Args:
        table: of the events, for messages.
        events: file to its events, times in ms.
        length_s: file to its length.
        unit: of the table's times, as the user gave it: s or ms.

    Raises:
        UserError: events after the end of their recording, or all of them at its very beginning.
    """
    spans = [(file, event, length_s[file] * 1000) for file in events for event in events[file]]
    late = [
        f"{file}: {event['label']!r} from {event['start']:g} to {event['end']:g} ms of {length_ms:g} ms"
        for file, event, length_ms in spans
        if event["start"] >= length_ms or event["end"] > length_ms + OVERHANG_MS
    ]
    if late:
        shares = [event["end"] / 1000 / length_ms for _, event, length_ms in spans if length_ms]
        fits = unit == "s" and SHARE_OF_CLIP < max(shares, default=0.0) <= 1
        guess = "; did you mean --time-unit ms?" if fits else ""
        listed = "\n  ".join([*late[:20], *([f"and {len(late) - 20} more"] if len(late) > 20 else [])])
        raise UserError(f"{table}: {len(late)} events end after their recording{guess}\n  {listed}")
    if unit == "ms" and spans:
        early = all(event["end"] < SHARE_OF_CLIP * length_ms for _, event, length_ms in spans)
        if early and all(event["end"] * 1000 <= length_ms + OVERHANG_MS for _, event, length_ms in spans):
            raise UserError(
                f"{table}: all events lie in the first {SHARE_OF_CLIP:.0%} of their recordings; did you mean "
                "--time-unit s?"
            )


def refuse_lost_labels(
    table: Path, before: Iterable[str], after: Iterable[str], clip_s: float | None
) -> None:
    """
    Raises:
        UserError: a label all of whose events lie after the end of the cut clips.
    """
    lost = sorted(set(before) - set(after))
    if lost:
        within = "its recording" if clip_s is None else f"the {clip_s:g} s of a clip"
        raise UserError(
            f"{table}: no event of {', '.join(lost)} begins within {within}: leave the label out, or give a "
            "larger --clip-seconds"
        )


def refuse_names(table: Path, names: Mapping[str, str]) -> None:
    """
    Args:
        table: for messages.
        names: name of a clip in the task folder to the file that it is made from.

    Raises:
        UserError: a name that no file can have, or two that some file systems take for one.
    """
    unfit = [f"{file}: {problem}" for name, file in names.items() if (problem := unsafe_name(name))]
    unfit += [
        f"{', '.join(names[name] for name in same)}: the clips' names differ by case or Unicode form only"
        for same in same_but_for_case(names)
    ]
    if unfit:
        raise UserError(f"{table}: rename these files:\n  " + "\n  ".join(unfit))


def alike(labels: Iterable[str]) -> list[list[str]]:
    """Labels that differ by blanks, case or Unicode form only."""
    groups: dict[str, list[str]] = {}
    for label in sorted(set(labels)):
        form = " ".join(unicodedata.normalize("NFKC", label).casefold().split())
        groups.setdefault(form, []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def lengths_s(paths: Mapping[str, Path]) -> dict[str, float]:
    """The length in seconds of each file.

    Raises:
        UserError: files that cannot be read, all of them named.
    """
    lengths, problems = {}, []
    for file, path in paths.items():
        try:
            lengths[file] = measure(path).duration_s
        except SoundError as error:
            problems.append(str(error))
    if problems:
        raise UserError(f"{len(problems)} files cannot be read:\n  " + "\n  ".join(problems))
    return lengths


def common_length_s(length_s: Mapping[str, float]) -> float | None:
    """The length of all the clips in seconds; None where they differ."""
    lengths = set(length_s.values())
    return lengths.pop() if len(lengths) == 1 else None
