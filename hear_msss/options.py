"""What a user may choose when loading a model; keywords of ``load_model``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any

from hear_msss.device import PRECISIONS
from hear_msss.features import choices

SCENES = ("mean", "mean_max", "frames")
TIMESTAMPS = ("middle", "mean", "middle_mean", "frames")
BACKENDS = ("auto", "torch", "onnxruntime")
# Those that change scene embeddings only, and timestamp embeddings only.
SCENE_OPTIONS = ("scene", "short_clip_windows", "short_clip_band_shift")
TIMESTAMP_OPTIONS = ("hop_ms", "timestamp", "encode_every")
LONGEST_HOP_MS = 3_600_000.0
LONGEST_STEP_MS = 150.0  # between encoded windows of timestamps, unless the hop is longer
MOST_SHORT_CLIP_WINDOWS = 24  # more would see nothing but zeros of most clips
LARGEST_BAND_SHIFT = 16  # a quarter of the bands
LONGEST_INTERPOLATED_MS = 60_000.0  # memory for a clip grows with it, however short the clip is
LARGEST_COUNT = 1_000_000  # of windows, for chunk_size and encode_every


@dataclass(frozen=True)
class Options:
    """Embedding options; ``--model-options`` of heareval passes the same names as JSON.

    Attributes:
        features: which levels are concatenated in an embedding: ``h``, the paper's 512 numbers;
            ``blocks`` (448) and ``log_mel`` (192), alone or concatenated by ``+``;
            ``components``, the principal components of all three, 1152 in the bundled weights
            (see :class:`hear_msss.features.Features`).
        hop_ms: time between two timestamp embeddings, a multiple of 10 ms.
        scene: how frames of h become one scene embedding: ``mean``; ``mean_max`` (both, side by side:
            twice the numbers); ``frames`` (a window's three frames side by side, averaged over the
            windows: three times the numbers, and the order of what happens within a window is kept).
        timestamp: which part of the window around a timestamp stands for it: ``middle`` (the middle
            one of three frames), ``mean`` (of the three), ``middle_mean`` (both, side by side),
            ``frames`` (the three, side by side).
        encode_every: with n, only the window around every n-th timestamp is encoded, which saves most of the
            time; the timestamps between are interpolated linearly. None: as many as fit into 150 ms, which is
            3 with the default hop, and 1 with hops of more than 75 ms.
        short_clip_windows: windows of a scene embedding of a clip that is no longer than about one window
            (1.1 s): so many, 40 ms apart, with the clip in their middle, whose embeddings are averaged. Where
            a word begins then matters less. 1 is the fastest. Longer clips have windows half a window apart.
        short_clip_band_shift: every second window of a clip of at most 1.1 s is shifted along frequency by so
            many mel bands, in turn upwards and downwards, as if the speaker were smaller or larger. Who
            speaks then matters less. 0: no shift. It has no effect with ``short_clip_windows=1``.
        chunk_size: windows in one pass through the encoder; changes memory and speed, not the embeddings. The
            default depends on the device, see :data:`hear_msss.device.CHUNK_SIZES`.
        precision: number format of the convolutions: ``float32``, ``tf32``, ``bf16`` or ``fp16``; the last
            three are for GPUs with fast units for these. ``float32`` is the full float32 on a GPU, too,
            whatever torch's flags for TF32 say. ``tf32`` rounds on CUDA alone, elsewhere it is ``float32``.
            Front end, head and embeddings stay float32.
        whole_clip: a clip goes through the encoder in one pass, as the paper's authors do it, not window by
            window. A timestamp is a frame of h, every 320 ms; ``hop_ms``, ``timestamp``, ``encode_every`` and
            the options of short clips have no effect. A scene is the mean of these frames (``scene`` ``mean``
            or ``mean_max``). Torch computes it; memory grows with the clip.
        backend: what runs the encoder: ``torch``, ``onnxruntime`` (on the CPU only, equal to 1e-4 of the
            largest number), or ``auto``: ONNX Runtime on a CPU where it is installed, torch elsewhere.
    """

    features: str = "h"
    hop_ms: float = 50.0
    scene: str = "mean"
    timestamp: str = "middle"
    encode_every: int | None = None
    short_clip_windows: int = 5
    short_clip_band_shift: int = 2
    chunk_size: int | None = None
    precision: str = "float32"
    whole_clip: bool = False
    backend: str = "auto"

    def __post_init__(self) -> None:
        _one_of("features", self.features, choices())
        _one_of("scene", self.scene, SCENES)
        _one_of("timestamp", self.timestamp, TIMESTAMPS)
        _one_of("backend", self.backend, BACKENDS)
        _one_of("precision", self.precision, PRECISIONS)
        if self.precision not in ("float32", "tf32") and self.backend == "onnxruntime":
            raise ValueError(
                f"precision={self.precision!r}: backend={self.backend!r} computes in float32 only"
            )
        self._check_whole_clip()
        if self.chunk_size is not None:
            _count("chunk_size", self.chunk_size)
        _count("short_clip_windows", self.short_clip_windows, largest=MOST_SHORT_CLIP_WINDOWS)
        _count("short_clip_band_shift", self.short_clip_band_shift, smallest=0, largest=LARGEST_BAND_SHIFT)
        if self.encode_every is not None:
            _count("encode_every", self.encode_every)
        number = isinstance(self.hop_ms, (int, float)) and not isinstance(self.hop_ms, bool)
        if not number or not 0 < self.hop_ms <= LONGEST_HOP_MS:
            raise ValueError(
                f"hop_ms={self.hop_ms!r}: expected milliseconds, above 0 and at most {LONGEST_HOP_MS:g}"
            )
        every = self.timestamps_per_window
        if every > 1 and every * self.hop_ms > LONGEST_INTERPOLATED_MS:
            apart_s, longest_s = every * self.hop_ms / 1000, LONGEST_INTERPOLATED_MS / 1000
            raise ValueError(
                f"encode_every={every} with hop_ms={self.hop_ms:g}: encoded windows would be {apart_s:g} s "
                f"apart; expected at most {longest_s:g} s"
            )

    @property
    def timestamps_per_window(self) -> int:
        """Timestamps from one encoded window to the next: ``encode_every``, or what stands for None."""
        # A hop may come from a calculation that rounds, such as 1000 * 0.05.
        return self.encode_every or max(1, int((LONGEST_STEP_MS + 1e-6) // self.hop_ms))

    def _check_whole_clip(self) -> None:
        if not isinstance(self.whole_clip, bool):
            raise ValueError(f"whole_clip={self.whole_clip!r}: expected true or false")
        if self.whole_clip and (self.scene == "frames" or self.backend == "onnxruntime"):
            raise ValueError(
                f"whole_clip with scene={self.scene!r} and backend={self.backend!r}: expected scene 'mean' "
                "or 'mean_max' and backend 'auto' or 'torch', as there are no windows of one length"
            )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Options:
        """Build from keywords.

        Raises:
            TypeError: an unknown option; names the nearest known ones.
            ValueError: a known option with a value that it cannot have.
        """
        if not isinstance(values, dict):
            raise ValueError(f"options are {values!r}: expected names and values")
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise TypeError(f"unknown option {name!r}: expected one of {known}.{hint}")
        return cls(**values)


def _count(name: str, value: object, smallest: int = 1, largest: int = LARGEST_COUNT) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= largest:
        raise ValueError(f"{name}={value!r}: expected a whole number from {smallest} to {largest}")


def _one_of(name: str, value: object, choices: Collection[str]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}={value!r}: expected one of {list(choices)}")


def add_option_argument(
    parser: argparse.ArgumentParser, about: str = "an option of load_model, e.g. features=h"
) -> None:
    """``--option NAME=VALUE``, whose values :func:`parse_options` reads."""
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help=f"{about}; may be repeated"
    )


def parse_options(pairs: Iterable[str]) -> dict[str, Any]:
    """``["hop_ms=20", "scene=mean_max"]`` to keywords; values are JSON or else plain text.

    Raises:
        ValueError: a pair without ``=``.
    """
    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--option {pair}: expected NAME=VALUE, for example hop_ms=20")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    return options
