"""HEAR module: an encoder in an ONNX file, with a small YAML file of the same name beside it.

``encoder.yaml`` says what ``encoder.onnx`` takes and gives. A graph of whole clips::

    sample_rate: 16000
    input: audio                      # (clips, samples); may be left out where there is one input
    scene: scene_embedding            # output (clips, size); without it, the mean of the timestamps
    timestamps: timestamp_embeddings  # output (clips, timestamps, size); without it, no event tasks
    times_ms: times_ms                # output (clips, timestamps), or else:
    hop_ms: 50                        # from one timestamp to the next
    first_ms: 0                       # time of the first one
    timestamps_file: timestamps.onnx  # where timestamps have a graph of their own

A graph of windows of one length, of which a scene is the mean over windows half a window apart, and each
timestamp the middle of a window::

    sample_rate: 16000
    window_samples: 15600             # input (windows, 15600)
    scene: embedding                  # output (windows, size)
    hop_ms: 50

``python -m eval_tasks run --module eval_tasks.peers.onnx --model encoder.onnx --tasks tasks --out results``
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from eval_tasks.peers.windows import (
    CHUNK_WINDOWS,
    centred_windows,
    covering_windows,
    hop_samples,
    times_ms,
)


@dataclass(frozen=True)
class Description:
    """The keys of the YAML file, see the module's text; ``""`` and 0 for what is left out."""

    sample_rate: int
    input: str = ""
    scene: str = ""
    timestamps: str = ""
    times_ms: str = ""
    hop_ms: float = 0.0
    first_ms: float = 0.0
    window_samples: int = 0
    timestamps_file: str = ""

    @classmethod
    def read(cls, file: Path) -> Description:
        """
        Raises:
            FileNotFoundError: no such file.
            ValueError: an unknown key, a value of another kind, or keys that do not fit together.
        """
        import yaml

        if not file.is_file():
            raise FileNotFoundError(f"{file}: expected this file beside the ONNX file, saying what it takes")
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ValueError(f"{file} is no YAML: {error}") from None
        kinds = {field.name: type(field.default) for field in fields(cls)} | {"sample_rate": int}
        if not isinstance(content, dict) or "sample_rate" not in content or not set(content) <= set(kinds):
            raise ValueError(f"{file}: expected sample_rate and some of {', '.join(kinds)}")
        for key, value in content.items():
            fits = isinstance(value, (int, float)) if kinds[key] is float else type(value) is kinds[key]
            if not fits or isinstance(value, bool):
                raise ValueError(f"{file}: {key} is {value!r}, expected {kinds[key].__name__}")
        found = cls(**content)
        if problem := found.problem:
            raise ValueError(f"{file}: {problem}")
        return found

    @property
    def problem(self) -> str:
        if self.sample_rate <= 0 or self.window_samples < 0:
            return "expected a sample_rate above 0, and window_samples not below 0"
        if self.window_samples:
            if not self.scene or self.timestamps or self.times_ms or self.hop_ms <= 0:
                return "with window_samples, expected scene and hop_ms, and no timestamps or times_ms"
        elif not self.scene and not self.timestamps:
            return "expected the name of an output as scene or as timestamps"
        elif self.timestamps and bool(self.times_ms) == bool(self.hop_ms > 0):
            return "with timestamps, expected either times_ms or hop_ms"
        return ""


