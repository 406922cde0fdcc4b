"""``python -m hear_msss export``: the encoder, or the whole way from waveform to embeddings, as ONNX."""

from __future__ import annotations

import argparse
from pathlib import Path

from hear_msss.api import load_model
from hear_msss.graphs.modules import GRAPHS, export_graph
from hear_msss.options import add_option_argument, parse_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    width = max(map(len, GRAPHS))
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "what:\n" + "\n".join(f"  {name:<{width}}  {about}" for name, about in GRAPHS.items())
    parser.add_argument("--out", type=Path, required=True, help="file to write, for example scene.onnx")
    parser.add_argument(
        "--what", choices=list(GRAPHS), default="scene", help="see below (default: %(default)s)"
    )
    parser.add_argument("--model", default="", help="weights file or name (default: the bundled weights)")
    add_option_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    model = load_model(arguments.model, **{**parse_options(arguments.option), "backend": "torch"})
    difference = export_graph(model, arguments.what, arguments.out)
    print(f"{arguments.out}: {GRAPHS[arguments.what]}; largest difference to torch {difference:.1g}")
    return 0
