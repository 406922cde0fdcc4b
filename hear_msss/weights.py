"""Weights files: safetensors with the configuration inside. Loading never unpickles."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hear_msss.config import ModelConfig
from hear_msss.encoder import Encoder
from hear_msss.features import Levels, measure_levels
from hear_msss.files import replacing
from hear_msss.frontend import FrontEnd

FORMAT = "hear_msss-1"
DEFAULT = "msss"  # the bundled weights that load_model() takes
UNTRAINED = "untrained"
SEED = 2021
LEVEL_TENSORS = {"level_mean": "mean", "level_std": "std", "components": "components"}  # names in the file


@dataclass(frozen=True)
class Weights:
    """What a weights file holds.

    Attributes:
        encoder: in eval mode, float32, on the CPU.
        levels: statistics of the encoder's levels; None where the weights were exported without.
        info: what they were trained on, steps, versions; ``info["options"]`` are embedding options.
    """

    encoder: Encoder
    levels: Levels | None
    info: dict[str, Any]


def bundled() -> dict[str, Path]:
    """Names and paths of the weights that come with the package."""
    folder = Path(str(files("hear_msss"))) / "bundled"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def save_weights(path: str | Path, weights: Weights, dtype: torch.dtype = torch.float32) -> None:
    """Write weights with their configuration; the file appears under its name when it is whole.

    Args:
        path: file to make, usually ``*.safetensors``; its folder is made if need be.
        weights: what is saved; their info is anything that JSON can hold.
        dtype: of matrices and kernels on disk; float16 halves the file. Vectors, among them the running
            variances of batch norm, whose range float16 does not have, stay float32.
    """
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() and tensor.dim() > 1 else tensor)
        .cpu()
        .contiguous()
        for name, tensor in _tensors(weights).items()
    }
    metadata = {
        "format": FORMAT,
        "config": json.dumps(weights.encoder.config.to_dict()),
        "info": json.dumps(weights.info),
    }
    with replacing(Path(path)) as temporary:
        save_file(tensors, temporary, metadata=metadata)
        temporary.chmod(0o644)  # safetensors leaves the file readable by its owner only


def find_weights(name_or_path: str | Path) -> Path:
    """The file that a bundled name or a path stands for.

    Raises:
        FileNotFoundError: neither a bundled name nor a file.
    """
    known = bundled()
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    path = Path(name_or_path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no weights {str(name_or_path)!r}: expected the path of a safetensors file made by "
            f"`python -m pretrain export`, or one of the names {[*known, UNTRAINED]}"
        )
    return path


def load_weights(name_or_path: str | Path) -> Weights:
    """What a weights file holds.

    Raises:
        FileNotFoundError: no such file or bundled name.
        ValueError: the file is truncated, no safetensors file, not made by this project, or its
            tensors do not fit its configuration.
    """
    path = find_weights(name_or_path)
    try:
        with safe_open(path, framework="pt") as archive:
            metadata = archive.metadata() or {}
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as safetensors ({error}): the file is truncated or of another "
            "kind; expected one made by `python -m pretrain export`"
        ) from error
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} is a safetensors file of another origin (format {metadata.get('format')!r}): "
            f"expected {FORMAT!r}, as `python -m pretrain export` writes it"
        )
    encoder = Encoder(ModelConfig.from_dict(json.loads(metadata["config"])))
    levels = _fill(encoder, tensors, path)
    return Weights(encoder.eval(), levels, json.loads(metadata["info"]))


def _tensors(weights: Weights) -> dict[str, Tensor]:
    tensors = dict(weights.encoder.state_dict())
    if weights.levels is not None:
        tensors |= {name: getattr(weights.levels, field) for name, field in LEVEL_TENSORS.items()}
    return tensors


def _fill(encoder: Encoder, tensors: dict[str, Tensor], path: Path) -> Levels | None:
    """Load tensors of a file into an encoder; those of the levels are returned."""
    wanted = {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    with_levels = any(name in tensors for name in LEVEL_TENSORS)
    if with_levels:
        shapes = Levels.shapes(encoder.config)
        wanted |= {name: shapes[field] for name, field in LEVEL_TENSORS.items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        raise ValueError(
            f"{path} does not fit the encoder of its own configuration: {len(wrong)} tensors missing, "
            f"left over or of another shape, the first {wrong[:3]}; export the run again"
        )
    levels = None
    if with_levels:
        levels = Levels(**{field: tensors.pop(name).float() for name, field in LEVEL_TENSORS.items()})
    encoder.load_state_dict(tensors)
    return levels


def untrained_encoder(config: ModelConfig | None = None, seed: int = SEED) -> Encoder:
    """The encoder of :func:`untrained_weights`."""
    return untrained_weights(config, seed).encoder


def untrained_weights(config: ModelConfig | None = None, seed: int = SEED) -> Weights:
    """Seeded initial weights with calibrated batch norm, and levels measured on the same sounds.

    Fresh running statistics (mean 0, variance 1) let the signal die out on its way through sixteen
    blocks; here they are those of a seeded batch of synthetic sounds, so that an untrained encoder is
    an honest floor. The state of torch's random generators is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(config, drop_connect_rate=0.0)
        sounds = _calibration_sounds(encoder.config)
        norms = [m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = None  # cumulative: after one batch, exactly its statistics
        log_mel = FrontEnd(encoder.config)(sounds)
        with torch.no_grad():
            encoder.train()(log_mel)
        levels = measure_levels(encoder.eval(), log_mel)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return Weights(encoder, levels, {})


def _calibration_sounds(config: ModelConfig, count: int = 48) -> Tensor:
    """``(count, segment_samples)``: harmonic tones and noise in turn, over pitches and levels."""
    time_s = torch.arange(config.segment_samples) / config.sample_rate
    pitch_hz = 80.0 * 2 ** (torch.rand(count, 1) * 5)
    harmonics = torch.arange(1, 9).view(8, 1, 1)
    tones = (torch.sin(2 * torch.pi * harmonics * pitch_hz * time_s) / harmonics).sum(0)
    noise = torch.randn(count, config.segment_samples)
    envelope = torch.exp(-time_s * 8 * torch.rand(count, 1))
    level = 10 ** (-2.5 * torch.rand(count, 1))
    is_tone = (torch.arange(count) % 2 == 0)[:, None]
    return torch.where(is_tone, tones, noise) * envelope * level / 4


def fingerprint(path: str | Path) -> str:
    """sha256 of a weights file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
