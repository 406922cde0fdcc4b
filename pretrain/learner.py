"""What is trained: the encoder, its heads, and the matrices of the losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hear_msss.encoder import Encoder
from hear_msss.weights import load_weights
from pretrain.depthwise import use_fast_gradients
from pretrain.heads import Heads
from pretrain.losses import MultipleSamplingLoss
from pretrain.settings import Settings
from pretrain.x_hat import XHat


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
            trained, _ = load_weights(settings.init_from)
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
        self.heads = Heads(settings.model.embedding_dim)
        self.loss = MultipleSamplingLoss(settings)
        self.bf16 = settings.precision == "bf16"

    def forward(self, log_mel: Tensor) -> Tensor:
        """``(rows, n_mels, frames)`` to h, ``(rows, T', d)``, float32 whatever the encoder computes in."""
        with torch.autocast(log_mel.device.type, torch.bfloat16, enabled=self.bf16):
            h = self.encoder(log_mel)
        return h.float() if self.bf16 else h

    def losses(self, h: Tensor, x_hat: XHat | None, gather: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """h of x, x' (and x-hat, where there is one), one after the other, to the loss and its parts."""
        views = [self.heads(view) for view in h.chunk(2 if x_hat is None else 3)]
        return self.loss(views, x_hat, gather)
