"""Train: ``python -m pretrain train --config cpu --corpus CORPUS --out RUN``.

One process, on the GPU if there is one:

    python -m pretrain train --config paper --corpus CORPUS --out RUN

All GPUs of a machine; on a CPU, one process for each core:

    torchrun --nproc-per-node 8 -m pretrain train --config paper --corpus CORPUS --out RUN

Several machines, with RUN and CORPUS on a disk that all of them see; on each machine:

    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        -m pretrain train --config paper --corpus CORPUS --out RUN

batch_size counts the clips of all processes together. After a kill or a signal, the same command
with --resume continues from the last checkpoint; SIGTERM and SIGINT write one first. RUN holds config.yaml,
corpus.json, checkpoint.pt, log.jsonl and tensorboard/; with init_from, init.json as well.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import yaml
from torch import Tensor

from pretrain.budget import Budget, StopSignals
from pretrain.checkpoint import CHECKPOINT, save_checkpoint
from pretrain.config_layers import layered, parse_assignment, read_config, shipped_configs
from pretrain.corpus.open import open_source
from pretrain.corpus.source import SegmentSource
from pretrain.distributed import (
    agree_on_largest,
    join_processes,
    leave_processes,
    process_count,
    process_rank,
)
from pretrain.optimization import learning_rate
from pretrain.origin import note_origin
from pretrain.parent import end_with_parent
from pretrain.prefetch import page_locked, prefetched
from pretrain.run_folder import (
    CORPUS,
    check_same_corpus,
    noted_location,
    read_settings,
    sole_run,
    write_settings,
)
from pretrain.run_state import RunState
from pretrain.runlog import Meter, RunLog
from pretrain.settings import Settings
from pretrain.step import NotFiniteError, take_step
from pretrain.validation import validate


def train(settings: Settings, source: SegmentSource, folder: Path, resume: bool = False) -> int:
    """Train to the end of the budget, or to a signal, and leave a checkpoint.

    Nothing of a run on disk changes before the settings, the corpus and the checkpoint are known to fit.

    Args:
        settings: of the run.
        source: the segments, as ``pretrain.corpus.open.open_source`` gives them.
        folder: of the run; made if need be.
        resume: continue from the folder's checkpoint.

    Returns:
        0 when the budget is spent, 128 plus the signal's number when stopped by one.

    Raises:
        NotFiniteError: the loss diverged; the last checkpoint stays as it is.
        ValueError: settings that do not fit together, or a checkpoint of another model.
    """
    device = join_processes(settings.device)
    clips = clips_of_process(settings)
    budget = Budget(settings, source.steps_per_epoch(settings.batch_size))
    state = RunState.fresh(settings, device)
    spent_s = state.restore(folder) if resume else 0.0
    if not resume:
        state.measure_spectrum(source)
    log = None
    if process_rank() == 0:
        write_settings(folder, settings, source)
        note_origin(folder, settings, resume)
        log = RunLog(folder, state.step)
    meter = Meter(log, budget, settings.batch_size * settings.view_count, spent_s)
    meter.say(f"{source.location}: {budget}, {settings.batch_size} clips a step, {process_count()} processes")
    segments = source.batches(
        batch_size=clips,
        segment_samples=settings.model.segment_samples,
        seed=settings.seed,
        first_step=state.step,
        rank=process_rank(),
        world_size=process_count(),
    )
    with StopSignals() as stop, meter:
        segments = page_locked(segments, device)
        ahead = prefetched(segments, settings.prefetch_batches, lambda: bool(stop.received))
        with closing(ahead) as batches, saved_on_error(state, folder, meter):
            stopped_by = take_steps(state, source, batches, budget, meter, stop, folder)
        save(state, folder, meter.elapsed_s)
        ended = f"stopped by signal {stopped_by}, continue with --resume" if stopped_by else "done"
        meter.say(f"step {state.step}: {ended}; checkpoint in {folder}")
    return 128 + stopped_by if stopped_by else 0


def take_steps(
    state: RunState,
    source: SegmentSource,
    batches: Iterator[tuple[Tensor, Tensor]],
    budget: Budget,
    meter: Meter,
    stop: StopSignals,
    folder: Path,
) -> int:
    """The loop: steps, log, validation and checkpoints until the budget is spent.

    Returns:
        The number of the signal that stopped it, or 0.
    """
    settings = state.settings
    (begun_s,) = agree_on_largest(meter.elapsed_s)
    saved_s, first_step = begun_s, state.step
    while True:
        elapsed_s, stopped_by = agree_on_largest(meter.elapsed_s, stop.received)
        if state.step == first_step + 1:
            state.first_steps_s += elapsed_s - begun_s
        progress = budget.progress(state.step, elapsed_s)
        if progress >= 1 or stopped_by:
            return int(stopped_by)
        segments = next(batches, None)
        if segments is None:
            return stop.received
        warming = budget.progress(state.step, elapsed_s - state.first_steps_s)
        rate = learning_rate(settings, state.step, progress, warming)
        metrics, norm = take_step(state, segments, rate)
        meter.add(state.step, metrics)

        checkpoint_due = (
            state.step % settings.checkpoint_every == 0
            or elapsed_s > saved_s + 60 * settings.checkpoint_minutes
        )
        # With every checkpoint, too, so that a resumed run logs means over the same steps.
        if state.step % settings.log_every == 0 or checkpoint_due:
            meter.tell(state.step, {"learning_rate": rate, "gradient_norm": norm})
        if settings.validate_every and state.step % settings.validate_every == 0:
            with meter.paused():
                meter.tell_validation(state.step, validate(state, source))
        if checkpoint_due:
            saved_s = elapsed_s  # agreed on, so that all processes find the same step due
            with meter.paused():
                save(state, folder, meter.elapsed_s)


@contextmanager
def saved_on_error(state: RunState, folder: Path, meter: Meter) -> Iterator[None]:
    """Write a checkpoint where anything but a diverged loss ends the run.

    An error comes before the optimizer has changed anything, so parameters, optimizer and step are those
    of the last whole step; the running statistics of batch norm may have seen one batch more.
    """
    try:
        yield
    except NotFiniteError:
        raise
    except Exception as error:
        try:
            save(state, folder, meter.elapsed_s)
        except OSError as failed:
            error.add_note(f"the checkpoint could not be written either: {failed}")
        else:
            meter.say(f"step {state.step}: stopped by an error, continue with --resume")
        raise


def clips_of_process(settings: Settings) -> int:
    """Clips of each process in a batch of all processes.

    Raises:
        ValueError: the processes, or the parts of a batch that have a loss each, would have fewer than 2
            clips, or not the same number.
    """
    processes, parts = process_count(), settings.accumulate
    clips_of_part, left_over = divmod(settings.batch_size, processes * parts)
    if left_over or clips_of_part < 2:
        raise ValueError(
            f"batch_size={settings.batch_size} over {processes} processes with accumulate={parts}: expected "
            "at least 2 clips for each process and part, and the same number"
        )
    return clips_of_part * parts


def save(state: RunState, folder: Path, elapsed_s: float) -> None:
    """Write the run's checkpoint; rank 0 writes, the others have the same state."""
    if process_rank() == 0:
        save_checkpoint(folder, state.checkpoint(elapsed_s))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    defaults = yaml.safe_dump(layered([read_config("paper")]).to_dict(), sort_keys=False)
    parser.epilog = (
        f"Settings that --set and YAML files take:\n{Settings.__doc__}\nAs in paper:\n\n{defaults}"
    )
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help=f"layer of settings: {', '.join(shipped_configs())}, or a YAML file; may be repeated, later "
        "ones override (default: paper)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="assignments",
        help="override one setting; may be repeated",
    )
    parser.add_argument("--corpus", help="folder that `pretrain pack` made, or WebDataset shards")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue from RUN's checkpoint with RUN's settings and corpus (--config, --set and --corpus "
        "override them); where there is none yet, start",
    )
    parser.add_argument(
        "--changed-corpus",
        action="store_true",
        help="resume although the corpus is not what it was when RUN was begun",
    )


def run(args: argparse.Namespace) -> int:
    folder: Path = args.out
    holds_run = (folder / CHECKPOINT).is_file()
    if holds_run and not args.resume:
        raise ValueError(f"{folder} holds a run already: add --resume to continue it, or give another --out")
    layers = [read_config(name) for name in args.config]
    layers += [parse_assignment(text) for text in args.assignments]
    location = args.corpus
    if args.resume and (folder / CORPUS).is_file():
        layers.insert(0, read_settings(folder).to_dict())
        location = location or noted_location(folder)
    elif not args.config:
        layers.insert(0, read_config("paper"))
    if not location:
        raise ValueError("no corpus: give --corpus")
    settings = layered(layers)
    source = open_source(
        location,
        settings.corpus_weights or None,
        settings.validation_fraction,
        settings.one_source_share,
    )
    if holds_run and not args.changed_corpus:
        check_same_corpus(folder, source)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_parent()
    try:
        join_processes(settings.device)
        with sole_run(folder):
            if (folder / CHECKPOINT).is_file() != holds_run:
                raise ValueError(f"{folder}: another run has written there meanwhile; repeat with --resume")
            return train(settings, source, folder, holds_run)
    finally:
        leave_processes()
