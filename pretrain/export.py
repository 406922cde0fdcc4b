"""Export: ``python -m pretrain export RUN --out weights.safetensors``.

Writes the encoder of a run's last checkpoint (its moving average, if the run keeps one) for
``hear_msss.load_model``. The file also stores the run's settings, corpus summary, steps, last metrics, the
sha256 of its log, versions, and what is known of the weights that it started from. Heads are left out: a
later run with init_from learns its own.

The file stores load_model's default options as well. They are those of the bundled weights; --option changes
one of them. With --plain, the default is plain h, the paper's embedding.

The statistics by which hear_msss standardises its levels (features) are measured on segments of the
run's corpus; --corpus says where it is now, --no-levels leaves them out.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from hear_msss.encoder import Encoder
from hear_msss.features import Levels, measure_levels
from hear_msss.frontend import FrontEnd
from hear_msss.options import Options, add_option_argument, parse_options
from hear_msss.weights import DEFAULT, Weights, bundled, load_weights, save_weights
from pretrain.checkpoint import load_checkpoint
from pretrain.corpus.open import open_source
from pretrain.origin import read_origin
from pretrain.run_folder import noted_location, read_corpus, read_settings
from pretrain.runlog import LOG, read_log
from pretrain.settings import Settings
from pretrain.views import INT16_SCALE

ENCODER = "encoder."
AVERAGED = "module.encoder."
LEVEL_SEGMENTS = 2048
LEVEL_BATCH = 64


def run_info(folder: Path, step: int) -> dict[str, Any]:
    """What the weights say about their making."""
    last = {record["phase"]: record for record in read_log(folder) if record["step"] <= step}
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("hear_msss", "efficientnet_pytorch", "torchaudio"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    origin = read_origin(folder)
    settings = read_settings(folder).to_dict()
    if settings["init_from"]:  # the name will do: weights are given away, folders are not
        settings["init_from"] = Path(settings["init_from"]).name
    return {
        "settings": settings,
        "corpus": read_corpus(folder)["summary"],
        "steps": step,
        "last": last,
        "log_sha256": hashlib.sha256((folder / LOG).read_bytes()).hexdigest(),
        "versions": versions,
    } | ({"init": origin} if origin else {})


def product_options(levels: bool) -> dict[str, Any]:
    """The embedding options of the bundled weights, without ``features`` for weights without levels."""
    if DEFAULT not in bundled():
        return {}
    options = dict(load_weights(DEFAULT).info.get("options", {}))
    if not levels:
        options.pop("features", None)
    return options


def measure_on_corpus(encoder: Encoder, settings: Settings, location: str) -> Levels:
    """Statistics of an encoder's levels over segments drawn as in training."""
    front_end = FrontEnd(encoder.config)
    batches = open_source(location, settings.corpus_weights or None).batches(
        batch_size=LEVEL_BATCH, segment_samples=encoder.config.segment_samples, seed=settings.seed
    )
    log_mel = [
        front_end(next(batches)[0].float() * INT16_SCALE) for _ in range(LEVEL_SEGMENTS // LEVEL_BATCH)
    ]
    return measure_levels(encoder.eval(), torch.cat(log_mel))


def export(
    folder: Path,
    out: Path,
    corpus: str | None = None,
    levels: bool = True,
    options: dict[str, Any] | None = None,
    half: bool = False,
) -> dict[str, Any]:
    """Write the weights of a run; returns the info that went into them.

    Args:
        folder: of the run.
        out: file to write.
        corpus: where the run's corpus is now, if not where it was.
        levels: measure the statistics of the levels, which takes some 2000 segments.
        options: embedding options that ``load_model`` takes for defaults with these weights; None: those
            of the bundled weights.
        half: store matrices and kernels as float16.

    Raises:
        FileNotFoundError: the folder holds no run, or the corpus is not there.
        TypeError, ValueError: options that do not exist or cannot have such a value.
    """
    if options is None:
        options = product_options(levels)
    Options.from_dict(options)
    state = load_checkpoint(folder)
    settings = read_settings(folder)
    tensors, prefix = state["learner"], ENCODER
    if state["average"] is not None:
        tensors, prefix = state["average"], AVERAGED
    encoder = Encoder(settings.model)
    encoder.load_state_dict(
        {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    )
    measured = None
    if levels:
        measured = measure_on_corpus(encoder, settings, corpus or noted_location(folder))
    info = run_info(folder, state["step"])
    if options:
        info["options"] = options
    save_weights(out, Weights(encoder, measured, info), torch.float16 if half else torch.float32)
    return info


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a training run")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="safetensors file to write")
    add_option_argument(parser, "an option that load_model takes for default with these weights")
    parser.add_argument(
        "--plain", action="store_true", help="begin without the options of the bundled weights: plain h"
    )
    parser.add_argument("--half", action="store_true", help="matrices in float16: half the size")
    parser.add_argument("--corpus", help="the run's corpus, if it is not where it was")
    parser.add_argument("--no-levels", action="store_true", help="no statistics of the levels: plain h only")


def run(args: argparse.Namespace) -> int:
    levels = not args.no_levels
    options = ({} if args.plain else product_options(levels)) | parse_options(args.option)
    try:
        info = export(args.run, args.out, args.corpus, levels, options, args.half)
    except TypeError as error:
        raise ValueError(str(error)) from error
    chosen = ", ".join(f"{name}={value}" for name, value in options.items()) or "plain h"
    print(f"{args.out}: {info['steps']} steps, torch {info['versions']['torch']}; embeddings: {chosen}")
    return 0
