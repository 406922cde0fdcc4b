"""The numbers that define a model: they travel inside every weights file."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, fields
from typing import Any

# A configuration may come from a file: these bound the memory that it can ask for.
LARGEST = {
    **{"sample_rate": 192_000, "n_fft": 65_536, "win_length": 65_536, "hop_length": 65_536},
    **{"n_mels": 512, "segment_frames": 4096, "embedding_dim": 8192},
}


@dataclass(frozen=True)
class ModelConfig:
    """Front end and encoder of MSSS (paper, section 3.2), in one flat record.

    The FFT is longer than the 25 ms window (zero-padded): with 512 points the lowest of 64 mel
    filters from 60 Hz are about one bin wide, with 1024 two.

    Attributes:
        sample_rate: samples per second of the mono input.
        n_fft: FFT length in samples, at least ``win_length``.
        win_length: Hann window length in samples (25 ms).
        hop_length: frame hop in samples (10 ms).
        n_mels: mel bands N, HTK scale, triangles of height 1.
        f_min_hz, f_max_hz: lower edge of the first and upper edge of the last mel band.
        log_offset: added to the mel power before the natural logarithm.
        log_mel_mean, log_mel_std: the encoder sees ``(log_mel - mean) / std``; about those of a mixed
            pool of speech, effects and music.
        segment_frames: T, frames of one segment (960 ms).
        embedding_dim: d, channels of h.
        frequency_pooling: the last feature map over frequency: ``average`` (the paper) or ``maximum``.
        normalize_h: LayerNorm and tanh follow the fully connected layer (the paper); otherwise h is
            that layer's plain output, and the heads of pretraining begin with LayerNorm and tanh.
    """

    sample_rate: int = 16000
    n_fft: int = 1024
    win_length: int = 400
    hop_length: int = 160
    n_mels: int = 64
    f_min_hz: float = 60.0
    f_max_hz: float = 7800.0
    log_offset: float = 1e-5
    log_mel_mean: float = -4.5
    log_mel_std: float = 5.0
    segment_frames: int = 96
    embedding_dim: int = 512
    frequency_pooling: str = "average"
    normalize_h: bool = True

    def __post_init__(self) -> None:
        self._check_types()
        for name, largest in LARGEST.items():
            if not 1 <= getattr(self, name) <= largest:
                raise ValueError(f"{name}={getattr(self, name)}: expected 1 to {largest}")
        for name in ("log_offset", "log_mel_std"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)}: expected a number above 0")
        if self.n_fft < self.win_length or (self.n_fft - self.win_length) % 2:
            raise ValueError(
                f"n_fft={self.n_fft} does not fit win_length={self.win_length}: give an n_fft that is "
                "at least as long and differs by an even number of samples"
            )
        if self.n_mels % 32 or self.segment_frames % 32:
            raise ValueError(
                f"n_mels={self.n_mels} and segment_frames={self.segment_frames} must be multiples of "
                "32, the encoder's stride"
            )
        if self.frequency_pooling not in ("average", "maximum"):
            raise ValueError(f"frequency_pooling={self.frequency_pooling!r}: expected 'average' or 'maximum'")
        if not 0 <= self.f_min_hz < self.f_max_hz <= self.sample_rate / 2:
            raise ValueError(
                f"mel range {self.f_min_hz} to {self.f_max_hz} Hz: expected "
                f"0 <= f_min_hz < f_max_hz <= {self.sample_rate / 2} (half of sample_rate)"
            )

    def _check_types(self) -> None:
        for field in fields(self):
            value, default = getattr(self, field.name), field.default
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            fits = (
                number and abs(value) <= sys.float_info.max  # which neither NaN nor an endless integer is
                if isinstance(default, float)
                else type(value) is type(default)
            )
            if not fits:
                kind = type(default).__name__
                raise ValueError(f"{field.name}={value!r}: expected a value of type {kind}, as {default!r}")

    @property
    def segment_samples(self) -> int:
        """Samples that give exactly ``segment_frames`` frames (15,600 by default)."""
        return (self.segment_frames - 1) * self.hop_length + self.win_length

    def frames(self, samples: int) -> int:
        """Frames that ``samples`` samples give without any padding at the ends."""
        return max(0, (samples - self.win_length) // self.hop_length + 1)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Build from a plain dict.

        Raises:
            ValueError: a key that is no field of the configuration.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown model settings {unknown}: expected some of {sorted(known)}")
        return cls(**values)
