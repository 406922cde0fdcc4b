"""HEAR module: an encoder of ``torchaudio.pipelines``: wav2vec 2.0, HuBERT, WavLM, XLS-R and VoxPopuli.

``pip install torchaudio``. ``name`` is that of a bundle:

  python -m eval_tasks run --module eval_tasks.peers.torchaudio --tasks tasks --out results \\
      --model-options '{"name": "HUBERT_BASE", "layer": "mean"}'

torchaudio downloads the weights. ``--model FILE`` takes the same file from the disk, and
``"random": true`` needs none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eval_tasks.peers.frames import FramesEncoder, convolutions_grid


class TorchaudioEncoder(FramesEncoder):
    """
    Args:
        name: of a bundle in ``torchaudio.pipelines``.
        weights: file of the bundle's weights; torchaudio's own download if empty.
        layer: which layer's output is the embedding, 0 for the first one, -1 for the last; or ``"mean"``, the
            mean of all.
        random: initial weights, seeded, instead of trained ones: for speed, or as a floor.

    Raises:
        ImportError: torchaudio is not installed.
        FileNotFoundError: no such weights.
        ValueError: no such bundle, or a layer that the model does not have.
    """

    def __init__(self, name: str, weights: str, layer: int | str, random: bool) -> None:
        super().__init__()
        try:
            from torchaudio import pipelines
        except ImportError as error:
            raise ImportError(f"{error}: this peer needs `pip install torchaudio`") from error
        bundle = getattr(pipelines, name, None)
        if not isinstance(bundle, pipelines.Wav2Vec2Bundle):
            known = sorted(k for k, v in vars(pipelines).items() if isinstance(v, pipelines.Wav2Vec2Bundle))
            raise ValueError(f"name={name!r}: expected one of {', '.join(known)}")
        self.network = random_network(bundle) if random else trained_network(bundle, weights)
        self.sample_rate = int(bundle.sample_rate)
        # Some are wrapped to normalise the waveform.
        inner: Any = getattr(self.network, "model", self.network)
        convolutions = inner.feature_extractor.conv_layers
        kernels, strides = zip(*((layer.kernel_size, layer.stride) for layer in convolutions), strict=True)
        self.grid = convolutions_grid(kernels, strides, self.sample_rate)
        self.layer = layer
        self.measure_size()

    def hidden_states(self, piece: Tensor) -> Tensor:
        network: Any = self.network
        layers, _ = network.extract_features(piece.float())
        if self.layer == "mean":
            return torch.stack(layers).mean(dim=0)
        if isinstance(self.layer, int) and -len(layers) <= self.layer < len(layers):
            chosen: Tensor = layers[self.layer]
            return chosen
        raise ValueError(
            f"layer={self.layer!r}: expected 'mean' or a number from {-len(layers)} to {len(layers) - 1}"
        )


def trained_network(bundle: Any, weights: str) -> nn.Module:
    """The bundle's own model, with weights from a file, or else from torchaudio's address for them."""
    options: dict[str, Any] = {"weights_only": True}
    if weights:
        file = Path(weights).absolute()
        if not file.is_file():  # torch would download it to this place
            raise FileNotFoundError(f"{weights}: no such file")
        options |= {"model_dir": str(file.parent), "file_name": file.name}
    network: nn.Module = bundle.get_model(dl_kwargs=options)
    return network


def random_network(bundle: Any) -> nn.Module:
    """The bundle's architecture, which torchaudio shows no public way to, with seeded initial weights."""
    from torchaudio.models import wav2vec2_model, wavlm_model

    make = {"Wav2Vec2": wav2vec2_model, "WavLM": wavlm_model}[bundle._model_type]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = make(**bundle._params)
    return network


def load_model(
    model_file_path: str = "", name: str = "HUBERT_BASE", layer: int | str = -1, random: bool = False
) -> TorchaudioEncoder:
    """``model_file_path`` are the bundle's weights, where they are not to be downloaded."""
    return TorchaudioEncoder(name, model_file_path, layer, random).eval()


def get_timestamp_embeddings(audio: Tensor, model: TorchaudioEncoder) -> tuple[Tensor, Tensor]:
    """``(clips, samples)`` to embeddings ``(clips, frames, size)`` and times ``(clips, frames)`` in ms."""
    return model(audio)


def get_scene_embeddings(audio: Tensor, model: TorchaudioEncoder) -> Tensor:
    """``(clips, samples)`` to ``(clips, size)``: the mean over a clip's frames."""
    return model(audio)[0].mean(dim=1)
