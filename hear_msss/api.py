"""The HEAR API (https://hearbenchmark.com/hear-api.html): load_model and the two kinds of embeddings."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from hear_msss import tf32
from hear_msss.checks import check_audio
from hear_msss.device import default_dtype
from hear_msss.model import MSSS
from hear_msss.options import Options
from hear_msss.weights import DEFAULT, UNTRAINED, bundled, load_weights, untrained_weights


def load_model(model_file_path: str = "", *, weights: str = "", **options: Any) -> MSSS:
    """Load the encoder, on the CPU and in eval mode.

    Args:
        model_file_path: a weights file made by ``python -m pretrain export``, or the name of bundled
            weights, or ``"untrained"`` (seeded initial weights, a floor to compare with). Empty: the
            default bundled weights.
        weights: the same by keyword, for heareval's ``--model-options '{"weights": "untrained"}'``,
            whose ``--model`` takes files only.
        **options: see :class:`hear_msss.options.Options`. An option that is not given has the value stored in
            the weights file, or else the default of :class:`Options`.

    Returns:
        A ``torch.nn.Module`` with ``sample_rate``, ``scene_embedding_size`` and
        ``timestamp_embedding_size``.

    Raises:
        FileNotFoundError: no such weights.
        TypeError: an unknown option.
        ValueError: a weights file that is damaged or not ours, an option out of range, or weights
            named twice.
    """
    if model_file_path and weights:
        raise ValueError(f"weights named twice, {model_file_path!r} and {weights!r}: give one of them")
    name = str(model_file_path or weights)
    if not name:
        name = DEFAULT if DEFAULT in bundled() else UNTRAINED
        if name == UNTRAINED:
            warnings.warn(
                "hear_msss has no trained weights bundled: load_model() returns an UNTRAINED encoder "
                "(seeded initial weights). Give the path of weights made by `python -m pretrain export`.",
                stacklevel=2,
            )
    with torch.device("cpu"), default_dtype(torch.float32):  # whatever the program around us has chosen
        loaded = untrained_weights() if name == UNTRAINED else load_weights(name)
        stored = loaded.info.get("options", {})
        try:
            Options.from_dict(stored)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name}: the options stored in it cannot be used ({error}): the file is damaged, or "
                "of a newer version of hear_msss; export the run again, or update hear_msss"
            ) from error
        return MSSS(loaded.encoder, Options.from_dict({**stored, **options}), loaded.levels)


def _call(model: Any, audio: Tensor, **options: Any) -> Any:
    """Call the model, or a wrapper around it: ``nn.DataParallel``, or what ``torch.compile`` returns."""
    inner, wrappers = model, []
    while isinstance(inner, nn.Module) and not isinstance(inner, MSSS):
        wrappers.append(type(inner))
        inner = getattr(inner, "_orig_mod", None) or getattr(inner, "module", None)
    if not isinstance(inner, MSSS):
        raise TypeError(f"model is a {type(model).__name__}: expected what hear_msss.load_model() returns")
    audio = check_audio(audio)
    # A compiled model does not set torch's flags itself. The threads of DataParallel do, one after the other.
    compiled = audio.device.type == "cuda" and wrappers and nn.DataParallel not in wrappers
    with torch.no_grad(), tf32.products(inner.in_tf32) if compiled else nullcontext():
        return model(audio, **options)


def get_scene_embeddings(audio: Tensor, model: nn.Module) -> Tensor:
    """One embedding for each clip.

    Args:
        audio: ``(sounds, samples)`` floating point at 16 kHz, mono, in [-1, 1], on the model's device.
        model: from :func:`load_model`, also within ``torch.nn.DataParallel`` or ``torch.compile``.

    Returns:
        ``(sounds, model.scene_embedding_size)`` float32.

    Raises:
        TypeError, ValueError: audio that cannot be embedded, see :func:`hear_msss.checks.check_audio`.
    """
    embeddings: Tensor = _call(model, audio)
    return embeddings


def get_timestamp_embeddings(audio: Tensor, model: nn.Module) -> tuple[Tensor, Tensor]:
    """An embedding every ``hop_ms`` (50 ms by default), from the start of each clip to its end.

    Args:
        audio: ``(sounds, samples)`` floating point at 16 kHz, mono, in [-1, 1], on the model's device.
        model: from :func:`load_model`, also within ``torch.nn.DataParallel`` or ``torch.compile``.

    Returns:
        Embeddings ``(sounds, timestamps, model.timestamp_embedding_size)`` float32 and their times in
        milliseconds, ``(sounds, timestamps)`` float32, as the HEAR API has it: whole milliseconds are
        exact in the first 4.6 hours of a clip.

    Raises:
        TypeError, ValueError: audio that cannot be embedded, see :func:`hear_msss.checks.check_audio`.
    """
    result: tuple[Tensor, Tensor] = _call(model, audio, timestamps=True)
    return result
