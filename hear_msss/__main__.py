"""The command line: ``python -m hear_msss`` or ``hear-msss``.

hear-msss embed recordings/ --out embeddings/                     one embedding a file, .npy
hear-msss embed talk.mp3 --out out/ --timestamps --format h5      one every 50 ms
hear-msss info                                                    weights, options, sizes
hear-msss export --what scene --out scene.onnx                    waveform to embedding for ONNX Runtime

embed reads any sound file, at any rate and with any number of channels; an hour needs hardly more memory than
a minute. A second run makes only files that are missing, whose source changed, or that were made with other
weights or options; OUT/embeddings.jsonl records what each was made from. Bad files are named at the end, and
the exit status is 1.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from importlib import import_module

from hear_msss.graphs import WrongGraph
from hear_msss.version import __version__

# verb: the module that does it, with add_arguments(parser) and run(arguments) -> exit code; what it does.
# Only the module of the verb that is wanted is imported: help needs no torch.
VERBS = {
    "embed": ("hear_msss.cli.embed", "sound files to embedding files"),
    "info": ("hear_msss.cli.info", "weights, configuration, options and sizes of a model"),
    "export": (
        "hear_msss.cli.export",
        "the encoder, or the way from waveform to embedding, as an ONNX file",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):  # names that are not UTF-8 are shown with their bytes
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(
        "hear-msss", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"hear_msss {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    wanted = next((argument for argument in argv if argument in VERBS), "")
    for name, (module, about) in VERBS.items():
        verb = verbs.add_parser(name, help=about, description=about)
        if name == wanted:
            does = import_module(module)
            does.add_arguments(verb)
            verb.set_defaults(run=does.run)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except (OSError, ValueError, TypeError, ImportError, WrongGraph) as error:
        print(f"hear-msss: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hear-msss: interrupted; repeat the command to continue", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
