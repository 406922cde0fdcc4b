"""HEAR module: any audio encoder that Hugging Face ``transformers`` loads, by name or folder.

``pip install 'hear_msss[peers]'``. wav2vec 2.0, HuBERT, WavLM, Data2Vec, Whisper's encoder, the Audio
Spectrogram Transformer (AST), CLAP's audio tower, and encoders built like these:

  python -m eval_tasks run --module eval_tasks.peers.transformers --tasks tasks --out results \\
      --model-options '{"name": "facebook/hubert-base-ls960", "layer": "mean"}'

The model's own feature extractor prepares the audio. Times are those of the model's own frames: the middle
of what a frame sees. Clips longer than the model takes at once are embedded piece by piece, cut so that
frames stay evenly spaced.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eval_tasks.peers.frames import FramesEncoder, frame_grid


class TransformersEncoder(FramesEncoder):
    """
    Args:
        name: on the Hugging Face hub, or a folder with ``config.json`` and ``preprocessor_config.json``.
        layer: which hidden layer is the embedding, 0 for the input of the first one, -1 for the last; or
            ``"mean"``, the mean of all.
        random: initial weights, seeded, instead of trained ones: for speed, or as a floor.

    Raises:
        ImportError: transformers is not installed.
        OSError: no such model, or a folder without what is needed.
        ValueError: a layer that the model does not have, or a model whose frames are not understood.
    """

    def __init__(self, name: str, layer: int | str, random: bool) -> None:
        super().__init__()
        try:
            from transformers import AutoConfig, AutoFeatureExtractor, AutoModel
        except ImportError as error:
            raise ImportError(f"{error}: this peer needs `pip install 'hear_msss[peers]'`") from error
        self.extractor = AutoFeatureExtractor.from_pretrained(name)
        if random:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                whole = AutoModel.from_config(AutoConfig.from_pretrained(name))
        else:
            whole = AutoModel.from_pretrained(name)
        self.network = audio_part(whole)
        self.kind = whole.config.model_type
        self.sample_rate = int(self.extractor.sampling_rate)
        self.grid = frame_grid(self.kind, self.network.config, self.extractor)
        self.layer = layer
        self.measure_size()

    def hidden_states(self, piece: Tensor) -> Tensor:
        clips = list(piece.float().cpu().numpy())
        options = {"padding": "pad"} if self.kind.startswith("clap") else {}
        inputs = self.extractor(clips, sampling_rate=self.sample_rate, return_tensors="pt", **options)
        inputs = {name: value.to(piece.device) for name, value in inputs.items() if name != "attention_mask"}
        output = self.network(**inputs, output_hidden_states=True, return_dict=True)
        return self._chosen(output)

    def _chosen(self, output: Any) -> Tensor:
        layers = output.hidden_states
        alike = layers is not None and len({layer.shape[-1] for layer in layers}) == 1
        if self.layer == -1:
            return output.last_hidden_state
        if not alike:
            raise ValueError(
                f"layer={self.layer!r}: the layers of {self.kind} differ in size; expected -1, the last"
            )
        if self.layer == "mean":
            return torch.stack(layers).mean(dim=0)
        if isinstance(self.layer, int) and -len(layers) <= self.layer < len(layers):
            return layers[self.layer]
        raise ValueError(
            f"layer={self.layer!r}: expected 'mean' or a number from {-len(layers)} to {len(layers) - 1}"
        )


def audio_part(model: Any) -> nn.Module:
    """The encoder of audio in a model that may hold a decoder or an encoder of text as well."""
    if hasattr(model, "audio_model"):  # CLAP
        return model.audio_model
    if getattr(model.config, "is_encoder_decoder", False):  # Whisper
        return model.get_encoder()
    return model


def load_model(
    model_file_path: str = "", name: str = "", layer: int | str = -1, random: bool = False
) -> TransformersEncoder:
    """``name``, or the HEAR API's ``model_file_path``, is a folder or a name on the hub.

    Raises:
        ValueError: neither is given, or both are.
    """
    if bool(model_file_path) == bool(name):
        raise ValueError(
            f"name={name!r} and model_file_path={model_file_path!r}: expected one of them, a model's name on "
            "the Hugging Face hub or its folder, for example --model-options "
            '\'{"name": "openai/whisper-tiny"}\''
        )
    return TransformersEncoder(name or model_file_path, layer, random).eval()


def get_timestamp_embeddings(audio: Tensor, model: TransformersEncoder) -> tuple[Tensor, Tensor]:
    """``(clips, samples)`` to embeddings ``(clips, frames, size)`` and times ``(clips, frames)`` in ms."""
    return model(audio)


def get_scene_embeddings(audio: Tensor, model: TransformersEncoder) -> Tensor:
    """``(clips, samples)`` to ``(clips, size)``: the mean over a clip's frames."""
    return model(audio)[0].mean(dim=1)
