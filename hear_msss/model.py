"""Front end, encoder and options in one module: from clips to embeddings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hear_msss import tf32, whole_clip, windows
from hear_msss.backend import FastestEncoder, OnnxEncoder, fold_batch_norm
from hear_msss.device import PRECISIONS, block_frames, chunk_size
from hear_msss.encoder import TIME_STRIDE, Encoder
from hear_msss.features import Features, Levels
from hear_msss.frontend import FrontEnd
from hear_msss.options import Options


class MSSS(nn.Module):
    """A frozen copy of an encoder, with the attributes that the HEAR API asks for.

    A clip's log-mel is computed once and windows of 96 frames are cut from it; windows of all clips go
    through the encoder ``chunk_size`` at a time, so memory beyond input, log-mel and output does not
    grow with the clips.

    Args:
        encoder: what is frozen.
        options: what an embedding is made of.
        levels: statistics of the encoder's levels, for all ``features`` but ``h``.

    Raises:
        ValueError: ``features`` that need level statistics, and none.

    Attributes:
        sample_rate: of the audio it takes, 16000.
        scene_embedding_size, timestamp_embedding_size: numbers in one embedding.
    """

    def __init__(
        self, encoder: Encoder, options: Options | None = None, levels: Levels | None = None
    ) -> None:
        super().__init__()
        self.config = encoder.config
        self.options = options = options or Options()
        self.encoder: Encoder | Features = fold_batch_norm(encoder)
        self.encoder.network.to(PRECISIONS[options.precision])
        self.in_tf32 = options.precision == "tf32"
        self.dim = encoder.config.embedding_dim
        if options.features != "h":
            if levels is None:
                raise ValueError(
                    f"features={options.features!r} needs the statistics of the levels, which these weights "
                    "do not carry: export the run without --no-levels, or take features='h'"
                )
            self.encoder = Features(self.encoder, options.features, levels)
            self.dim = self.encoder.size
        runs = {"torch": lambda encoder: None, "onnxruntime": OnnxEncoder, "auto": FastestEncoder}
        self.fast_encoder: OnnxEncoder | None = runs[options.backend](self.encoder)
        self.front_end = FrontEnd(encoder.config)
        self.hop_frames = windows.hop_frames(options.hop_ms, encoder.config)
        self.sample_rate = encoder.config.sample_rate
        frames = self.config.segment_frames // TIME_STRIDE
        pooled = {"mean": 1, "middle": 1, "mean_max": 2, "middle_mean": 2, "frames": frames}
        self.scene_embedding_size = self.dim * pooled[options.scene]
        self.timestamp_embedding_size = (
            self.dim * pooled["middle" if options.whole_clip else options.timestamp]
        )
        self.eval()

    def encode(self, segments: Tensor) -> Tensor:
        """Segments ``(batch, n_mels, segment_frames)`` to h, or chosen levels, ``(batch, T', dim)``."""
        encoder = self.encoder if self.fast_encoder is None else self.fast_encoder
        return tf32.call(encoder, segments, self.in_tf32).float()

    def log_mel(self, audio: Tensor) -> Tensor:
        """``(sounds, samples)`` to ``(sounds, n_mels, frames)``; needs little memory but for the result."""
        sounds, samples = audio.shape
        config, frames = self.config, self.config.frames(samples)
        result = audio.new_empty(sounds, config.n_mels, frames)
        at_once = block_frames(audio.device)
        rows = max(1, at_once // frames)
        for row in range(0, sounds, rows):
            for first in range(0, frames, at_once):
                last = min(first + at_once, frames)
                begin = first * config.hop_length
                end = (last - 1) * config.hop_length + config.win_length
                part = audio[row : row + rows, begin:end]
                result[row : row + rows, :, first:last] = tf32.call(self.front_end, part, self.in_tf32)
        return result

    def _pool_windows(
        self,
        log_mel: Tensor,
        starts: np.ndarray,
        shifts: np.ndarray,
        pooling: Callable[[Tensor], Tensor],
        size: int,
    ) -> Tensor:
        """Encode the windows that begin at ``starts`` in every clip: ``(sounds, windows, size)``.

        Each is shifted upwards by its number of mel bands in ``shifts``. ``pooling`` makes ``(n, size)`` of
        ``(n, T', dim)``.
        """
        sounds, count = log_mel.shape[0], len(starts)
        cut = log_mel.unfold(2, self.config.segment_frames, 1)  # a view: (sounds, n_mels, starts, 96)
        first_frames, bands_up = (torch.from_numpy(x).to(log_mel.device) for x in (starts, shifts))
        result = log_mel.new_empty(sounds * count, size)
        at_once = chunk_size(self.options.chunk_size, log_mel.device)
        for begin in range(0, sounds * count, at_once):
            number = torch.arange(begin, min(begin + at_once, sounds * count), device=log_mel.device)
            sound = torch.div(number, count, rounding_mode="floor")
            window = number % count
            bands = shifted_bands(bands_up[window], self.config.n_mels)
            segments = cut[sound[:, None], bands, first_frames[window, None]]
            result[begin : begin + at_once] = pooling(self.encode(segments))
        return result.view(sounds, count, size)

    def timestamp_count(self, samples: int) -> int:
        """Timestamps of a clip of ``samples`` samples."""
        if self.options.whole_clip:
            return whole_clip.frame_count(samples, self.config)
        return windows.timestamp_count(samples, self.hop_frames, self.config)

    def timestamp_embeddings(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """``(sounds, samples)`` to embeddings ``(sounds, timestamps, size)`` and their times in ms.

        Times are float32, ``(sounds, timestamps)``: 0, hop, 2 hop ... up to the end of the clip; of a whole
        clip in one pass, the middles of the frames of h.
        """
        samples = audio.shape[1]
        count = self.timestamp_count(samples)
        if self.options.whole_clip:
            return self.encode_whole(audio)[:, :count], whole_clip.times_like(audio, count, self.config)
        begin, end = self.timestamp_span(0, count)
        embeddings = self.embed_timestamps(F.pad(audio, (-begin, end - samples)), 0, count)
        times = torch.from_numpy(windows.timestamps_ms(0, count, self.hop_frames, self.config)).float()
        return embeddings, times.to(audio.device).expand(audio.shape[0], -1).clone()

    def _timestamp_windows(self, first: int, last: int) -> np.ndarray:
        """Timestamps that get a window of their own; the last one may lie after the last timestamp."""
        every = self.options.timestamps_per_window
        return np.arange(first, last - 1 + every, every)

    def timestamp_starts(self, first: int, last: int) -> np.ndarray:
        """First frames of the windows for these timestamps, in the log-mel of their span."""
        return (self._timestamp_windows(first, last) - first) * self.hop_frames

    def timestamp_span(self, first: int, last: int) -> tuple[int, int]:
        """Samples ``[begin, end)`` that timestamps ``first`` to ``last - 1`` see; zeros outside the clip."""
        return windows.samples_around(self._timestamp_windows(first, last), self.hop_frames, self.config)

    def embed_timestamps(self, audio: Tensor, first: int, last: int) -> Tensor:
        """Embeddings ``(sounds, last - first, size)`` of some of a clip's timestamps.

        Args:
            audio: ``(sounds, end - begin)``, exactly the samples of :meth:`timestamp_span`.
            first, last: numbers of timestamps, ``first`` a multiple of ``options.timestamps_per_window``.
        """
        starts = self.timestamp_starts(first, last)
        unshifted, size = np.zeros_like(starts), self.timestamp_embedding_size
        encoded = self._pool_windows(self.log_mel(audio), starts, unshifted, self._pool_timestamp, size)
        return interpolate(encoded, self.options.timestamps_per_window)[:, : last - first]

    def pool(self, h: Tensor, timestamps: bool) -> Tensor:
        """What :meth:`encode` gives, ``(n, T', dim)``, to an embedding for each window, ``(n, size)``."""
        return self._pool_timestamp(h) if timestamps else self._pool_scene(h)

    def _pool_timestamp(self, h: Tensor) -> Tensor:
        middle, mean = h[:, h.shape[1] // 2], h.mean(dim=1)
        choices = {
            "middle": [middle],
            "mean": [mean],
            "middle_mean": [middle, mean],
            "frames": [h.flatten(1)],
        }
        return torch.cat(choices[self.options.timestamp], dim=-1)

    def encode_whole(self, audio: Tensor) -> Tensor:
        """``(sounds, samples)`` to h, or chosen levels, of whole clips: ``(sounds, frames, dim)``."""
        log_mel = self.log_mel(whole_clip.padded(audio, self.config))
        windows_each = max(1, log_mel.shape[2] // self.config.segment_frames)
        at_once = max(1, chunk_size(self.options.chunk_size, log_mel.device) // windows_each)
        parts = log_mel.split(at_once)
        return torch.cat([tf32.call(self.encoder, part, self.in_tf32).float() for part in parts])

    def scene_embeddings(self, audio: Tensor) -> Tensor:
        """``(sounds, samples)`` to one embedding a clip, ``(sounds, size)``."""
        if self.options.whole_clip:
            h = self.encode_whole(audio)[:, : self.timestamp_count(audio.shape[1])]
            return self.pool(h, timestamps=False)
        chosen = self.scene_windows(audio.shape[1])
        log_mel = self.log_mel(F.pad(audio, (chosen.before, chosen.behind)))
        pooled = self._pool_windows(
            log_mel, chosen.starts, chosen.shifts, self._pool_scene, self.scene_embedding_size
        )
        return self.join_scene(pooled.mean(dim=1), pooled.amax(dim=1))

    def scene_windows(self, samples: int) -> windows.SceneWindows:
        """The windows of a clip of ``samples`` samples."""
        options = self.options
        return windows.scene_windows(
            samples, options.short_clip_windows, options.short_clip_band_shift, self.config
        )

    def join_scene(self, mean: Tensor, largest: Tensor) -> Tensor:
        """Mean and maximum over a clip's windows, ``(sounds, size)`` each, to its scene embedding."""
        if self.options.scene == "mean_max":
            return torch.cat([mean[..., : self.dim], largest[..., self.dim :]], dim=-1)
        return mean

    def _pool_scene(self, h: Tensor) -> Tensor:
        if self.options.scene == "frames":
            return h.flatten(1)
        mean = h.mean(dim=1)
        return mean if self.options.scene == "mean" else torch.cat([mean, h.amax(dim=1)], dim=-1)

    def forward(self, audio: Tensor, timestamps: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Scene embeddings of ``(sounds, samples)``, or timestamp embeddings and times."""
        return self.timestamp_embeddings(audio) if timestamps else self.scene_embeddings(audio)


def shifted_bands(shifts: Tensor, n_mels: int) -> Tensor:
    """The mel bands that windows shifted upwards by ``shifts`` bands consist of: ``(windows, n_mels)``.

    The lowest or highest band stands for those beyond it.
    """
    return (torch.arange(n_mels, device=shifts.device) - shifts[:, None]).clamp(0, n_mels - 1)


def interpolate(embeddings: Tensor, every: int) -> Tensor:
    """``(sounds, n, size)`` to ``(sounds, (n - 1) * every + 1, size)``, linear between neighbours."""
    if every == 1:
        return embeddings
    weight = (torch.arange(every, device=embeddings.device, dtype=embeddings.dtype) / every)[:, None]
    between = torch.lerp(embeddings[:, :-1, None], embeddings[:, 1:, None], weight)
    return torch.cat([between.flatten(1, 2), embeddings[:, -1:]], dim=1)
