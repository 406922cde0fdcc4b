"""Reject audio that cannot be embedded, and say why."""

from __future__ import annotations

import torch
from torch import Tensor

from hear_msss.audio import LOUDEST


def check_audio(audio: Tensor) -> Tensor:
    """The audio as float32, unchanged otherwise.

    Args:
        audio: ``(sounds, samples)`` floating point, 16 kHz mono, in [-1, 1].

    Raises:
        TypeError: not a tensor, one that is sparse, nested, quantised or without values, or not
            floating point.
        ValueError: other than two dimensions, no sound or no sample in it, NaN or infinite samples,
            or samples far outside [-1, 1].
    """
    if not isinstance(audio, Tensor):
        raise TypeError(
            f"audio is a {type(audio).__name__}: expected a torch.Tensor (sounds, samples); "
            "convert a numpy array with torch.from_numpy(x).float()"
        )
    if audio.layout != torch.strided or audio.is_nested or audio.is_meta or audio.is_quantized:
        raise TypeError(
            f"audio is a tensor of layout {audio.layout} on device {audio.device}: expected a dense tensor "
            "with values; convert it with audio.to_dense(), or pad nested sounds to one length"
        )
    if audio.dim() != 2:
        raise ValueError(
            f"audio has shape {tuple(audio.shape)}: expected two dimensions (sounds, samples); "
            "for one mono clip use audio[None], mix channels down first"
        )
    if not audio.is_floating_point():
        raise TypeError(
            f"audio is {audio.dtype}: expected floating point in [-1, 1]; for int16 use audio.float() / 32768"
        )
    if audio.shape[0] == 0 or audio.shape[1] == 0:
        raise ValueError(f"audio has shape {tuple(audio.shape)}: expected at least one sound of one sample")
    audio = audio.float()
    if not bool(torch.isfinite(audio).all()):
        bad = (~torch.isfinite(audio)).nonzero()[0].tolist()
        raise ValueError(
            f"audio holds NaN or infinite samples, the first in sound {bad[0]} at sample {bad[1]}: "
            "expected finite values in [-1, 1]; look at how this sound was read or processed"
        )
    loudest = float(audio.abs().max())
    if loudest > LOUDEST:
        raise ValueError(
            f"audio reaches {loudest:g}: expected values in [-1, 1]; divide 16-bit samples by 32768"
        )
    return audio
