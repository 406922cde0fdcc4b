"""What users export: parts of a model, or all of it from waveform to embeddings, in one traceable module.

The modules here compute the numbers and places of windows with tensors, so that the graph takes clips of
any length. A graph encodes all windows of its input at once: its memory grows with the clips.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from hear_msss.features import Features
from hear_msss.files import replacing
from hear_msss.frontend import FrontEnd
from hear_msss.graphs.onnx_export import check_graph, to_onnx
from hear_msss.model import MSSS, interpolate, shifted_bands
from hear_msss.windows import SCENE_REST, scene_hop_frames, short_clip_hop_frames

GRAPHS = {
    "h": "log_mel (batch, 64, 96) to h (batch, 3, 512), the paper's embedding, whatever the options say",
    "embedding": "log_mel (batch, 64, 96) to embedding (batch, 3, size), the levels of the option features",
    "scene": "audio (sounds, samples) at 16 kHz to scene_embedding (sounds, size)",
    "timestamps": "audio (sounds, samples) at 16 kHz to timestamp_embeddings (sounds, timestamps, size) and "
    "times_ms (sounds, timestamps)",
}


def count_up(count: Tensor) -> Tensor:
    """0 to ``count - 1``; a tensor, as a number would become a constant of the graph."""
    return torch.arange(count)  # type: ignore[call-overload, no-any-return]


class TraceableLogMel(nn.Module):
    """The front end as one convolution with windowed sines and cosines, as ONNX has no handy FFT.

    A power spectrum does not depend on where in the zero-padded frame the window lies.
    """

    basis: Tensor
    filters: Tensor

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        config = self.config = front_end.config
        sample = torch.arange(config.win_length, dtype=torch.float64)
        frequency = torch.arange(config.n_fft // 2 + 1, dtype=torch.float64)
        phase = 2 * torch.pi * torch.outer(frequency, sample) / config.n_fft
        basis = torch.cat([torch.cos(phase), torch.sin(phase)]) * front_end.window.double()
        self.register_buffer("basis", basis.float()[:, None])
        self.register_buffer("filters", front_end.filters)

    def forward(self, audio: Tensor) -> Tensor:
        """``(sounds, samples)`` to ``(sounds, n_mels, frames)``."""
        parts = nn.functional.conv1d(audio[:, None], self.basis, stride=self.config.hop_length)
        real, imaginary = parts.square().chunk(2, dim=1)
        return torch.log(self.filters @ (real + imaginary) + self.config.log_offset)


class _FromAudio(nn.Module):
    def __init__(self, model: MSSS) -> None:
        super().__init__()
        self.model, self.config = model, model.config
        self.log_mel = TraceableLogMel(model.front_end)

    def encode(self, audio: Tensor, starts: Tensor, shifts: Tensor) -> Tensor:
        """Windows that begin at frames ``starts`` of every clip: ``(sounds * windows, T', dim)``.

        Each is shifted upwards by its number of mel bands in ``shifts``.
        """
        frames = starts[:, None] + torch.arange(self.config.segment_frames)
        bands = shifted_bands(shifts, self.config.n_mels)
        windows = self.log_mel(audio)[:, bands[:, :, None], frames[:, None]]  # (sounds, windows, n_mels, 96)
        h: Tensor = self.model.encoder(windows.flatten(0, 1))
        return h

    def zeros(self, audio: Tensor, samples: int) -> Tensor:
        return audio.new_zeros(audio.shape[0], samples)


class SceneGraph(_FromAudio):
    """``(sounds, samples)`` to what :func:`hear_msss.get_scene_embeddings` returns."""

    def forward(self, audio: Tensor) -> Tensor:
        before, behind, starts, shifts = self.windows(torch.as_tensor(audio.shape[1]))
        most = self.zeros(audio, self.most_zeros)
        padded = torch.cat([most, audio, most], dim=1)
        padded = padded[:, self.most_zeros - before : self.most_zeros + audio.shape[1] + behind]
        pooled = self.model._pool_scene(self.encode(padded, starts, shifts))
        pooled = pooled.reshape(audio.shape[0], -1, self.model.scene_embedding_size)
        return self.model.join_scene(pooled.mean(dim=1), pooled.amax(dim=1))

    @property
    def most_samples(self) -> int:
        """What the windows of a short clip see."""
        others = (self.model.options.short_clip_windows - 1) * short_clip_hop_frames(self.config)
        return self.config.segment_samples + others * self.config.hop_length

    @property
    def most_zeros(self) -> int:
        """Before or after a clip."""
        return (self.most_samples + 1) // 2

    def windows(self, samples: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """:func:`hear_msss.windows.scene_windows` in tensors: zeros before and behind, starts, shifts."""
        short_windows, hop = self.model.options.short_clip_windows, scene_hop_frames(self.config)
        short_hop = short_clip_hop_frames(self.config)
        short = self.spare_frames(samples) <= SCENE_REST * hop
        missing = torch.where(short, (self.most_samples - samples).clamp(min=0), 0)
        spare = self.spare_frames(samples + missing)
        long_windows = 1 + (spare.double() / hop - SCENE_REST).ceil().long().clamp(min=1)
        number = count_up(torch.where(short, short_windows, long_windows))
        first = (spare - (short_windows - 1) * short_hop) // 2
        evenly = (number.double() * (spare.double() / (long_windows - 1).double())).round().long()
        starts = torch.where(short, first + number * short_hop, evenly)
        in_turn = torch.tensor([0, 1, 0, -1])[number % 4] * self.model.options.short_clip_band_shift
        shifts = torch.where(short, in_turn, 0)
        return missing // 2, missing - missing // 2, starts, shifts

    def spare_frames(self, samples: Tensor) -> Tensor:
        """Frames of a clip beyond one window; below 0 for a shorter clip."""
        config = self.config
        frames = (samples - config.win_length) // config.hop_length + 1
        return frames - config.segment_frames


class TimestampsGraph(_FromAudio):
    """``(sounds, samples)`` to what :func:`hear_msss.get_timestamp_embeddings` returns."""

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        model, config, every = self.model, self.config, self.model.options.timestamps_per_window
        hop_samples, half = model.hop_frames * config.hop_length, config.segment_samples // 2
        last = torch.as_tensor(audio.shape[1]) // hop_samples
        behind = self.zeros(audio, config.segment_samples - half + every * hop_samples)
        padded = torch.cat([self.zeros(audio, half), audio, behind], dim=1)
        starts = count_up((last + every - 1) // every + 1) * (every * model.hop_frames)
        pooled = model._pool_timestamp(self.encode(padded, starts, torch.zeros_like(starts)))
        pooled = pooled.reshape(audio.shape[0], -1, model.timestamp_embedding_size)
        embeddings = interpolate(pooled, every)[:, : last + 1]
        times_ms = count_up(last + 1).double() * (1000 * hop_samples) / config.sample_rate
        return embeddings, times_ms.float().expand(audio.shape[0], -1)


def export_graph(model: MSSS, what: str, path: str | Path) -> float:
    """Write a part of a model, or all of it, as an ONNX file that gives torch's answers.

    The file appears under its name when it is whole and its answers are right.

    Args:
        model: from :func:`hear_msss.load_model`, on the CPU, in float32.
        what: one of :data:`GRAPHS`.
        path: file to make; its folder is made if need be.

    Returns:
        The largest difference to torch, relative to the largest value where that is above 1.

    Raises:
        ValueError: ``what`` is none of :data:`GRAPHS`, or a model with ``whole_clip`` or in half precision.
        ImportError: onnx or onnxruntime is not installed.
        WrongGraph: the graph differs from torch by more than rounding.
    """
    if what not in GRAPHS:
        raise ValueError(f"what={what!r}: expected one of {list(GRAPHS)}")
    if model.options.whole_clip:
        raise ValueError("whole_clip: a graph is of windows; export the model without this option")
    if model.options.precision not in ("float32", "tf32"):
        raise ValueError(
            f"precision={model.options.precision!r}: a graph computes in float32; export the model with "
            "precision='float32'"
        )
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 40_000, generator=generator, dtype=torch.float32, device="cpu") / 10
    module: nn.Module
    if what in ("scene", "timestamps"):
        module = SceneGraph(model) if what == "scene" else TimestampsGraph(model)
        names = ["scene_embedding"] if what == "scene" else ["timestamp_embeddings", "times_ms"]
        inputs, input_name = [noise[:1, :3_000], noise], "audio"
        axes = {"audio": ["sounds", "samples"], "scene_embedding": ["sounds"]}
        axes |= {name: ["sounds", "timestamps"] for name in names[-2:] if what == "timestamps"}
    else:
        module = model.encoder
        if what == "h" and isinstance(module, Features):
            module = module.encoder
        log_mel = model.log_mel(noise[:, : model.config.segment_samples])
        inputs, names, input_name = [log_mel[:1], log_mel], [what], "log_mel"
        axes = {"log_mel": ["batch"], what: ["batch"]}
    axes = {name: axes[name] for name in (input_name, *names)}
    with torch.no_grad():
        graph = to_onnx(module.eval(), inputs[-1], input_name, names, axes)
    difference = check_graph(module, graph, inputs)
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(graph)
    return difference
