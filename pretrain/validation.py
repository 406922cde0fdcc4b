"""The losses on clips that training never sees."""

from __future__ import annotations

import torch
import torch.distributed as dist

from pretrain.augmentation import draw_augmentations
from pretrain.corpus.source import SegmentSource
from pretrain.distributed import process_count, process_rank
from pretrain.randomness import step_seed
from pretrain.run_state import RunState

ROWS_AT_ONCE = 128
VALIDATION = 0x76616C  # sets the seeds of validation apart from those of training


@torch.no_grad()
def validate(state: RunState, source: SegmentSource) -> dict[str, float]:
    """Mean losses and metrics over the corpus's held-out clips, weighted by clips; empty without any.

    The same segments and x-hat every time. Batches are dealt out to the processes; negatives come
    from the clip's own batch.
    """
    learner, settings = state.validated, state.settings
    training = learner.training
    learner.eval()
    sums: dict[str, float] = {}
    clips = 0
    batches = source.validation(
        batch_size=settings.validation_batch_size,
        segment_samples=settings.model.segment_samples,
        seed=settings.seed,
    )
    for number, (anchor, positive) in enumerate(batches):
        if number % process_count() != process_rank() or len(anchor) < 2:
            continue
        anchor, positive = anchor.to(state.device), positive.to(state.device)
        seed = step_seed(settings.seed, number, VALIDATION)
        drawn = draw_augmentations(len(anchor), settings, seed, state.device)
        log_mel = state.views(anchor, positive, drawn)
        h = torch.cat([learner(rows) for rows in log_mel.split(ROWS_AT_ONCE)])
        spectrum = learner.spectrum_target(anchor, positive, log_mel)
        _, metrics = learner.losses(h, drawn.x_hat, spectrum, gather=False)
        clips += len(anchor)
        for name, value in metrics.items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(anchor)
    learner.train(training)
    everyone = [(clips, sums)] * process_count()
    if process_count() > 1:
        dist.all_gather_object(everyone, (clips, sums))
    total = sum(count for count, _ in everyone)
    names = dict.fromkeys(name for _, part in everyone for name in part)
    return {name: sum(part.get(name, 0.0) for _, part in everyone) / total for name in names}
