"""Export: ``python -m pretrain export RUN --out weights.safetensors``.

Writes the encoder of a run's last checkpoint (its moving average, where the run keeps one) for
``hear_msss.load_model``, with the run's settings, corpus summary, steps, last metrics, the sha256 of
its log, and versions inside. Heads are left out: a later run with init_from learns its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml

from hear_msss.encoder import Encoder
from hear_msss.weights import save_weights
from pretrain.checkpoint import load_checkpoint
from pretrain.runlog import LOG, read_log
from pretrain.settings import Settings
from pretrain.train import CONFIG, CORPUS

ENCODER = "encoder."
AVERAGED = "module.encoder."


def run_info(folder: Path, step: int) -> dict[str, Any]:
    """What the weights say about their making."""
    last = {record["phase"]: record for record in read_log(folder) if record["step"] <= step}
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("hear_msss", "efficientnet_pytorch", "torchaudio"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "settings": yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8")),
        "corpus": json.loads((folder / CORPUS).read_text(encoding="utf-8"))["summary"],
        "steps": step,
        "last": last,
        "log_sha256": hashlib.sha256((folder / LOG).read_bytes()).hexdigest(),
        "versions": versions,
    }


def export(folder: Path, out: Path) -> dict[str, Any]:
    """Write the weights of a run; returns the info that went into them.

    Raises:
        FileNotFoundError: the folder holds no run.
    """
    state = load_checkpoint(folder)
    settings = Settings.from_dict(yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8")))
    tensors, prefix = state["learner"], ENCODER
    if state["average"] is not None:
        tensors, prefix = state["average"], AVERAGED
    encoder = Encoder(settings.model)
    encoder.load_state_dict(
        {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    )
    info = run_info(folder, state["step"])
    save_weights(out, encoder, info)
    return info


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a training run")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="safetensors file to write")


def run(args: argparse.Namespace) -> int:
    info = export(args.run, args.out)
    print(f"{args.out}: {info['steps']} steps, torch {info['versions']['torch']}")
    return 0
