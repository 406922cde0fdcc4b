"""Spectrum readout, beyond the paper: h must say what the spectrum of each of its frames is."""

from __future__ import annotations

from torch import Tensor


def spectrum_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Half the squared error, summed over the target's numbers, averaged over frames and segments.

    The sum makes it the negative log-likelihood of a unit normal, up to a constant, and gives it a gradient
    on h of the size of the clip loss's. (A mean over 256 numbers has 1/128 of that, and teaches nothing.)

    Args:
        estimate: ``(batch, T', numbers)``, of a linear layer on h.
        target: the same shape, from ``pretrain.spectrum.SpectrumTarget``.

    Raises:
        ValueError: the shapes differ.
    """
    if estimate.shape != target.shape or estimate.dim() != 3:
        raise ValueError(
            f"estimate {tuple(estimate.shape)} and target {tuple(target.shape)}: expected "
            "(batch, frames, numbers) twice"
        )
    return 0.5 * (estimate - target).square().sum(dim=-1).mean()


def unexplained_share(estimate: Tensor, target: Tensor) -> Tensor:
    """Squared error as a share of the target's variance: 1 for the mean, 0 for a perfect estimate."""
    error = (estimate - target).square().mean()
    return error / (target - target.mean(dim=(0, 1))).square().mean()
