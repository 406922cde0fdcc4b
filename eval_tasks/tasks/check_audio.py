"""What is wrong with the audio of a task folder, clip by clip."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import soundfile

from eval_tasks.tasks.check_description import Problem
from eval_tasks.tasks.task_folder import TaskFolder
from eval_tasks.workers import at_once
from hear_msss.audio import SoundError, open_sound

MAY_DIFFER_S = 0.1  # decoders count the padding of compressed sound in their ways


class ClipReport(NamedTuple):
    """What is found out about one clip.

    Attributes:
        frames: length, where the clip is sound.
        digest: of its samples, where these were wanted and are not all zero.
        message: what is wrong with it.
    """

    frames: int | None = None
    digest: bytes | None = None
    message: str | None = None


MISSING = ClipReport(message="missing")


def check_clip(path: Path, sample_rate: int, decode: bool) -> ClipReport:
    """Look at the header of a clip, and read it to its end if ``decode``."""
    if not path.exists():
        return MISSING
    try:
        with open_sound(path) as sound:
            if sound.sample_rate != sample_rate:
                return ClipReport(message=f"has {sound.sample_rate} Hz in the folder of {sample_rate} Hz")
            if sound.channels != 1:
                return ClipReport(message=f"has {sound.channels} channels, expected mono")
            if not decode and sound.announced_s:
                return ClipReport(round(sound.announced_s * sample_rate))
            frames, silent, samples = 0, True, hashlib.blake2b(digest_size=16)
            for block in sound.blocks():
                frames += len(block)
                silent = silent and not block.any()
                samples.update(block.tobytes())
    except SoundError as error:
        return ClipReport(message=error.reason)
    if sound.warnings:
        return ClipReport(message="; ".join(sound.warnings))
    seen = frames_for_the_runner(path)
    if abs(seen - frames) > MAY_DIFFER_S * sample_rate:
        return ClipReport(
            message=f"holds {frames} samples, of which the runner finds {seen}: convert it to wav"
        )
    return ClipReport(seen, None if silent else samples.digest())


def frames_for_the_runner(path: Path) -> int:
    """What soundfile, by which heareval reads, makes of a clip's length; 0 where it cannot read it."""
    try:
        return int(soundfile.info(os.fsencode(path)).frames)
    except soundfile.LibsndfileError:
        return 0


def check_audio(
    task: TaskFolder, splits: dict[str, dict[str, list[Any]]], sample_rate: int, quick: bool, jobs: int
) -> Iterator[Problem]:
    if sample_rate not in task.sample_rates:
        yield Problem(
            task.path,
            f"no audio at {sample_rate} Hz, there is {task.sample_rates or 'none'}: "
            f"python -m eval_tasks resample {task.path} --sample-rate {sample_rate}",
        )
        return
    # In a hurry only clips of the same name are compared across splits.
    uses = Counter(name for split in splits for name in splits[split])
    clips = [(split, name) for split in splits for name in splits[split]]
    paths = [task.audio_path(sample_rate, *clip) for clip in clips]
    check = joblib.delayed(check_clip)
    # Threads: reading audio releases the interpreter's lock.
    reports = joblib.Parallel(n_jobs=at_once(jobs, len(paths)), prefer="threads")(
        check(path, sample_rate, not quick or uses[name] > 1)
        for path, (_, name) in zip(paths, clips, strict=True)
    )
    here = {split for (split, _), report in zip(clips, reports, strict=True) if report != MISSING}
    for split in sorted(split for split in splits if splits[split] and split not in here):
        folder = task.path / str(sample_rate) / split
        yield Problem(folder, f"holds none of the {len(splits[split])} clips of this split")
    lengths = Counter(report.frames for report in reports if report.frames)
    usual = lengths.most_common(1)[0][0] if lengths else 0
    expected = None if task.sample_duration_s is None else task.sample_duration_s * sample_rate
    first_seen: dict[bytes, tuple[str, str]] = {}
    for path, (split, name), report in zip(paths, clips, reports, strict=True):
        frames = report.frames
        if split not in here:
            continue
        if report.message:
            yield Problem(path, report.message)
        elif expected is not None and frames and abs(frames - expected) > 1:
            yield Problem(path, f"has {frames} samples, expected {expected:g} ({task.sample_duration_s} s)")
        elif expected is not None and frames != usual:
            yield Problem(path, f"has {frames} samples, the others {usual}: clips are read in batches")
        if frames and task.is_event:
            yield from late_events(task, split, name, splits[split][name], 1000 * frames / sample_rate)
        if report.digest:
            other_split, other = first_seen.setdefault(report.digest, (split, name))
            if other_split != split:
                yield Problem(path, f"the same audio is in split {other_split} as {other!r}")


def late_events(
    task: TaskFolder, split: str, name: str, events: list[dict[str, Any]], length_ms: float
) -> Iterator[Problem]:
    """Events after the end of their own clip, where clips differ in length."""
    late = [event for event in events if event["end"] > length_ms + 1] if not task.sample_duration_s else []
    if late:
        yield Problem(
            task.path / f"{split}.json",
            f"clip {name!r}: {len(late)} events end after the clip, which has {length_ms:g} ms: {late[0]!r}",
        )
