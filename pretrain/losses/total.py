"""The sum of the losses (equation 7), and what the progress bar shows of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pretrain.augmentation import Augmentation
from pretrain.distributed import gather_rows, process_rank
from pretrain.heads import Representations
from pretrain.losses.clip import clip_accuracy, clip_loss
from pretrain.losses.cross_view import cross_view_loss
from pretrain.losses.frame import frame_loss
from pretrain.losses.pitch import pitch_error_semitones, pitch_loss, pitch_target
from pretrain.losses.similarity import make_similarity
from pretrain.losses.spectrum import spectrum_loss, unexplained_share
from pretrain.settings import Settings

Terms = dict[str, Tensor]


class MultipleSamplingLoss(nn.Module):
    """``L = L_clip + alpha L_frame + beta L_pitch`` (equation 7), plus gamma times the cross-view
    loss and delta times the spectrum loss.

    A loss of weight 0 is not computed. To add a loss, write a method that takes what the losses see of
    the views (``Representations``) and returns its terms by name, and weigh it in ``forward``.

    Args:
        settings: kind of similarity, weights of the losses, and what each of them takes.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        dim = settings.model.embedding_dim
        self.clip_similarity = make_similarity(settings.similarity, dim, settings.temperature)
        self.frame_similarity = self.clip_similarity
        if not settings.shared_similarity:
            self.frame_similarity = make_similarity(settings.similarity, dim, settings.temperature)

    def forward(
        self, views: list[Representations], x_hat: Augmentation | None = None, gather: bool = True
    ) -> tuple[Tensor, Terms]:
        """The loss to differentiate, and every term and metric of it, detached.

        Args:
            views: representations of x, x' and, where the settings need it, x-hat.
            x_hat: what made x-hat; without it there is none.
            gather: take negatives from all processes. The loss is then the mean over the anchors of
                this process; its mean over processes is that of the whole batch.

        Raises:
            ValueError: x-hat is missing.
        """
        settings = self.settings
        if settings.needs_x_hat and (len(views) < 3 or x_hat is None):
            raise ValueError("these losses need x-hat and what made it: give both")
        terms = self.clip_terms(views, gather)
        total = terms["clip"]
        if settings.alpha:
            terms |= self.frame_terms(views)
            total = total + settings.alpha * terms["frame"]
        if settings.beta and x_hat is not None:
            terms |= self.pitch_terms(views, x_hat)
            total = total + settings.beta * terms["pitch"]
        if settings.gamma:
            terms |= self.cross_view_terms(views, gather)
            total = total + settings.gamma * terms["cross_view"]
        if settings.delta:
            terms |= self.spectrum_terms(views)
            total = total + settings.delta * terms["spectrum"]
        terms["loss"] = total
        return total, {name: value.detach() for name, value in terms.items()}

    def clip_terms(self, views: list[Representations], gather: bool) -> Terms:
        """The clip loss, the mean over its pairs of views, and the accuracy of picking x' for x."""
        pairs = [(views[0], views[1])]
        if self.settings.clip_both_directions:
            pairs.append((views[1], views[0]))
        if self.settings.clip_x_hat:
            pairs.append((views[2], views[1]))
        scores = [self.clip_similarity(a.clip, gathered(b.clip, gather)) for a, b in pairs]
        own = own_rows(len(views[0].clip), gather, scores[0].device)
        loss = torch.stack([clip_loss(s, own) for s in scores]).mean()
        return {"clip": loss, "clip_accuracy": clip_accuracy(scores[0].detach(), own)}

    def frame_terms(self, views: list[Representations]) -> Terms:
        """The frame loss, the mean over the views (equation 5)."""
        frames = torch.cat([view.frame for view in views])
        return {"frame": frame_loss(self.frame_similarity(frames, frames), self.settings.frame_neighbors)}

    def pitch_terms(self, views: list[Representations], x_hat: Augmentation) -> Terms:
        """The pitch loss between x and x-hat, and its error in semitones."""
        assert x_hat.ratio is not None  # of every x-hat that is drawn
        pitch, shifted, target = views[0].pitch, views[2].pitch, self.settings.pitch_target
        return {
            "pitch": pitch_loss(pitch, shifted, pitch_target(x_hat.ratio, target)),
            "pitch_error_semitones": pitch_error_semitones(pitch, shifted, x_hat.ratio, target),
        }

    def cross_view_terms(self, views: list[Representations], gather: bool) -> Terms:
        """The cross-view frame loss between x and x-hat."""
        frames, shifted = views[0].frame, views[2].frame
        candidates, first = None, 0
        if self.settings.cross_view_other_segments:
            candidates = gathered(shifted.flatten(0, 1), gather)
            first = process_rank() * shifted.shape[0] * shifted.shape[1] if gather else 0
        return {"cross_view": cross_view_loss(self.frame_similarity, frames, shifted, candidates, first)}

    def spectrum_terms(self, views: list[Representations]) -> Terms:
        """The spectrum loss of x and x', and the share of the spectrum that h does not tell."""
        pairs = [(view.spectrum, view.spectrum_target) for view in views]
        told = [(a, b) for a, b in pairs if a is not None and b is not None]
        if not told:
            raise ValueError("the spectrum loss needs the targets of x and x': give spectrum")
        estimate, target = (torch.cat(tensors) for tensors in zip(*told, strict=True))
        return {
            "spectrum": spectrum_loss(estimate, target),
            "spectrum_unexplained": unexplained_share(estimate, target),
        }


def gathered(rows: Tensor, gather: bool) -> Tensor:
    """Rows of all processes, or as they are."""
    return gather_rows(rows) if gather else rows


def own_rows(count: int, gather: bool, device: torch.device) -> Tensor:
    """Which of the gathered rows are this process's, ``(count,)``."""
    first = process_rank() * count if gather else 0
    return torch.arange(first, first + count, device=device)
