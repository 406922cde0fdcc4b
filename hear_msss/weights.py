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
from safetensors.torch import save
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
TENSOR_TYPES = ("F32", "F16", "I64")  # as safetensors names them
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
        temporary.write_bytes(_with_sorted_header(save(tensors, metadata)))


def _with_sorted_header(data: bytes) -> bytes:
    """A safetensors file whose header is sorted: the same weights give the same file each time."""
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


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
        ValueError: the file is truncated, no safetensors file, not made by this project, its records are
            missing or damaged, its tensors do not fit its configuration, or it holds NaN.
    """
    path = find_weights(name_or_path)
    try:
        with safe_open(path, framework="pt") as archive:
            metadata = archive.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(
                    f"{path} is a safetensors file of another origin (format {metadata.get('format')!r}): "
                    f"expected {FORMAT!r}, as `python -m pretrain export` writes it"
                )
            config = ModelConfig.from_dict(_record(metadata, "config", path))
            info = _record(metadata, "info", path)
            levels = _check_shapes(archive, config, path)
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as safetensors ({error}): the file is truncated or of another "
            "kind; expected one made by `python -m pretrain export`"
        ) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"{path}: {name} holds NaN or infinite numbers: the run diverged, or the file is damaged"
            )
    encoder = Encoder(config)
    held = None
    if levels:
        held = Levels(**{field: tensors.pop(name).float() for name, field in LEVEL_TENSORS.items()})
        if not bool((held.std > 0).all()):
            raise ValueError(f"{path}: level_std holds a deviation of 0 or less: the file is damaged")
    encoder.load_state_dict(tensors)
    return Weights(encoder.eval(), held, info)


def _record(metadata: dict[str, str], name: str, path: Path) -> dict[str, Any]:
    """A record of the file's metadata."""
    try:
        record = json.loads(metadata[name])
    except KeyError:
        raise ValueError(f"{path} lacks the record {name!r}: export the run again") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: its record {name!r} is not valid JSON ({error}): export the run again"
        ) from error
    if not isinstance(record, dict):
        raise ValueError(
            f"{path}: its record {name!r} is a {type(record).__name__}: expected names and values"
        )
    return record


def _check_shapes(archive: Any, config: ModelConfig, path: Path) -> bool:
    """Compare the shapes in a file with its configuration, before any memory is taken.

    Returns:
        Whether the file holds level statistics.

    Raises:
        ValueError: tensors that are missing, left over or of another shape or type.
    """
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in Encoder(config).state_dict().items()}
    found, types = {}, {}
    for name in archive.keys():  # noqa: SIM118
        part = archive.get_slice(name)
        found[name], types[name] = tuple(part.get_shape()), part.get_dtype()
    levels = any(name in found for name in LEVEL_TENSORS)
    if levels:
        components = found.get("components", ())
        count = components[1] if len(components) == 2 else 1  # as many as the file has
        shapes = Levels.shapes(config, max(1, count))
        wanted |= {name: shapes[field] for name, field in LEVEL_TENSORS.items()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    wrong += sorted(name for name, kind in types.items() if kind not in TENSOR_TYPES and name not in wrong)
    if wrong:
        raise ValueError(
            f"{path} does not fit the encoder of its own configuration: {len(wrong)} tensors missing, "
            f"left over or of another shape or type, the first {wrong[:3]}; export the run again"
        )
    return levels


def _tensors(weights: Weights) -> dict[str, Tensor]:
    tensors = dict(weights.encoder.state_dict())
    if weights.levels is not None:
        tensors |= {name: getattr(weights.levels, field) for name, field in LEVEL_TENSORS.items()}
    return tensors


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
