"""Train: ``python -m pretrain train --config cpu --corpus CORPUS --out RUN``.

One process, on the GPU if there is one:

    python -m pretrain train --config paper --corpus CORPUS --out RUN

All GPUs of a machine, or as many processes of one thread as it has cores:

    torchrun --nproc-per-node 8 -m pretrain train --config paper --corpus CORPUS --out RUN

Several machines, on each of them, with RUN and CORPUS on a disk that all of them see:

    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        -m pretrain train --config paper --corpus CORPUS --out RUN

batch_size counts the clips of all processes together. After a kill or a signal, the same command
with --resume goes on from the last checkpoint; SIGTERM and SIGINT write one first. RUN holds
config.yaml, corpus.json, checkpoint.pt, log.jsonl and tensorboard/, and of a run with init_from init.json.
"""

from __future__ import annotations

import argparse
import json
import math
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from torch import nn

from pretrain.budget import Budget, StopSignals
from pretrain.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint, write_atomically
from pretrain.chunked import backward_in_chunks
from pretrain.corpus.source import SegmentSource, open_source
from pretrain.distributed import (
    agree_on_largest,
    average_gradients,
    copy_from_first,
    join_processes,
    leave_processes,
    process_count,
    process_rank,
)
from pretrain.learner import Learner
from pretrain.optimization import learning_rate, make_average, make_optimizer
from pretrain.origin import note_origin
from pretrain.prefetch import prefetched
from pretrain.randomness import step_seed
from pretrain.runlog import Meter, RunLog
from pretrain.settings import Settings, layered, parse_assignment, read_config, shipped_configs
from pretrain.validation import validate
from pretrain.views import Views, draw_x_hat

CONFIG = "config.yaml"
CORPUS = "corpus.json"


class NotFiniteError(FloatingPointError):
    """The gradient is no number any more."""


def train(settings: Settings, source: SegmentSource, folder: Path, resume: bool = False) -> int:
    """Train to the end of the budget, or to a signal, and leave a checkpoint.

    Args:
        settings: of the run.
        source: the segments, as ``pretrain.corpus.source.open_source`` gives them.
        folder: of the run; made if need be.
        resume: go on from the folder's checkpoint.

    Returns:
        0 when the budget is spent, 128 plus the signal's number when stopped by one.

    Raises:
        NotFiniteError: the loss diverged; the last checkpoint stays as it is.
        ValueError: settings that do not fit together, or a checkpoint of another model.
    """
    device = join_processes(settings.device)
    rank, processes = process_rank(), process_count()
    clips, left_over = divmod(settings.batch_size, processes)
    if left_over or clips < 2:
        raise ValueError(
            f"batch_size={settings.batch_size} over {processes} processes: expected at least 2 clips each, "
            "and the same number"
        )

    torch.manual_seed(settings.seed)
    learner = Learner(settings)
    if device.type == "cuda" and processes > 1:
        learner.encoder = nn.SyncBatchNorm.convert_sync_batchnorm(learner.encoder)
    learner.to(device).train()
    copy_from_first(learner)
    views = Views(settings.model, settings.pitch_shift).to(device)
    optimizer = make_optimizer(learner, settings)
    average = make_average(learner, settings.ema_decay)
    judged = learner if average is None else cast(Learner, average.module)
    budget = Budget(settings, source.steps_per_epoch(settings.batch_size))
    step, spent_s = restore(folder, learner, optimizer, average) if resume else (0, 0.0)
    saved_s = spent_s
    meter = Meter(RunLog(folder, step) if rank == 0 else None, budget, spent_s)
    segments = source.batches(
        batch_size=clips,
        segment_samples=settings.model.segment_samples,
        seed=settings.seed,
        first_step=step,
        rank=rank,
        world_size=processes,
    )

    with StopSignals() as stop, closing(prefetched(segments, settings.prefetch_batches)) as batches, meter:
        while True:
            elapsed_s, stopped_by = agree_on_largest(meter.elapsed_s, stop.received)
            progress = budget.progress(step, elapsed_s)
            if progress >= 1 or stopped_by:
                break
            seed = step_seed(settings.seed, step, rank)
            torch.manual_seed(seed)  # of stochastic depth and of the order of chunks
            anchor, positive = (x.to(device, non_blocking=True) for x in next(batches))
            x_hat = draw_x_hat(clips, settings, seed, device)
            log_mel = views(anchor, positive, *x_hat)

            optimizer.zero_grad(set_to_none=True)
            loss_of = partial(learner.losses, ratio=x_hat.ratio)
            metrics = backward_in_chunks(
                learner, log_mel, loss_of, settings.chunk_segments, settings.recompute_chunks
            )
            average_gradients(learner)
            norm = nn.utils.clip_grad_norm_(learner.parameters(), settings.clip_gradient_norm or math.inf)
            if not math.isfinite(norm):
                raise NotFiniteError(
                    f"gradient norm {float(norm)}, loss {float(metrics['loss'])} at step {step} (seed "
                    f"{settings.seed}, rank {rank}, batch seed {seed}): try a lower learning_rate, more "
                    "warmup_steps, a clip_gradient_norm of about 5, or precision=float32, and --resume "
                    "from the last checkpoint"
                )
            rate = learning_rate(settings, step, progress)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            if average is not None:
                average.update_parameters(learner)
            step += 1

            meter.add(metrics, len(log_mel))
            due = (
                step % settings.checkpoint_every == 0
                or elapsed_s > saved_s + 60 * settings.checkpoint_minutes
            )
            # With every checkpoint, too, so that a resumed run logs means over the same steps.
            if step % settings.log_every == 0 or due:
                meter.tell(step, {"learning_rate": rate, "gradient_norm": float(norm)})
            if settings.validate_every and step % settings.validate_every == 0:
                with meter.paused():
                    meter.tell_validation(step, validate(judged, views, source, settings, device))
            if due:
                saved_s = elapsed_s  # agreed, so that all processes find the same step due
                if rank == 0:
                    with meter.paused():
                        save_checkpoint(folder, run_state(step, meter.elapsed_s, learner, optimizer, average))
        if rank == 0:
            save_checkpoint(folder, run_state(step, elapsed_s, learner, optimizer, average))
        ended = f"stopped by signal {int(stopped_by)}, --resume goes on" if stopped_by else "done"
        meter.say(f"step {step}: {ended}; checkpoint in {folder}")
    return 128 + int(stopped_by) if stopped_by else 0


