"""``python -m pretrain VERB``: from a folder of sounds to weights."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys

VERBS = {
    "pool": ("pretrain.pool", "collect free audio from Debian packages and public repositories"),
    "pack": ("pretrain.corpus.pack", "make a corpus of audio files"),
    "info": ("pretrain.corpus.info", "say what is in a corpus"),
    "overlap": ("pretrain.corpus.overlap", "find clips that are also in evaluation sets"),
    "train": ("pretrain.train", "train on a corpus, or resume"),
    "export": ("pretrain.export", "write a run's encoder as weights for hear_msss"),
    "plot": ("pretrain.plot", "draw a run's curves"),
}


def main(argv: list[str] | None = None) -> int:
    """Run a verb; 2 where the input is wrong or training diverged, otherwise the verb's own exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):  # names that are not UTF-8 are shown with their bytes
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(
        prog="python -m pretrain",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="MSSS pretraining: from a folder of sounds to weights.",
        epilog="verbs:\n"
        + "\n".join(f"  {verb:8}{about}" for verb, (_, about) in VERBS.items())
        + "\n\n`python -m pretrain VERB --help` explains each in full.",
    )
    parser.add_argument("verb", choices=VERBS, metavar="VERB")
    verb = parser.parse_args(argv[:1]).verb
    # Read by torch at its first large tensor: huge pages, since touching new small ones takes part of a step.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    verb_parser = argparse.ArgumentParser(prog=f"python -m pretrain {verb}")
    try:
        # Imported only now: `info --help` need not wait for torch, nor `train` for the pool's tools.
        module = importlib.import_module(VERBS[verb][0])
        module.add_arguments(verb_parser)
        args = verb_parser.parse_args(argv[1:])
        return module.run(args)
    except ImportError as error:
        package = (error.name or "pretrain").partition(".")[0]
        if package in ("hear_msss", "pretrain") and isinstance(error, ModuleNotFoundError):
            raise
        missing = f"needs the package {package}: pip install 'hear_msss[pretrain]'"
        what = missing if isinstance(error, ModuleNotFoundError) else error
        print(f"python -m pretrain {verb}: {what}", file=sys.stderr)
        return 2
    except (ValueError, OSError, FloatingPointError) as error:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        print(f"python -m pretrain {verb}: {error}{notes}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"python -m pretrain {verb}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
