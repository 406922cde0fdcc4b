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
config.yaml, checkpoint.pt, log.jsonl and tensorboard/.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from torch import nn

from pretrain.budget import Budget, StopSignals
from pretrain.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint, write_atomically
from pretrain.chunked import backward_in_chunks
from pretrain.corpus.source import open_source
from pretrain.distributed import (
    agree_on_largest,
    average_gradients,
    average_over_processes,
    copy_from_first,
    join_processes,
    leave_processes,
    process_count,
    process_rank,
)
from pretrain.learner import Learner
from pretrain.optimization import learning_rate, make_average, make_optimizer
from pretrain.prefetch import prefetched
from pretrain.randomness import step_seed
from pretrain.runlog import RunLog
from pretrain.settings import Settings, layered, parse_assignment, read_config, shipped_configs
from pretrain.validation import validate
from pretrain.views import Views, draw_ratio

CONFIG = "config.yaml"
CORPUS = "corpus.json"


class NotFiniteError(FloatingPointError):
    """The gradient is no number any more."""


def train(settings: Settings, source: Any, folder: Path, resume: bool = False) -> int:
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
        raise ValueError(f"batch_size={settings.batch_size} does not split evenly over {processes} processes")

    torch.manual_seed(settings.seed)
    learner = Learner(settings)
    if device.type == "cuda" and processes > 1:
        learner.encoder = nn.SyncBatchNorm.convert_sync_batchnorm(learner.encoder)
    learner.to(device).train()
    copy_from_first(learner)
    views = Views(settings.model, settings.pitch_shift).to(device)
    optimizer = make_optimizer(learner, settings)
    average = make_average(learner, settings.ema_decay)
    budget = Budget(settings, source.steps_per_epoch(settings.batch_size))
    step, spent_s = 0, 0.0
    if resume:
        state = load_checkpoint(folder)
        step, spent_s = state["step"], state["elapsed_s"]
        try:
            learner.load_state_dict(state["learner"])
            optimizer.load_state_dict(state["optimizer"])
            if average is not None:
                average.load_state_dict(state["average"])
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            raise ValueError(
                f"{folder / CHECKPOINT} does not fit the settings ({error}): resume with the settings "
                f"of {folder / CONFIG}, or start a new run"
            ) from error

    log = None
    if rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        log = RunLog(folder, step)
    recent: dict[str, float] = {}
    batches = prefetched(
        source.batches(
            batch_size=clips,
            segment_samples=settings.model.segment_samples,
            seed=settings.seed,
            first_step=step,
            rank=rank,
            world_size=processes,
        ),
        settings.prefetch_batches,
    )
    begun = logged = time.monotonic()
    window: list[dict[str, torch.Tensor]] = []
    with StopSignals() as stop:
        while True:
            elapsed_s, stopped_by = agree_on_largest(spent_s + time.monotonic() - begun, stop.received)
            progress = budget.progress(step, elapsed_s)
            if progress >= 1 or stopped_by:
                break
            seed = step_seed(settings.seed, step, rank)
            torch.manual_seed(seed)
            anchor, positive = (segments.to(device, non_blocking=True) for segments in next(batches))
            ratio = None
            if settings.shifts_pitch:
                ratio = draw_ratio(clips, settings.ratio_min, settings.ratio_max, seed).to(device)
            log_mel = views(anchor, positive, ratio)

            optimizer.zero_grad(set_to_none=True)
            metrics = backward_in_chunks(
                learner,
                log_mel,
                partial(learner.losses, ratio=ratio),
                settings.chunk_segments,
                settings.recompute_chunks,
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

            window.append(metrics)
            due = step % settings.checkpoint_every == 0
            if step % settings.log_every == 0 or due:
                recent = window_means(window)
                now = time.monotonic()
                s_per_step = (now - logged) / len(window)
                recent |= {
                    "learning_rate": rate,
                    "gradient_norm": float(norm),
                    "segments_per_s": len(log_mel) * processes / s_per_step,
                    "elapsed_s": spent_s + now - begun,
                }
                window.clear()
                logged = now
                if log is not None:
                    left_s = budget.left_s(step, recent["elapsed_s"], s_per_step)
                    log.write("train", step, recent)
                    log.show(step, budget.progress(step, recent["elapsed_s"]), left_s, recent)
            if settings.validate_every and step % settings.validate_every == 0:
                judged = learner if average is None else average.module
                values = validate(cast(Learner, judged), views, source, settings, device)
                if log is not None and values:
                    log.write("validation", step, values)
                elif log is not None:
                    log.say(f"step {step}: no validation, the corpus holds out fewer than two clips")
                logged = time.monotonic()
            if due and rank == 0:
                elapsed_s = spent_s + time.monotonic() - begun
                save_checkpoint(folder, run_state(step, elapsed_s, learner, optimizer, average))
                logged = time.monotonic()
    batches.close()
    if log is not None:
        save_checkpoint(folder, run_state(step, elapsed_s, learner, optimizer, average))
        log.say(f"step {step}: {'stopped by a signal' if stopped_by else 'done'}, checkpoint in {folder}")
        log.close()
    return 128 + int(stopped_by) if stopped_by else 0


def window_means(window: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    """Means of each metric over the steps of a window and over the processes."""
    means = {name: torch.stack([metrics[name] for metrics in window]).mean() for name in window[0]}
    average_over_processes(list(means.values()))
    return {name: float(value) for name, value in means.items()}


def run_state(step: int, elapsed_s: float, learner: Learner, optimizer: Any, average: Any) -> dict[str, Any]:
    """All that a resumed run needs; randomness is a function of seed, step and rank."""
    return {
        "step": step,
        "elapsed_s": elapsed_s,
        "learner": learner.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": None if average is None else average.state_dict(),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"Settings that --set and YAML files take:\n{Settings.__doc__}"
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
        "override them); without a checkpoint, start",
    )


def run(args: argparse.Namespace) -> int:
    folder: Path = args.out
    resume = args.resume and (folder / CHECKPOINT).is_file()
    if (folder / CHECKPOINT).is_file() and not args.resume:
        raise ValueError(f"{folder} holds a run already: add --resume to go on, or give another --out")
    layers = [read_config(name) for name in args.config]
    layers += [parse_assignment(text) for text in args.assignments]
    location = args.corpus
    if resume:
        layers.insert(0, read_config(folder / CONFIG))
        location = location or json.loads((folder / CORPUS).read_text(encoding="utf-8"))["location"]
    elif not args.config:
        layers.insert(0, read_config("paper"))
    if not location:
        raise ValueError("no corpus: give --corpus")
    settings = layered(layers)
    source = open_source(location, settings.corpus_weights or None)
    try:
        join_processes(settings.device)
        if process_rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            config = yaml.safe_dump(settings.to_dict(), sort_keys=False)
            write_atomically(folder / CONFIG, config.encode())
            corpus = {"location": str(location), "summary": source.summary()}
            write_atomically(folder / CORPUS, json.dumps(corpus, indent=1).encode())
        return train(settings, source, folder, resume)
    finally:
        leave_processes()