class Graph:
    """An ONNX file; its session runs on the CPU with torch's number of threads."""

    def __init__(self, file: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(f"{error}: this peer needs `pip install onnxruntime`") from error
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.file = file
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.inputs = [node.name for node in self.session.get_inputs()]
        self.outputs = [node.name for node in self.session.get_outputs()]

    def run(self, audio: Tensor, name: str, outputs: list[str]) -> list[Tensor]:
        """
        Raises:
            ValueError: names that the graph does not have.
        """
        name = name or (self.inputs[0] if len(self.inputs) == 1 else "")
        if name not in self.inputs or not set(outputs) <= set(self.outputs):
            raise ValueError(
                f"{self.file} has the inputs {self.inputs} and the outputs {self.outputs}: expected "
                f"{name!r} and {outputs} among them; name them in the YAML file"
            )
        found = self.session.run(outputs, {name: audio.detach().float().cpu().contiguous().numpy()})
        return [torch.from_numpy(np.asarray(array)).float().to(audio.device) for array in found]


class OnnxModel(nn.Module):
    """
    Args:
        file: the ONNX file.

    Raises:
        FileNotFoundError: no such file, or no YAML file beside it.
        ImportError: onnxruntime is not installed.
        ValueError: a description that does not fit the graph.
    """

    def __init__(self, file: str) -> None:
        super().__init__()
        path = Path(file)
        self.description = spec = Description.read(path.with_suffix(".yaml"))
        self.graph = Graph(path)
        self.other = Graph(path.parent / spec.timestamps_file) if spec.timestamps_file else self.graph
        self.sample_rate = spec.sample_rate
        if spec.window_samples:
            hop_samples(spec.hop_ms, spec.sample_rate)
        silence = torch.zeros(1, spec.sample_rate)
        self.scene_embedding_size = self.scenes(silence).shape[-1]
        with_times = spec.timestamps or spec.window_samples
        self.timestamp_embedding_size = (
            self.timestamps(silence)[0].shape[-1] if with_times else self.scene_embedding_size
        )

    def scenes(self, audio: Tensor) -> Tensor:
        """``(clips, samples)`` to ``(clips, size)``."""
        spec = self.description
        if spec.window_samples:
            return self._windows(covering_windows(audio, spec.window_samples)).mean(dim=1)
        if not spec.scene:
            return self.timestamps(audio)[0].mean(dim=1)
        return expect(self.graph.run(audio, spec.input, [spec.scene])[0], 2, spec.scene)

    def timestamps(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """``(clips, samples)`` to ``(clips, timestamps, size)`` and times ``(clips, timestamps)`` in ms."""
        spec = self.description
        if spec.window_samples:
            hop = hop_samples(spec.hop_ms, spec.sample_rate)
            embeddings = self._windows(centred_windows(audio, spec.window_samples, hop))
            return embeddings, times_ms(embeddings.shape[1], spec.hop_ms, len(audio), audio.device)
        if not spec.timestamps:
            raise ValueError(
                f"{self.graph.file} has no timestamps: name their output as `timestamps` in the YAML file, "
                "or leave out the event tasks"
            )
        if spec.times_ms:
            embeddings, times = self.other.run(audio, spec.input, [spec.timestamps, spec.times_ms])
            return expect(embeddings, 3, spec.timestamps), expect(times, 2, spec.times_ms)
        embeddings = expect(self.other.run(audio, spec.input, [spec.timestamps])[0], 3, spec.timestamps)
        times = times_ms(embeddings.shape[1], spec.hop_ms, len(audio), audio.device, spec.first_ms)
        return embeddings, times

    def _windows(self, windows: Tensor) -> Tensor:
        spec = self.description
        parts = [
            expect(self.graph.run(part, spec.input, [spec.scene])[0], 2, spec.scene)
            for part in windows.flatten(0, 1).split(CHUNK_WINDOWS)
        ]
        return torch.cat(parts).unflatten(0, windows.shape[:2])


def expect(output: Tensor, dimensions: int, name: str) -> Tensor:
    """
    Raises:
        ValueError: an output of other dimensions.
    """
    if output.ndim != dimensions:
        raise ValueError(f"output {name} is {tuple(output.shape)}: expected {dimensions} dimensions")
    return output


def load_model(model_file_path: str = "") -> OnnxModel:
    """``model_file_path`` is the ONNX file.

    Raises:
        ValueError: it is not given.
    """
    if not model_file_path:
        raise ValueError("no ONNX file: give its path, --model encoder.onnx")
    return OnnxModel(model_file_path).eval()


def get_timestamp_embeddings(audio: Tensor, model: OnnxModel) -> tuple[Tensor, Tensor]:
    """``(clips, samples)`` to embeddings ``(clips, timestamps, size)`` and their times in ms."""
    return model.timestamps(audio)


def get_scene_embeddings(audio: Tensor, model: OnnxModel) -> Tensor:
    """``(clips, samples)`` to ``(clips, size)``."""
    return model.scenes(audio)
