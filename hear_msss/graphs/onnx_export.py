"""Encoder, embeddings, or the whole way from waveform to embeddings as an ONNX file."""

from __future__ import annotations

import copy
import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hear_msss.config import ModelConfig
from hear_msss.encoder import Encoder
from hear_msss.features import Features
from hear_msss.frontend import FrontEnd
from hear_msss.graphs import WrongGraph

OPSET = 17
TOLERANCE = 1e-4  # of the largest value, or of 1 where that is less, as in h
# Weights of a few training steps magnify rounding, because their components divide by very small deviations.
# A graph of these may differ from torch by a few times torch's own rounding, its difference to float64.
ROUNDINGS = 4
LARGEST_TOLERANCE = 0.01  # whatever the rounding


def make_graph(encoder: Encoder | Features) -> bytes:
    """An encoder as an ONNX graph that gives torch's answers.

    Input ``log_mel`` ``(batch, n_mels, segment_frames)``, output ``embedding`` ``(batch, T', size)``,
    float32, any batch.

    Args:
        encoder: in eval mode, on the CPU; :func:`hear_msss.backend.fold_batch_norm` makes the graph smaller.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
        WrongGraph: the graph differs from torch by more than rounding.
    """
    config = encoder.config
    example = torch.zeros(2, config.n_mels, config.segment_frames, dtype=torch.float32, device="cpu")
    graph = to_onnx(
        encoder, example, "log_mel", ["embedding"], {"log_mel": ["batch"], "embedding": ["batch"]}
    )
    check_graph(encoder, graph, example_segments(encoder.config))
    return graph


def check_graph(module: nn.Module, graph: bytes, inputs: Sequence[Tensor]) -> float:
    """The largest difference between a graph and the module that it was traced from, over some inputs.

    Differences are relative to the largest value where that is above 1.

    Raises:
        WrongGraph: the difference is above 1e-4 and above 4 times torch's own rounding, or it is above 0.01.
    """
    difference = difference_to(module, graph, inputs)
    if difference <= TOLERANCE:
        return difference
    if difference <= min(ROUNDINGS * rounding(module, inputs), LARGEST_TOLERANCE):
        return difference
    raise WrongGraph(difference)


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
        torch.device("cpu"),
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


def example_segments(config: ModelConfig) -> list[Tensor]:
    """Two batches of log-mel segments of noise, to compare a graph with its encoder."""
    with torch.device("cpu"), torch.inference_mode(), torch.autocast("cpu", enabled=False):
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(4, config.segment_samples, generator=generator, dtype=torch.float32) / 10
        log_mel = FrontEnd(config)(noise)
        return [log_mel[:1], log_mel[1:]]


def difference_to(module: nn.Module, graph: bytes, inputs: Sequence[Tensor]) -> float:
    """The largest difference between a graph and the module it was traced from; NaN where one has NaN."""
    session = new_session(graph, threads=1)
    (name,) = (node.name for node in session.get_inputs())
    return relative_difference(
        [array for tensor in inputs for array in session.run(None, {name: tensor.numpy()})],
        [array for tensor in inputs for array in outputs(module, tensor)],
    )


def rounding(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    """The largest difference between a module in float32 and the same module in float64."""
    double = copy.deepcopy(module).double()
    return relative_difference(
        [array for tensor in inputs for array in outputs(module, tensor)],
        [array for tensor in inputs for array in outputs(double, tensor.double())],
    )


def outputs(module: nn.Module, tensor: Tensor) -> list[np.ndarray]:
    with torch.device("cpu"), torch.no_grad(), torch.autocast("cpu", enabled=False):
        answer = module(tensor)
    return [part.numpy() for part in (answer if isinstance(answer, tuple) else (answer,))]


def relative_difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest difference of arrays in pairs, relative to the largest value where that is above 1."""
    differences = [
        np.abs(ours - theirs).max() / np.maximum(1.0, np.abs(theirs).max())
        for ours, theirs in zip(found, expected, strict=True)
    ]
    return float(np.max(differences))  # unlike max(), it keeps NaN


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
