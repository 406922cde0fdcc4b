"""The encoder as an ONNX file: written for users, or kept in a cache for the ONNX Runtime backend."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from platformdirs import user_cache_path

from hear_msss.encoder import Encoder
from hear_msss.features import Features
from hear_msss.files import replacing
from hear_msss.frontend import FrontEnd
from hear_msss.version import __version__

OPSET = 17
TOLERANCE = 1e-4  # of the largest value, or of 1 where that is less, as in h
CACHE_VARIABLE = "HEAR_MSSS_CACHE"

log = logging.getLogger(__name__)


def encoder_sha256(encoder: Encoder | Features) -> str:
    """sha256 of configuration and features, and of the names, shapes and values of the tensors."""
    features = encoder.parts if isinstance(encoder, Features) else ["h"]
    digest = hashlib.sha256(json.dumps([encoder.config.to_dict(), features], sort_keys=True).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        # As bytes: NumPy has no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where exported graphs are kept: ``$HEAR_MSSS_CACHE``, or else the user's cache folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or user_cache_path("hear_msss", appauthor=False))


def cached_onnx(encoder: Encoder | Features) -> Path:
    """The exported graph of this very encoder, made if it is not in the cache yet.

    The name holds the encoder's sha256 and the versions of what makes the graph, so that no stale
    file is ever found. Processes that export at the same time each write a whole file and rename it.
    """
    made_by = f"{encoder_sha256(encoder)} hear_msss {__version__} torch {torch.__version__} opset {OPSET}"
    path = cache_folder() / f"{hashlib.sha256(made_by.encode()).hexdigest()[:32]}.onnx"
    if not path.is_file():
        log.info("exporting the encoder to %s", path)
        export_onnx(encoder, path)
    return path


def export_onnx(encoder: Encoder | Features, path: str | Path) -> float:
    """Write an encoder as ONNX and compare it with torch.

    Input ``log_mel`` ``(batch, n_mels, segment_frames)``, output ``h`` ``(batch, T', 512)``, float32,
    any batch. The file appears under its name only when it is whole and gives the right answers.

    Args:
        encoder: in eval mode; :func:`hear_msss.backend.fold_batch_norm` makes the graph smaller.
        path: file to make; its folder is made if need be.

    Returns:
        The largest difference to torch over a few random batches.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
        RuntimeError: the graph differs from torch by more than 1e-4.
    """
    try:
        import onnx  # noqa: F401  (the exporter needs it)
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"exporting needs the packages onnx and onnxruntime ({error.name} is missing): "
            "pip install 'hear_msss[onnx]'"
        ) from error
    with replacing(Path(path)) as temporary:
        _write(encoder, temporary)
        difference = _largest_difference(encoder, temporary)
        if not difference <= TOLERANCE:
            raise RuntimeError(
                f"the exported graph differs from torch by {difference:g}, more than {TOLERANCE:g}: "
                "use backend='torch', and report the versions of torch and onnxruntime"
            )
    return difference


def _write(encoder: Encoder | Features, path: Path) -> None:
    config = encoder.config
    example = torch.zeros(2, config.n_mels, config.segment_frames)
    with warnings.catch_warnings():
        # The TorchScript exporter needs only onnx and makes the smaller graph; its
        # warnings (a newer exporter exists, shapes become constants) do not concern the user.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            encoder,
            (example,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["log_mel"],
            output_names=["h"],
            dynamic_axes={"log_mel": {0: "batch"}, "h": {0: "batch"}},
        )


def _largest_difference(encoder: Encoder | Features, path: Path) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    config = encoder.config
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch in (1, 3):
        noise = torch.randn(batch, config.segment_samples, generator=generator) / 10
        with torch.no_grad():
            log_mel = FrontEnd(config)(noise)
            expected = encoder(log_mel).numpy()
        (h,) = session.run(None, {"log_mel": log_mel.numpy()})
        worst = max(worst, float(np.abs(h - expected).max() / max(1.0, np.abs(expected).max())))
    return worst
