"""What runs the encoder at inference: torch with folded batch norm, or ONNX Runtime."""

from __future__ import annotations

import copy
import importlib.util
import os
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hear_msss.encoder import Encoder
from hear_msss.features import Features
from hear_msss.graphs import sessions
from hear_msss.graphs.cache import cached_graph


def fold_batch_norm(encoder: Encoder) -> Encoder:
    """A frozen copy without batch norm and stochastic depth, equal in eval mode to rounding.

    Batch norm with fixed statistics is a scale and an offset for each channel, which go into the
    convolution before it. The copy gives the same in train mode as in eval mode.
    """
    folded = copy.deepcopy(encoder).eval()
    network = folded.network
    pairs: list[tuple[Any, str, str]] = [
        (network, "_conv_stem", "_bn0"),
        (network, "_conv_head", "_bn1"),
    ]
    for block in network._blocks:
        if block._block_args.expand_ratio != 1:
            pairs.append((block, "_expand_conv", "_bn0"))
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
    for owner, convolution, norm in pairs:
        fused = fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, norm))
        setattr(owner, convolution, fused)
        setattr(owner, norm, nn.Identity())
    network._global_params = network._global_params._replace(drop_connect_rate=0.0)
    network.to(memory_format=torch.channels_last)
    return folded.requires_grad_(False)


class OnnxEncoder:
    """The encoder in ONNX Runtime, on the CPU, with as many threads as torch has.

    Called as the encoder is, ``(batch, n_mels, segment_frames)`` to h, and equal to it to 1e-4 of its largest
    number (of 1, if that is less), or to a few times torch's own rounding, if that is more. The graph is
    exported at the first call and kept in the user's cache folder; it is made anew when the encoder's tensors
    have changed. No gradient passes through.

    Sessions belong to the process that made them: a forked process makes its own, and copies and pickles have
    none. Several threads may call at once.

    Args:
        encoder: what is exported, from :func:`fold_batch_norm`.
    """

    def __init__(self, encoder: Encoder | Features) -> None:
        self.encoder = encoder
        self._made: _Made | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"encoder": self.encoder, "_made": None}  # a session can be neither copied nor pickled

    def session(self) -> Any:
        """This process's ``onnxruntime.InferenceSession`` for torch's number of threads.

        Raises:
            ImportError: onnxruntime or onnx is not installed.
            WrongGraph: the exported graph differs from torch.
        """
        threads = torch.get_num_threads()
        with sessions.lock():
            if self._made is None or self._made.changes != _changes(self._made.tensors):
                tensors = [*self.encoder.parameters(), *self.encoder.buffers()]
                on_cpu = (
                    self.encoder if tensors[0].device.type == "cpu" else copy.deepcopy(self.encoder).cpu()
                )
                self._made = _Made(cached_graph(on_cpu), tensors, _changes(tensors), os.getpid())
            if self._made.process != os.getpid():
                self._made = _Made(self._made.graph, self._made.tensors, self._made.changes, os.getpid())
            if threads not in self._made.sessions:
                self._made.sessions[threads] = sessions.new(self._made.graph, threads)
            return self._made.sessions[threads]

    def __call__(self, log_mel: Tensor) -> Tensor:
        if log_mel.device.type != "cpu":
            warnings.warn(
                f"backend='onnxruntime' computes on the CPU, the audio is on {log_mel.device}: "
                "use backend='auto' there",
                stacklevel=2,
            )
        segments = log_mel.detach().cpu().contiguous().numpy()
        (h,) = self.session().run(None, {"log_mel": segments})
        return torch.from_numpy(h).to(log_mel.device)


@dataclass(frozen=True)
class _Made:
    """A graph, the tensors it was made from, and the sessions of one process by number of threads."""

    graph: bytes
    tensors: list[Tensor]
    changes: int
    process: int
    sessions: dict[int, Any] = field(default_factory=dict)


def _changes(tensors: list[Tensor]) -> int:
    """How often these tensors were written to; loading other weights into a module counts."""
    return sum(0 if tensor.is_inference() else tensor._version for tensor in tensors)


class FastestEncoder(OnnxEncoder):
    """ONNX Runtime where it suits, else the encoder itself.

    It suits float32 on the CPU without gradients: no half precision, no autocast, nothing that traces or
    compiles the model. If onnxruntime cannot be used, torch computes. If a graph fails, there is a warning.
    """

    def __init__(self, encoder: Encoder | Features) -> None:
        super().__init__(encoder)
        self._first = next(encoder.parameters())
        self._usable = all(map(importlib.util.find_spec, ("onnx", "onnxruntime")))

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_first": self._first, "_usable": self._usable}

    def _suits(self, segments: Tensor) -> bool:
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return False
        weight = self._first
        kinds = {(tensor.device.type, tensor.dtype) for tensor in (weight, segments)}
        needs_gradient = torch.is_grad_enabled() and (segments.requires_grad or weight.requires_grad)
        autocast = torch.is_autocast_enabled("cpu")
        return kinds == {("cpu", torch.float32)} and not (needs_gradient or autocast)

    def session(self) -> Any:
        with sessions.lock():  # threads that have waited for a graph that failed do not make it again
            if not self._usable:
                raise RuntimeError("ONNX Runtime failed in another thread")
            try:
                return super().session()
            except Exception as error:
                self._give_up(error)
                raise

    def __call__(self, log_mel: Tensor) -> Tensor:
        if self._usable and self._suits(log_mel):
            try:
                return super().__call__(log_mel)
            except Exception as error:  # of the exporter or of onnxruntime, which have many kinds
                self._give_up(error)
        h: Tensor = self.encoder(log_mel)
        return h.float()

    def _give_up(self, error: Exception) -> None:
        if self._usable:
            self._usable = False
            warnings.warn(
                f"ONNX Runtime cannot be used ({type(error).__name__}: {error}): torch computes instead, "
                "with the same answers, more slowly; backend='torch' chooses that without this warning",
                stacklevel=3,
            )
