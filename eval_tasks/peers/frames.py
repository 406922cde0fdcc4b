"""Where the frames of an audio encoder lie in time, and how a clip is embedded with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIECE_S = 30  # of models that take clips of any length: attention's memory grows with its square


@dataclass(frozen=True)
class FrameGrid:
    """Frame i of a piece of audio sees samples around ``first_middle + i * stride_samples``.

    Attributes:
        stride_samples: from one frame to the next.
        seen_samples: that a frame sees, as far as pieces must overlap for it.
        first_middle: sample in the middle of what frame 0 sees.
        piece_frames: frames that the model gives at most at once.
        layout: how hidden states lie: ``frames`` (clips, frames, size); ``patches`` (clips, tokens, then
            bands times frames, size); ``map`` (clips, size, bands, frames).
        tokens: at the start of ``patches`` that are no part of the picture.
        bands: rows of patches.
    """

    stride_samples: int
    seen_samples: int
    first_middle: float
    piece_frames: int
    layout: str = "frames"
    tokens: int = 0
    bands: int = 1

    @property
    def least_samples(self) -> int:
        """Shorter clips are padded with zeros."""
        return self.seen_samples

    def samples_seen(self, frames: int) -> int:
        """By so many frames."""
        return (frames - 1) * self.stride_samples + self.seen_samples

    def frames_within(self, samples: int) -> int:
        """Frames whose middle does not lie after the end of a clip; at least one."""
        return max(1, int((samples - self.first_middle) // self.stride_samples) + 1)

    def times_ms(self, frames: int, sample_rate: int, device: torch.device) -> Tensor:
        """``(frames,)`` float32, each computed from its index in float64."""
        index = torch.arange(frames, dtype=torch.float64)
        times = (index * self.stride_samples + self.first_middle) * 1000 / sample_rate
        return times.float().to(device)

    def embed(self, audio: Tensor, piece: Callable[[Tensor], Tensor]) -> Tensor:
        """``(clips, samples)`` to ``(clips, frames, size)``, piece by piece, frames evenly spaced throughout.

        Args:
            piece: from ``(clips, samples)``, what ``piece_frames`` see at most and padded with zeros to
                ``least_samples`` if need be, to hidden states.
        """
        frames, parts = self.frames_within(audio.shape[1]), []
        for first in range(0, frames, self.piece_frames):
            count = min(self.piece_frames, frames - first)
            begin = first * self.stride_samples
            samples = audio[:, begin : begin + self.samples_seen(count)]
            samples = F.pad(samples, (0, max(0, self.least_samples - samples.shape[1])))
            parts.append(self.arrange(piece(samples))[:, :count])
        return torch.cat(parts, dim=1)

    def arrange(self, hidden: Tensor) -> Tensor:
        """Hidden states to ``(clips, frames, size)``: the mean over bands, where there are bands."""
        if self.layout == "map":
            return hidden.mean(dim=2).transpose(1, 2)
        if self.layout == "patches":
            return hidden[:, self.tokens :].unflatten(1, (self.bands, -1)).mean(dim=1)
        return hidden


class FramesEncoder(nn.Module):
    """An encoder of audio that embeds a clip piece by piece; a subclass has the network.

    Attributes:
        sample_rate: in Hz.
        grid: where the frames lie in time.
    """

    sample_rate: int
    grid: FrameGrid

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """``(clips, samples)`` to ``(clips, frames, size)``, and times ``(clips, frames)`` in ms."""
        embeddings = self.grid.embed(audio, self.hidden_states)
        times_ms = self.grid.times_ms(embeddings.shape[1], self.sample_rate, audio.device)
        return embeddings, times_ms.expand(len(audio), -1)

    def hidden_states(self, piece: Tensor) -> Tensor:
        """``(clips, samples)``, at most what the model takes at once, to hidden states."""
        raise NotImplementedError

    def measure_size(self) -> None:
        """Set the sizes that the HEAR API asks for, by embedding a moment of silence; ends in ``eval``."""
        with torch.no_grad():
            size = self.eval()(torch.zeros(1, self.grid.stride_samples))[0].shape[-1]
        self.scene_embedding_size = self.timestamp_embedding_size = size


def convolutions_grid(kernels: Sequence[int], strides: Sequence[int], sample_rate: int) -> FrameGrid:
    """The frames that a stack of convolutions over the waveform makes, as in wav2vec 2.0."""
    stride, seen = 1, 1
    for kernel, step in zip(kernels, strides, strict=True):
        seen += (kernel - 1) * stride
        stride *= step
    return FrameGrid(stride, seen, seen / 2, max(1, PIECE_S * sample_rate // stride))


def frame_grid(kind: str, config: Any, extractor: Any) -> FrameGrid:
    """The frames of a model of ``transformers``.

    Args:
        kind: ``config.model_type`` of the model.
        config: of its audio encoder.
        extractor: its feature extractor.

    Raises:
        ValueError: a kind of model whose frames are not understood.
    """
    rate = int(extractor.sampling_rate)
    if kind == "whisper":  # two convolutions, the second with stride 2, over centred spectra
        stride = 2 * extractor.hop_length
        return FrameGrid(stride, stride, 0.0, config.max_source_positions)
    if kind == "audio-spectrogram-transformer":  # 25 ms spectra every 10 ms, cut into patches
        hop, window, patch = rate // 100, rate // 40, config.patch_size
        stride = config.time_stride * hop
        frames = (config.max_length - patch) // config.time_stride + 1
        bands = (config.num_mel_bins - patch) // config.frequency_stride + 1
        seen = (patch - 1) * hop + window
        return FrameGrid(stride, seen, seen / 2, frames, "patches", 2, bands)
    if kind.startswith("clap"):  # a picture of a fixed duration, halved at each stage but the first
        columns = config.spec_size // config.patch_stride[0] // 2 ** (len(config.depths) - 1)
        columns *= config.spec_size // config.num_mel_bins  # stretches of time that lie one above another
        stride = extractor.nb_max_samples // columns
        return FrameGrid(stride, stride, stride / 2, columns, "map")
    if hasattr(config, "conv_stride") and hasattr(config, "conv_kernel"):  # wav2vec 2.0 and its kin
        return convolutions_grid(config.conv_kernel, config.conv_stride, rate)
    raise ValueError(
        f"a model of kind {kind!r}: expected wav2vec 2.0 or its kin (with conv_stride and conv_kernel in the "
        "configuration), whisper, audio-spectrogram-transformer or clap"
    )
