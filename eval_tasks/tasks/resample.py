"""Add a sample rate to task folders.

Every clip that the task's split files name is converted by soxr (high quality) from a rate that is
there, and keeps its name, container and sample format. The new rate's folder appears once the last clip
is in it: a run that was stopped or killed leaves a folder <rate>-from-<rate>.partial, and the same
command continues from there. Clips are converted in parallel processes.

  python -m eval_tasks resample tasks/ --sample-rate 16000
  python -m eval_tasks resample tasks/esc50-v2.0.0-full --sample-rate 32000 --from-rate 48000 --jobs 8
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import soundfile
import soxr

from eval_tasks.errors import UserError
from eval_tasks.files import refuse_links_outside, remove_leftovers, replacing, require_space
from eval_tasks.locks import lock_of, locked
from eval_tasks.tasks.audio import write_audio
from eval_tasks.tasks.task_folder import UNFINISHED, TaskFolder, find_tasks
from eval_tasks.workers import for_each_clip
from hear_msss.audio import HIGHEST_HZ, LOWEST_HZ, SoundError, read_mono


def expected_frames(frames: int, from_rate: int, to_rate: int) -> int:
    """Frames after resampling, to within one."""
    return round(frames * to_rate / from_rate)


def resample_clip(source: Path, target: Path, sample_rate: int) -> tuple[str | None, list[str]]:
    """Convert one file, unless ``target`` is there already in the right rate and length.

    Returns:
        None, or what is wrong with ``source``; and warnings about what it lacks.
    """
    try:
        audio, rate, warnings = read_mono(source)
    except SoundError as error:
        return str(error), []
    named = [f"{source}: {warning}" for warning in warnings]
    frames = expected_frames(len(audio), rate, sample_rate)
    try:
        if target.exists():
            done = soundfile.info(os.fsencode(target))
            if done.samplerate == sample_rate and abs(done.frames - frames) <= 1:
                return None, named
        info = soundfile.info(os.fsencode(source))  # as the runner reads it
        converted = soxr.resample(audio, rate, sample_rate, quality="HQ")
        with replacing(target) as temporary:
            write_audio(temporary, converted, sample_rate, info.format, info.subtype)
            written = soundfile.info(os.fsencode(temporary)).frames
            if abs(written - frames) > 1:
                return f"{source}: {written} frames at {sample_rate} Hz, expected {frames} within 1", named
    except soundfile.LibsndfileError as error:
        why = error.error_string.rstrip(".")
        return f"{source}: the runner cannot read it ({why}): convert it to wav", named
    return None, named


def clip_pairs(task: TaskFolder, from_rate: int, partial: Path) -> list[tuple[Path, Path]]:
    """Source and target of each clip; makes the folders of the targets.

    Raises:
        UserError: one of these folders is a link that leads out of the task folder.
    """
    refuse_links_outside(task.path, [partial, *(partial / split for split in task.splits)])
    pairs = []
    for split in task.splits:
        (partial / split).mkdir(parents=True, exist_ok=True)
        for name in task.split(split):
            pairs.append((task.audio_path(from_rate, split, name), partial / split / name))
    return pairs


def is_complete(task: TaskFolder, sample_rate: int) -> bool:
    """Whether every clip is there at this rate, in Hz.

    Raises:
        UserError: the folder of that rate is there, but lacks clips.
    """
    if sample_rate not in task.sample_rates:
        return False
    missing = task.missing_audio(sample_rate)
    if missing:
        raise UserError(
            f"{task.path / str(sample_rate)} lacks {len(missing)} clips, the first {missing[0].name}, and "
            "was not made by this tool: delete that folder and start again"
        )
    return True


def rate_to_start_from(task: TaskFolder, from_rate: int | None) -> int:
    """``from_rate``, or the highest rate that is there if it is None, in Hz.

    Raises:
        UserError: no audio at that rate, or clips of it are missing.
    """
    start = from_rate or max(task.sample_rates, default=None)
    if start is None or start not in task.sample_rates:
        raise UserError(
            f"{task.path}: no audio at {f'{start} Hz' if start else 'any rate'} to start from, there is "
            f"{task.sample_rates}"
        )
    missing = task.missing_audio(start)
    if missing:
        listed = "\n  ".join(map(str, missing[:20]))
        raise UserError(f"{len(missing)} clips are missing, download or prepare the task again:\n  {listed}")
    return start


def resample_task(
    task: TaskFolder, sample_rate: int, from_rate: int | None = None, jobs: int = 1, progress: bool = True
) -> bool:
    """Make ``<task>/<sample_rate>`` from another rate.

    Args:
        task: the task folder.
        sample_rate: wanted, in Hz.
        from_rate: the rate to start from, in Hz; the highest that is there if None.
        jobs: processes.
        progress: show a bar.

    Returns:
        False if it was there already and complete.

    Raises:
        UserError: no other rate to start from, clips that are missing or cannot be read, too little
            disk space, or an existing folder of that rate that lacks clips.
    """
    if is_complete(task, sample_rate):
        return False
    from_rate = rate_to_start_from(task, from_rate)
    partial = task.path / f"{sample_rate}-from-{from_rate}{UNFINISHED}"
    pairs = clip_pairs(task, from_rate, partial)
    size_bytes = sum(source.stat().st_size for source, target in pairs if not target.exists())
    require_space(task.path, size_bytes * sample_rate / from_rate, f"resampling {task.name}")

    calls = [(source, target, sample_rate) for source, target in pairs]
    for_each_clip(resample_clip, calls, jobs, f"{task.name} {from_rate} -> {sample_rate} Hz", progress)
    remove_leftovers(partial)
    partial.replace(task.path / str(sample_rate))
    return True


def refuse_rates(sample_rates: Sequence[int]) -> None:
    """
    Raises:
        UserError: sample rates that no sound has.
    """
    if any(not LOWEST_HZ <= rate <= HIGHEST_HZ for rate in sample_rates):
        given = ", ".join(map(str, sample_rates))
        raise UserError(f"sample rate {given}: expected {LOWEST_HZ} to {HIGHEST_HZ} Hz")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tasks", nargs="+", metavar="TASK", help="task folder, or a folder of them")
    parser.add_argument("--sample-rate", type=int, required=True, metavar="HZ", help="the rate to add")
    parser.add_argument(
        "--from-rate", type=int, metavar="HZ", help="the rate to start from (default: the highest there)"
    )
    parser.add_argument(
        "--jobs", type=int, default=-1, metavar="N", help="processes (default: one for each core)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    refuse_rates([args.sample_rate])
    failed = []
    for task in find_tasks(args.tasks):
        try:
            with locked(lock_of(task.path)):
                made = resample_task(task, args.sample_rate, args.from_rate, args.jobs, not args.quiet)
        except UserError as error:
            failed.append(str(error))
            continue
        print(f"{task.path / str(args.sample_rate)}: {'made' if made else 'already there'}")
    if failed:
        raise UserError("\n".join(failed))
    return 0
