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


class MultipleSamplingLoss(nn.Module):
    """``L = L_clip + alpha L_frame + beta L_pitch`` (equation 7), plus gamma times the cross-view loss.

    A loss of weight 0 is not computed. The clip and the frame loss have one similarity each.

    Args:
        dim: d, the size of the clip and frame representations.
        similarity: ``bilinear`` or ``cosine``.
        temperature: divides the cosine similarity.
        alpha: weight of the frame loss.
        beta: weight of the pitch loss.
        gamma: weight of the cross-view frame loss; 0 in the paper.
        frame_neighbors: m of equation 4.
        target: what the pitch loss estimates: ``semitones``, ``log2`` or ``ratio``.
        cross_view_other_segments: see ``cross_view_loss``.
    """

    def __init__(
        self,
        dim: int,
        similarity: str = "bilinear",
        temperature: float = 0.2,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 0.0,
        frame_neighbors: int = 0,
        target: str = "semitones",
        cross_view_other_segments: bool = False,
    ) -> None:
        super().__init__()
        self.clip_similarity = make_similarity(similarity, dim, temperature)
        self.frame_similarity = make_similarity(similarity, dim, temperature)
        self.alpha, self.beta, self.gamma = alpha, beta, gamma
        self.frame_neighbors, self.target = frame_neighbors, target
        self.cross_view_other_segments = cross_view_other_segments

    def forward(
        self, views: list[Representations], ratio: Tensor | None = None, gather: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to differentiate, and every part and metric of it, detached.

        Args:
            views: representations of x, x' and, unless alpha = beta = gamma = 0, x-hat.
            ratio: ``(batch,)``, frequency ratio of x-hat to x.
            gather: take clip negatives from all processes. The loss is then the mean over the
                anchors of this process; its mean over processes is that of the whole batch.
        """
        anchor, positive = views[0], views[1]
        candidates = gather_rows(positive.clip) if gather else positive.clip
        scores = self.clip_similarity(anchor.clip, candidates)
        first = process_rank() * len(scores) if gather else 0
        own = torch.arange(first, first + len(scores), device=scores.device)
        total = loss = clip_loss(scores, own)
        parts = {"clip": loss, "clip_accuracy": clip_accuracy(scores.detach(), own)}
        if self.alpha:
            frames = torch.cat([view.frame for view in views])
            loss = frame_loss(self.frame_similarity(frames, frames), self.frame_neighbors)
            total, parts["frame"] = total + self.alpha * loss, loss
        if self.beta or self.gamma:
            if len(views) < 3 or ratio is None:
                raise ValueError("the pitch and cross-view losses need x-hat and its ratio: give both")
            shifted = views[2]
            if self.beta:
                loss = pitch_loss(anchor.pitch, shifted.pitch, pitch_target(ratio, self.target))
                total, parts["pitch"] = total + self.beta * loss, loss
                parts["pitch_error_semitones"] = pitch_error_semitones(
                    anchor.pitch, shifted.pitch, ratio, self.target
                )
            if self.gamma:
                loss = cross_view_loss(
                    self.frame_similarity, anchor.frame, shifted.frame, self.cross_view_other_segments
                )
                total, parts["cross_view"] = total + self.gamma * loss, loss
        parts["loss"] = total
        return total, {name: value.detach() for name, value in parts.items()}
