"""Train: ``python -m pretrain train --config cpu --corpus CORPUS --out RUN``.

One process, on the GPU if there is one:

    python -m pretrain train --config paper --corpus CORPUS --out RUN

All GPUs of a machine, or as many processes of one thread as it has cores:

    torchrun --nproc-per-node 8 -m pretrain train --config paper --corpus CORPUS --out RUN

Several machines, on each of them, with RUN and CORPUS on a disk that all of them see:

    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        -m pretrain train --config paper --corpus CORPUS --out RUN

batch_size counts the clips of all processes together. After a kill or a signal, the same command
with --resume continues from the last checkpoint; SIGTERM and SIGINT write one first. RUN holds
config.yaml, corpus.json, checkpoint.pt, log.jsonl and tensorboard/, and of a run with init_from init.json.
"""

from __future__ import annotations

import argparse
import json
import math
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from pretrain.atomic import replacing
from pretrain.augmentation import draw_augmentations
from pretrain.budget import Budget, StopSignals
from pretrain.checkpoint import CHECKPOINT, save_checkpoint
from pretrain.chunked import backward_in_chunks
from pretrain.corpus.open import open_source
from pretrain.corpus.source import SegmentSource
from pretrain.distributed import (
    agree_on_largest,
    average_gradients,
    join_processes,
    leave_processes,
    process_count,
    process_rank,
)
from pretrain.layers import layered, parse_assignment, read_config, shipped_configs
from pretrain.optimization import learning_rate
from pretrain.origin import note_origin
from pretrain.prefetch import prefetched
from pretrain.randomness import step_seed
from pretrain.run_state import RunState
from pretrain.runlog import Meter, RunLog
from pretrain.settings import Settings
from pretrain.validation import validate

CONFIG = "config.yaml"
CORPUS = "corpus.json"


class NotFiniteError(FloatingPointError):
    """The gradient is no number any more."""


def train(settings: Settings, source: SegmentSource, folder: Path, resume: bool = False) -> int:
    """Train to the end of the budget, or to a signal, and leave a checkpoint.

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
    spent_s = saved_s = state.restore(folder) if resume else 0.0
    if not resume:
        state.measure_spectrum(source)
    log = RunLog(folder, state.step) if process_rank() == 0 else None
    meter = Meter(log, budget, settings.batch_size * settings.view_count, spent_s)
    segments = source.batches(
        batch_size=clips,
        segment_samples=settings.model.segment_samples,
        seed=settings.seed,
        first_step=state.step,
        rank=process_rank(),
        world_size=process_count(),
    )
    with StopSignals() as stop, closing(prefetched(segments, settings.prefetch_batches)) as batches, meter:
        while True:
            elapsed_s, stopped_by = agree_on_largest(meter.elapsed_s, stop.received)
            progress = budget.progress(state.step, elapsed_s)
            if progress >= 1 or stopped_by:
                break
            rate = learning_rate(settings, state.step, progress)
            metrics, norm = take_step(state, next(batches), rate)
            meter.add(metrics)

            overdue = elapsed_s > saved_s + 60 * settings.checkpoint_minutes
            checkpoint_due = overdue or state.step % settings.checkpoint_every == 0
            # With every checkpoint, too, so that a resumed run logs means over the same steps.
            if state.step % settings.log_every == 0 or checkpoint_due:
                meter.tell(state.step, {"learning_rate": rate, "gradient_norm": norm})
            if settings.validate_every and state.step % settings.validate_every == 0:
                with meter.paused():
                    meter.tell_validation(state.step, validate(state, source))
            if checkpoint_due:
                saved_s = elapsed_s  # agreed, so that all processes find the same step due
                with meter.paused():
                    save(state, folder, meter.elapsed_s)
        save(state, folder, elapsed_s)
        ended = f"stopped by signal {int(stopped_by)}, continue with --resume" if stopped_by else "done"
        meter.say(f"step {state.step}: {ended}; checkpoint in {folder}")
    return 128 + int(stopped_by) if stopped_by else 0


def take_step(
    state: RunState, segments: tuple[Tensor, Tensor], rate: float
) -> tuple[dict[str, Tensor], float]:
    """One step of the optimizer.

    Args:
        state: of the run; changed in place.
        segments: x and x' of this process, int16 ``(clips, samples)`` each.
        rate: learning rate.

    Returns:
        The losses and metrics of the batch, and the norm of its gradient before clipping.

    Raises:
        NotFiniteError: the gradient is infinite or not a number; no parameter has changed.
    """
    settings, learner, device = state.settings, state.learner, state.device
    seed = step_seed(settings.seed, state.step, process_rank())
    torch.manual_seed(seed)  # of stochastic depth and of the order of chunks
    anchor, positive = (x.to(device, non_blocking=True) for x in segments)
    drawn = draw_augmentations(len(anchor), settings, seed, device)
    log_mel = state.views(anchor, positive, drawn)

    state.optimizer.zero_grad(set_to_none=True)
    spectrum = learner.spectrum_target(anchor, positive, log_mel)
    loss_of = partial(learner.losses, x_hat=drawn.x_hat, spectrum=spectrum, parts=settings.accumulate)
    metrics = backward_in_chunks(learner, log_mel, loss_of, settings.chunks)
    average_gradients(learner)
    norm = float(nn.utils.clip_grad_norm_(learner.parameters(), settings.clip_gradient_norm or math.inf))
    if not math.isfinite(norm):
        raise NotFiniteError(
            f"gradient norm {norm}, loss {float(metrics['loss'])} at step {state.step} (seed "
            f"{settings.seed}, rank {process_rank()}, batch seed {seed}): try a lower learning_rate, more "
            "warmup_steps, a clip_gradient_norm of about 5, or precision=float32, and --resume "
            "from the last checkpoint"
        )
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.step()
    if state.average is not None:
        state.average.update_parameters(learner)
    state.step += 1
    return metrics, norm


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


def write_settings(folder: Path, settings: Settings, location: str, summary: dict[str, Any]) -> None:
    """Write config.yaml and corpus.json of a run.

    Args:
        folder: of the run.
        settings: as resolved.
        location: of the corpus.
        summary: of the corpus, as ``SegmentSource.summary`` gives it.
    """
    with replacing(folder / CONFIG) as file:
        yaml.safe_dump(settings.to_dict(), file, sort_keys=False)
    with replacing(folder / CORPUS) as file:
        json.dump({"location": location, "summary": summary}, file, indent=1)


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


def run(args: argparse.Namespace) -> int:
    folder: Path = args.out
    resume = args.resume and (folder / CHECKPOINT).is_file()
    if (folder / CHECKPOINT).is_file() and not args.resume:
        raise ValueError(f"{folder} holds a run already: add --resume to continue it, or give another --out")
    layers = [read_config(name) for name in args.config]
    layers += [parse_assignment(text) for text in args.assignments]
    location = args.corpus
    if args.resume and (folder / CORPUS).is_file():
        layers.insert(0, read_config(folder / CONFIG))
        location = location or json.loads((folder / CORPUS).read_text(encoding="utf-8"))["location"]
    elif not args.config:
        layers.insert(0, read_config("paper"))
    if not location:
        raise ValueError("no corpus: give --corpus")
    if Path(location).exists():
        location = str(Path(location).resolve())
    settings = layered(layers)
    source = open_source(
        location,
        settings.corpus_weights or None,
        settings.validation_fraction,
        settings.one_source_share,
    )
    try:
        join_processes(settings.device)
        if process_rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            write_settings(folder, settings, location, source.summary())
            note_origin(folder, settings, resume)
        return train(settings, source, folder, resume)
    finally:
        leave_processes()
