"""The command line: ``python -m hear_msss`` or ``hear-msss``.

hear-msss embed recordings/ --out embeddings/                     one embedding a file, .npy
hear-msss embed talk.mp3 --out out/ --timestamps --format h5      one every 50 ms
hear-msss info                                                    weights, options, sizes
hear-msss export --out encoder.onnx                               the encoder for ONNX Runtime

embed reads any sound file, at any rate and with any number of channels; an hour needs no more
memory than a minute. Run again, it makes only what is missing or was made with other weights or options;
OUT/embeddings.jsonl says what was made from what. Bad files are named at the end, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hear_msss.cli import embed, info
from hear_msss.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "hear-msss", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"hear_msss {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, add_arguments, run, about in (
        ("embed", embed.add_arguments, embed.run, "sound files to embedding files"),
        ("info", info.add_arguments, info.run, "weights, configuration, options and sizes of a model"),
        ("export", _export_arguments, _export, "write the encoder as an ONNX file"),
    ):
        verb = verbs.add_parser(name, help=about, description=about)
        add_arguments(verb)
        verb.set_defaults(run=run)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except (OSError, ValueError, TypeError, ImportError) as error:
        print(f"hear-msss: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hear-msss: interrupted; repeat the command to continue", file=sys.stderr)
        return 130


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="file to write, for example encoder.onnx")
    parser.add_argument("--model", default="", help="weights file or name (default: the bundled weights)")


def _export(arguments: argparse.Namespace) -> int:
    from hear_msss.api import load_model
    from hear_msss.export import export_onnx

    difference = export_onnx(load_model(arguments.model).encoder, arguments.out)
    print(
        f"{arguments.out}: log_mel (batch, 64, 96) to h (batch, 3, 512), "
        f"largest difference to torch {difference:.1g}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
