"""Encoder, embeddings, or the whole way from waveform to embeddings as an ONNX file."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hear_msss.encoder import Encoder
from hear_msss.features import Features
from hear_msss.frontend import FrontEnd

OPSET = 17
TOLERANCE = 1e-4  # of the largest value, or of 1 where that is less, as in h


def make_graph(encoder: Encoder | Features) -> bytes:
    """An encoder as an ONNX graph that gives torch's answers.

    Input ``log_mel`` ``(batch, n_mels, segment_frames)``, output ``embedding`` ``(batch, T', size)``,
    float32, any batch.

    Args:
        encoder: in eval mode, on the CPU; :func:`hear_msss.backend.fold_batch_norm` makes the graph smaller.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
        RuntimeError: the graph differs from torch by more than 1e-4.
    """
    config = encoder.config
    example = torch.zeros(2, config.n_mels, config.segment_frames, dtype=torch.float32, device="cpu")
    graph = to_onnx(
        encoder, example, "log_mel", ["embedding"], {"log_mel": ["batch"], "embedding": ["batch"]}
    )
    check_difference(largest_difference(encoder, graph))
    return graph


def check_difference(difference: float) -> None:
    """
    Raises:
        RuntimeError: a graph differs from torch by more than 1e-4.
    """
    if not difference <= TOLERANCE:
        raise RuntimeError(
            f"the exported graph differs from torch by {difference:g}, more than {TOLERANCE:g}: "
            "use backend='torch', and report the versions of torch and onnxruntime"
        )


def to_onnx(
    module: nn.Module, example: Tensor, input_name: str, outputs: list[str], axes: dict[str, list[str]]
) -> bytes:
    """Trace a module of one input into an ONNX graph.

    Args:
        module: in eval mode.
        example: an input.
        input_name: of the graph's input.
        outputs: names of the graph's outputs.
        axes: for each input and output the names of its first axes whose sizes may vary.

    Raises:
        ImportError: onnx is not installed.
    """
    import_onnx()
    with (
        tempfile.TemporaryDirectory(prefix="hear_msss") as folder,
        warnings.catch_warnings(),
        torch.inference_mode(False),
        torch.autocast("cpu", enabled=False),
    ):
        path = Path(folder) / "graph.onnx"
        # The TorchScript exporter makes the smaller graph. Its warnings, that torch has a newer exporter
        # and that some shapes become constants (as they should), tell the user nothing.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=outputs,
            dynamic_axes={name: dict(enumerate(names)) for name, names in axes.items()},
        )
        return path.read_bytes()


def largest_difference(encoder: Encoder | Features, graph: bytes) -> float:
    """The largest difference between a graph and its encoder over a few random batches.

    Relative to the largest value where that is above 1.
    """
    config = encoder.config
    with torch.device("cpu"), torch.inference_mode(), torch.autocast("cpu", enabled=False):
        front_end = FrontEnd(config)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(4, config.segment_samples, generator=generator, dtype=torch.float32) / 10
        log_mel = front_end(noise)
        return difference_to(encoder, graph, [log_mel[:1], log_mel[1:]])


@torch.no_grad()
def difference_to(module: nn.Module, graph: bytes, inputs: Sequence[Tensor]) -> float:
    """The largest difference between a graph and the module that it was traced from, over some inputs."""
    session = new_session(graph, threads=1)
    (name,) = (node.name for node in session.get_inputs())
    worst = 0.0
    for tensor in inputs:
        expected = module(tensor)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for ours, theirs in zip(session.run(None, {name: tensor.numpy()}), expected, strict=True):
            difference = np.abs(ours - theirs.numpy()).max() / max(1.0, float(theirs.abs().max()))
            worst = max(worst, float(difference))
    return worst


def new_session(graph: bytes, threads: int) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU."""
    onnxruntime = import_onnx()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])


def import_onnx() -> Any:
    """The module onnxruntime.

    Raises:
        ImportError: onnxruntime, or onnx, which the exporter needs, is not installed.
    """
    # onnxruntime 1.29 and later report their use to Microsoft unless told not to, from a thread that also
    # keeps a forked process from ending. It reads this once, when it is first imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            f"ONNX Runtime cannot be used here ({error}): pip install onnx onnxruntime, "
            "or use backend='torch'"
        ) from error
    return onnxruntime
