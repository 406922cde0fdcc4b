"""The sum of the losses (equation 7), and what the progress bar shows of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pretrain.distributed import gather_rows, process_rank
from pretrain.heads import Representations
from pretrain.losses.clip import clip_accuracy, clip_loss
from pretrain.losses.cross_view import cross_view_loss
from pretrain.losses.frame import frame_loss
from pretrain.losses.pitch import pitch_error_semitones, pitch_loss, pitch_target
from pretrain.losses.similarity import make_similarity
from pretrain.settings import Settings
from pretrain.x_hat import XHat


class MultipleSamplingLoss(nn.Module):
    """``L = L_clip + alpha L_frame + beta L_pitch`` (equation 7), plus gamma times the cross-view loss.

    A loss of weight 0 is not computed. The clip and the frame loss have one similarity each.

    Args:
        settings: kind of similarity, weights of the losses, and what each of them takes.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        dim = settings.model.embedding_dim
        self.clip_similarity = make_similarity(settings.similarity, dim, settings.temperature)
        self.frame_similarity = make_similarity(settings.similarity, dim, settings.temperature)

    def forward(
        self, views: list[Representations], x_hat: XHat | None = None, gather: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to differentiate, and every part and metric of it, detached.

        Args:
            views: representations of x, x' and, unless alpha = beta = gamma = 0, x-hat.
            x_hat: what made x-hat; without it there is none.
            gather: take clip negatives from all processes. The loss is then the mean over the
                anchors of this process; its mean over processes is that of the whole batch.
        """
        settings = self.settings
        anchor, positive = views[0], views[1]
        candidates = gather_rows(positive.clip) if gather else positive.clip
        scores = self.clip_similarity(anchor.clip, candidates)
        first = process_rank() * len(scores) if gather else 0
        own = torch.arange(first, first + len(scores), device=scores.device)
        total = loss = clip_loss(scores, own)
        parts = {"clip": loss, "clip_accuracy": clip_accuracy(scores.detach(), own)}
        if settings.alpha:
            frames = torch.cat([view.frame for view in views])
            loss = frame_loss(self.frame_similarity(frames, frames), settings.frame_neighbors)
            total, parts["frame"] = total + settings.alpha * loss, loss
        if settings.beta or settings.gamma:
            if len(views) < 3 or x_hat is None:
                raise ValueError("the pitch and cross-view losses need x-hat and what made it: give both")
            shifted = views[2]
            if settings.beta:
                loss = pitch_loss(
                    anchor.pitch, shifted.pitch, pitch_target(x_hat.ratio, settings.pitch_target)
                )
                total, parts["pitch"] = total + settings.beta * loss, loss
                parts["pitch_error_semitones"] = pitch_error_semitones(
                    anchor.pitch, shifted.pitch, x_hat.ratio, settings.pitch_target
                )
            if settings.gamma:
                loss = cross_view_loss(
                    self.frame_similarity, anchor.frame, shifted.frame, settings.cross_view_other_segments
                )
                total, parts["cross_view"] = total + settings.gamma * loss, loss
        parts["loss"] = total
        return total, {name: value.detach() for name, value in parts.items()}
