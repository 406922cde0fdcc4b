"""What runs the encoder at inference: torch with folded batch norm, or ONNX Runtime."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hear_msss.encoder import Encoder
from hear_msss.export import cached_onnx
from hear_msss.features import Features


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

    Called as the encoder is, ``(batch, n_mels, segment_frames)`` to h, and equal to it to 1e-4. The
    graph is exported on first use and kept in the user's cache folder. Segments on another device are
    computed on the CPU all the same and h goes back to them, after a warning. No gradient passes through.

    Args:
        encoder: what is exported, from :func:`fold_batch_norm`, on the CPU.

    Raises:
        ImportError: onnxruntime or onnx is not installed.
    """

    def __init__(self, encoder: Encoder | Features) -> None:
        _import_onnxruntime()
        self.path = cached_onnx(encoder)
        self._session: Any = None
        self._threads = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}  # a session can be neither copied nor pickled

    def session(self) -> Any:
        """The ``onnxruntime.InferenceSession``, made anew when torch's number of threads changed."""
        threads = torch.get_num_threads()
        if self._session is None or threads != self._threads:
            onnxruntime = _import_onnxruntime()
            settings = onnxruntime.SessionOptions()
            settings.intra_op_num_threads = threads
            self._session = onnxruntime.InferenceSession(
                str(self.path), settings, providers=["CPUExecutionProvider"]
            )
            self._threads = threads
        return self._session

    def __call__(self, log_mel: Tensor) -> Tensor:
        if log_mel.device.type != "cpu":
            warnings.warn(
                f"backend='onnxruntime' computes on the CPU, the audio is on {log_mel.device}: "
                "use backend='torch' there",
                stacklevel=2,
            )
        segments = log_mel.detach().cpu().contiguous().numpy()
        (h,) = self.session().run(None, {"log_mel": segments})
        return torch.from_numpy(h).to(log_mel.device)


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "backend='onnxruntime' needs the packages onnxruntime and onnx: "
            "pip install 'hear_msss[onnx]', or use backend='torch'"
        ) from error
    return onnxruntime