def run_state(step: int, elapsed_s: float, learner: Learner, optimizer: Any, average: Any) -> dict[str, Any]:
    """All that a resumed run needs; randomness is a function of seed, step and rank."""
    return {
        "step": step,
        "elapsed_s": elapsed_s,
        "learner": learner.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": None if average is None else average.state_dict(),
    }


def restore(folder: Path, learner: Learner, optimizer: Any, average: Any) -> tuple[int, float]:
    """Load a checkpoint into what is trained; returns its step and the seconds spent until then.

    Raises:
        ValueError: it is of other settings.
    """
    state = load_checkpoint(folder)
    try:
        learner.load_state_dict(state["learner"])
        optimizer.load_state_dict(state["optimizer"])
        if average is not None:
            average.load_state_dict(state["average"])
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"{folder / CHECKPOINT} does not fit the settings ({error}): resume with the settings of "
            f"{folder / CONFIG}, or start a new run"
        ) from error
    return state["step"], state["elapsed_s"]


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
        help="go on from RUN's checkpoint with RUN's settings and corpus (--config, --set and --corpus "
        "override them); where there is none yet, start",
    )


def run(args: argparse.Namespace) -> int:
    folder: Path = args.out
    resume = args.resume and (folder / CHECKPOINT).is_file()
    if (folder / CHECKPOINT).is_file() and not args.resume:
        raise ValueError(f"{folder} holds a run already: add --resume to go on, or give another --out")
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
    source = open_source(location, settings.corpus_weights or None, settings.validation_fraction)
    try:
        join_processes(settings.device)
        if process_rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            config = yaml.safe_dump(settings.to_dict(), sort_keys=False)
            write_atomically(folder / CONFIG, config.encode())
            corpus = {"location": location, "summary": source.summary()}
            write_atomically(folder / CORPUS, json.dumps(corpus, indent=1).encode())
            note_origin(folder, settings, resume)
        return train(settings, source, folder, resume)
    finally:
        leave_processes()
