"""``hear-msss info``: what a model is, on one screen; with ``--full`` all that its weights store."""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from hear_msss import __version__
from hear_msss.api import load_model
from hear_msss.graphs.cache import cache_folder, encoder_sha256
from hear_msss.options import add_option_argument, parse_options
from hear_msss.weights import DEFAULT, UNTRAINED, bundled, find_weights, fingerprint, load_weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="", help="weights file or name (default: the bundled weights)")
    add_option_argument(parser)
    parser.add_argument("--full", action="store_true", help="also configuration and training settings")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def describe(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Weights, configuration, options, sizes and versions of a model as plain data."""
    model = load_model(name, **options)
    name = name or (DEFAULT if DEFAULT in bundled() else UNTRAINED)
    weights: dict[str, Any] = {"name": name}
    if name != UNTRAINED:
        path = find_weights(name)
        weights |= {"file": str(path), "bytes": path.stat().st_size, "sha256": fingerprint(path)}
        weights["info"] = load_weights(name).info
    return {
        "weights": weights,
        "bundled": list(bundled()),
        "configuration": model.config.to_dict(),
        "options": model.options.to_dict(),
        "sizes": {
            "parameters": sum(p.numel() for p in model.parameters()),
            "scene_embedding": model.scene_embedding_size,
            "timestamp_embedding": model.timestamp_embedding_size,
            "segment_ms": 1000 * model.config.segment_samples / model.sample_rate,
        },
        "encoder_sha256": encoder_sha256(model.encoder),
        "onnx_cache": str(cache_folder()),
        "versions": {
            "hear_msss": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            **{package: _version(package) for package in ("onnxruntime", "soundfile", "soxr")},
        },
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def run(arguments: argparse.Namespace) -> int:
    description = describe(arguments.model, parse_options(arguments.option))
    if arguments.json:
        print(json.dumps(description, indent=2))
    else:
        print("\n".join(_lines(description if arguments.full else summary(description))))
    return 0


def summary(description: dict[str, Any]) -> dict[str, Any]:
    """The part of a description that most readers want: about 25 lines."""
    weights = dict(description["weights"])
    stored = weights.pop("info", {})
    if training := _training(stored):
        weights["training"] = training
    kept = {key: value for key, value in description.items() if key not in ("weights", "configuration")}
    return {"weights": weights, **kept, "more": "hear-msss info --full"}


def _training(stored: dict[str, Any]) -> str:
    """Steps, corpus and origin of weights in one line; '' where the file does not say them."""
    corpus, origin = stored.get("corpus", {}), stored.get("init") or {}
    parts = []
    if "steps" in stored:
        parts.append(f"{stored['steps']} steps")
    if "hours" in corpus:
        parts.append(f"corpus of {corpus['hours']:.1f} h")
    while origin:
        parts.append(f"started from {origin.get('name', 'other weights')} ({origin.get('steps', '?')} steps)")
        origin = origin.get("init") or {}
    return ", ".join(parts)


def _lines(data: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in data.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {value}")
    return lines
