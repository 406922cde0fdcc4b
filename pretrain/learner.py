"""What is trained: the encoder, its heads, and the matrices of the losses."""

from __future__ import annotations

from itertools import zip_longest

import torch
from torch import Tensor, nn

from hear_msss.encoder import Encoder
from hear_msss.weights import load_weights
from pretrain.augmentation import Augmentation
from pretrain.depthwise import use_fast_gradients
from pretrain.heads import Heads
from pretrain.losses import MultipleSamplingLoss
from pretrain.settings import Settings
from pretrain.spectrum import SpectrumTarget
from pretrain.views import INT16_SCALE


class Learner(nn.Module):
    """Encoder f, heads g and losses in one module, so that one state dictionary holds all.

    Args:
        settings: of the run; ``init_from`` loads the encoder's weights.

    Raises:
        ValueError: the weights of ``init_from`` are of another model configuration.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.encoder = Encoder(settings.model, settings.drop_connect_rate)
        if settings.init_from:
            trained = load_weights(settings.init_from).encoder
            if trained.config != settings.model:
                raise ValueError(
                    f"init_from={settings.init_from!r} holds {trained.config}, the run has "
                    f"{settings.model}: set the run's model settings to those of the weights"
                )
            self.encoder.load_state_dict(trained.state_dict())
        for module in self.encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = settings.batch_norm_momentum
        use_fast_gradients(self.encoder)
        self.heads = Heads(settings)
        self.loss = MultipleSamplingLoss(settings)
        self.spectrum = (
            SpectrumTarget(settings.model, settings.spectrum_components) if settings.delta else None
        )
        self.bf16 = settings.precision == "bf16"
        if settings.compile:
            # In place, so that parameters keep their names in the state dictionary.
            self.encoder.compile(dynamic=False)

    def forward(self, log_mel: Tensor) -> Tensor:
        """``(rows, n_mels, frames)`` to h, ``(rows, T', d)``, float32 whatever the encoder computes in."""
        with torch.autocast(log_mel.device.type, torch.bfloat16, enabled=self.bf16):
            # Validation takes few passes of many sizes: compiling each would take longer than it saves.
            h = self.encoder(log_mel) if self.training else self.encoder.forward(log_mel)
        return h.float() if self.bf16 else h

    def spectrum_target(self, anchor: Tensor, positive: Tensor, log_mel: Tensor) -> Tensor | None:
        """What h of x and x' must tell of the spectrum; None where ``delta`` is 0.

        Args:
            anchor: x, int16 ``(batch, samples)``.
            positive: x', the same shape.
            log_mel: of the views, ``(rows, n_mels, frames)``; those of x and x' come first.
        """
        if self.spectrum is None:
            return None
        waveform = torch.cat([anchor, positive]).to(log_mel.dtype) * INT16_SCALE
        return self.spectrum(waveform, log_mel[: len(waveform)])

    def losses(
        self,
        h: Tensor,
        x_hat: Augmentation | None,
        spectrum: Tensor | None = None,
        gather: bool = True,
        parts: int = 1,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and its parts and metrics.

        Args:
            h: of x, x' (and x-hat, where there is one), one after the other, ``(rows, T', d)``.
            x_hat: what made x-hat; None: there is none.
            spectrum: targets of x and x', from ``spectrum_target``; None where ``delta`` is 0.
            gather: take negatives from all processes.
            parts: the loss is the mean over so many equal parts of the batch, each with its own negatives.
        """
        count = 2 if x_hat is None else 3
        targets = (None, None) if spectrum is None else spectrum.chunk(2)
        views = [
            self.heads(view, target) for view, target in zip_longest(h.chunk(count), targets, fillvalue=None)
        ]
        if parts == 1:
            return self.loss(views, x_hat, gather)
        x_hats = [None] * parts if x_hat is None else ratio_parts(x_hat, parts)
        found = [
            self.loss(list(part), x_hat_part, gather)
            for *part, x_hat_part in zip(*(view.parts(parts) for view in views), x_hats, strict=True)
        ]
        metrics = {name: torch.stack([m[name] for _, m in found]).mean() for name in found[0][1]}
        return torch.stack([loss for loss, _ in found]).mean(), metrics


def ratio_parts(x_hat: Augmentation, count: int) -> list[Augmentation]:
    """What the losses need of x-hat, its ratio, for equal parts of the batch."""
    assert x_hat.ratio is not None  # of every x-hat that is drawn
    return [Augmentation(ratio=ratio) for ratio in x_hat.ratio.chunk(count)]
