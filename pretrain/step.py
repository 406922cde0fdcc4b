"""One step of training: views, embeddings, losses, gradient, optimizer."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from pretrain.augmentation import draw_augmentations
from pretrain.chunked import backward_in_chunks
from pretrain.distributed import average_gradients, process_rank
from pretrain.randomness import step_seed
from pretrain.run_state import RunState


class NotFiniteError(FloatingPointError):
    """The gradient is infinite or not a number."""


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
    # Before the segments: these small copies to a GPU wait for what was copied before them.
    drawn = draw_augmentations(len(segments[0]), settings, seed, device)
    anchor, positive = (x.to(device, non_blocking=True) for x in segments)
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
