"""HEAR module: YAMNet, Google's network of sound events (AudioSet), from its TensorFlow Lite file.

``pip install ai-edge-litert``. The weights are not in this package; the file of the whole network from
waveform to scores, ``yamnet.tflite`` with 15,600 samples as input, is in many public repositories:

  python -m eval_tasks run --module eval_tasks.peers.yamnet --model yamnet.tflite --tasks tasks --out results

The embedding is the layer before the scores, 1,024 numbers for 0.975 s. A scene is the mean over windows half
a window apart, as YAMNet itself cuts a sound; timestamps have a window each.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from eval_tasks.peers.windows import centred_windows, covering_windows, hop_samples, times_ms

WINDOW_SAMPLES = 15_600
EMBEDDING = "global_average_pooling2d/Mean"  # how the name of the layer's tensor ends
SIZE = 1024


class Yamnet(nn.Module):
    """
    Args:
        file: ``yamnet.tflite``.
        hop_ms: from one timestamp to the next.

    Raises:
        ImportError: ai-edge-litert is not installed.
        FileNotFoundError: no such file.
        ValueError: another network than YAMNet from the waveform on, or a hop that is no whole number of
            samples.
    """

    sample_rate = 16000
    scene_embedding_size = timestamp_embedding_size = SIZE

    def __init__(self, file: str, hop_ms: float) -> None:
        super().__init__()
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ImportError(f"{error}: this peer needs `pip install ai-edge-litert`") from error
        if not Path(file).is_file():
            raise FileNotFoundError(f"{file!r}: no such file; expected yamnet.tflite, see this module's text")
        self.hop_ms = hop_ms
        hop_samples(hop_ms, self.sample_rate)
        with warnings.catch_warnings():  # that keeping the embedding's tensor takes memory
            warnings.simplefilter("ignore")
            self.network = Interpreter(file, num_threads=1, experimental_preserve_all_tensors=True)
        self.network.allocate_tensors()
        self.input = self.network.get_input_details()[0]
        found = [t for t in self.network.get_tensor_details() if t["name"].endswith(EMBEDDING)]
        shapes = tuple(self.input["shape"]), *(tuple(tensor["shape"]) for tensor in found)
        if shapes not in (((1, WINDOW_SAMPLES), (1, SIZE)), ((WINDOW_SAMPLES,), (1, SIZE))):
            raise ValueError(
                f"{file}: input and embedding of the shapes {shapes}; expected YAMNet with an input of "
                f"{WINDOW_SAMPLES} samples and a tensor {EMBEDDING} of {SIZE} numbers"
            )
        self.output = found[0]["index"]

    def forward(self, windows: Tensor) -> Tensor:
        """``(clips, steps, 15600)`` to ``(clips, steps, 1024)``, window by window, on the CPU."""
        rows = []
        for window in windows.detach().float().cpu().flatten(0, 1):
            self.network.set_tensor(self.input["index"], window.numpy().reshape(self.input["shape"]))
            self.network.invoke()
            rows.append(torch.from_numpy(self.network.get_tensor(self.output)[0].copy()))
        return torch.stack(rows).unflatten(0, windows.shape[:2]).to(windows.device)


def load_model(model_file_path: str = "", hop_ms: float = 50.0) -> Yamnet:
    """``model_file_path`` is ``yamnet.tflite``."""
    return Yamnet(model_file_path, hop_ms).eval()


def get_timestamp_embeddings(audio: Tensor, model: Yamnet) -> tuple[Tensor, Tensor]:
    """``(clips, samples)`` to embeddings ``(clips, steps, 1024)`` and times ``(clips, steps)`` in ms."""
    hop = hop_samples(model.hop_ms, model.sample_rate)
    embeddings = model(centred_windows(audio, WINDOW_SAMPLES, hop))
    return embeddings, times_ms(embeddings.shape[1], model.hop_ms, len(audio), audio.device)


def get_scene_embeddings(audio: Tensor, model: Yamnet) -> Tensor:
    """``(clips, samples)`` to ``(clips, 1024)``: the mean over windows."""
    return model(covering_windows(audio, WINDOW_SAMPLES)).mean(dim=1)
