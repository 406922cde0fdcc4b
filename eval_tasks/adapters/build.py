"""A plan becomes a task folder: every clip mono, 16 bits, cut or padded, at the rates that are asked for."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import soundfile
import soxr

from eval_tasks.adapters.pcm16 import to_pcm16
from eval_tasks.adapters.plan import Clip, Plan
from eval_tasks.errors import UserError
from eval_tasks.files import remove_leftovers, replacing, require_space, write_text
from eval_tasks.tasks.audio import fix_length, write_audio
from eval_tasks.tasks.task_folder import UNFINISHED, TaskFolder, write_description
from eval_tasks.workers import for_each_clip
from hear_msss.audio import SoundError, open_sound


def is_done(target: Path, sample_rate: int) -> bool:
    """True for a clip that an earlier run finished."""
    try:
        return bool(soundfile.info(os.fsencode(target)).samplerate == sample_rate)
    except soundfile.LibsndfileError:
        return False


def make_clip(clip: Clip, targets: dict[int, Path], clip_s: float | None) -> tuple[str | None, list[str]]:
    """Write one clip at all rates (sample rate in Hz -> file).

    Returns:
        What is wrong with its source, if anything; and warnings about what it lacks.
    """
    if all(is_done(target, rate) for rate, target in targets.items()):
        return None, []
    try:
        with open_sound(clip.source) as sound:
            audio = sound.read(start=clip.start, samples=None if clip.frames < 0 else clip.frames)
            rate = sound.sample_rate
    except SoundError as error:
        return str(error), []
    if not len(audio):
        return f"{clip.source}: ends before sample {clip.start}, where clip {clip.name} begins", []
    audio = to_pcm16(audio, sound.subtype, sound.channels)
    if clip_s is not None:
        audio = fix_length(audio, int(clip_s * rate + 0.5))
    for wanted, target in targets.items():
        converted = audio if wanted == rate else soxr.resample(audio, rate, wanted, quality="HQ")
        with replacing(target) as temporary:
            write_audio(temporary, converted, wanted, "WAV", "PCM_16")
    return None, [f"{clip.source}: {warning}" for warning in sound.warnings]


def own_rates(clips: Sequence[Clip]) -> set[int]:
    """Sample rates in Hz of the raw files.

    Raises:
        UserError: files that cannot be read, each of them named.
    """
    rates, problems = set(), []
    for source in sorted({clip.source for clip in clips}):
        try:
            with open_sound(source) as sound:
                rates.add(sound.sample_rate)
        except SoundError as error:
            problems.append(str(error))
    if problems:
        listed = "\n  ".join(problems)
        raise UserError(f"{len(problems)} files cannot be read:\n  {listed}")
    return rates


def fingerprint(plan: Plan, rates: Sequence[int]) -> str:
    """Changes with the plan, the sample rates, and the raw files' sizes and times."""
    lines = [repr(sorted(plan.metadata.items(), key=str)), repr(sorted(rates))]
    for split, clips in plan.splits.items():
        for clip in clips:
            stat = clip.source.stat()
            # Not the path: an archive may be unpacked to another place.
            lines.append(f"{split} {clip.name} {clip.start} {clip.frames} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def build(plan: Plan, out: Path, rates: Sequence[int], jobs: int, progress: bool) -> TaskFolder:
    """Make the task folder ``out / plan.folder_name``.

    Args:
        plan: what to make.
        out: folder of task folders.
        rates: sample rates in Hz; none stands for the raw data's own.
        jobs: processes.
        progress: show a bar.

    Raises:
        UserError: raw files that cannot be read, of several rates where none is asked for, or too little
            disk space.
    """
    clips = [clip for split in plan.splits.values() for clip in split]
    own = own_rates(clips)
    if not rates and len(own) > 1:
        raise UserError(f"the raw files have sample rates of {sorted(own)} Hz: give --sample-rate")
    rates = rates or sorted(own)
    partial = out / f"{plan.folder_name}{UNFINISHED}"
    mark = partial / "fingerprint"
    wanted = fingerprint(plan, rates)
    if partial.exists() and (not mark.exists() or mark.read_text() != wanted):
        # Other raw data or other rates: what is there may not be what is wanted.
        for folder in partial.iterdir():
            if folder.name.isdecimal():
                shutil.rmtree(folder)
    write_text(mark, wanted)
    clip_s = plan.metadata["sample_duration"]
    raw_bytes = sum(clip.source.stat().st_size for clip in clips) if clip_s is None else 0
    needed = sum(2 * rate * (clip_s or 0) * len(clips) for rate in rates) + raw_bytes * len(rates)
    require_space(out, needed, f"making {plan.folder_name}")

    calls = []
    for split, split_clips in plan.splits.items():
        for rate in rates:
            (partial / str(rate) / split).mkdir(parents=True, exist_ok=True)
        for clip in split_clips:
            targets = {rate: partial / str(rate) / split / clip.name for rate in rates}
            calls.append((clip, targets, clip_s))
    for_each_clip(make_clip, calls, jobs, plan.folder_name, progress, lambda clip, *rest: str(clip.source))
    remove_leftovers(partial)
    descriptions = {split: {clip.name: clip.labels for clip in c} for split, c in plan.splits.items()}
    write_description(partial, plan.metadata, descriptions, plan.vocabulary)
    mark.unlink()
    partial.replace(out / plan.folder_name)
    return TaskFolder.open(out / plan.folder_name)


def is_made_from(task: TaskFolder, plan: Plan) -> bool:
    """True for a folder that holds the plan's clips and labels."""
    return task.vocabulary == plan.vocabulary and all(
        {name: list(map(str, entries)) for name, entries in task.split(split).items()}
        == {clip.name: list(map(str, clip.labels)) for clip in clips}
        for split, clips in plan.splits.items()
    )
