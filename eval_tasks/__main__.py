"""The HEAR suite, from raw data to a leaderboard row.

python -m eval_tasks <verb> --help    explains a verb in full
"""

from __future__ import annotations

import argparse
import io
import sys
from importlib import import_module

from eval_tasks.errors import MACHINE_ERRORS, UserError

# verb: the module that does it, with add_arguments(parser) and run(args) -> exit status; what it does
VERBS = {
    "install": (
        "eval_tasks.install.install",
        "bring the unmodified harness into this environment, or check it",
    ),
    "list": ("eval_tasks.tasks.list", "the 19 HEAR tasks, and which of them are here"),
    "download": ("eval_tasks.tasks.download", "fetch published tasks, or unpack archives on disk"),
    "prepare": ("eval_tasks.adapters.prepare", "make a task folder from raw data or from a CSV file"),
    "resample": ("eval_tasks.tasks.resample", "add a sample rate to task folders"),
    "check": ("eval_tasks.tasks.check", "find what would break a run, file by file"),
    "run": ("eval_tasks.runs.run", "embeddings and scores by the unmodified HEAR runners"),
    "probe": ("eval_tasks.probe.probe", "scores by the paper's own downstream protocol"),
    "report": ("eval_tasks.report.report", "tables, plots and a page from finished runs"),
    "paper": ("eval_tasks.report.paper", "the paper's Tables 1 and 2 from your own runs"),
    "submit": ("eval_tasks.report.submit", "what a leaderboard entry needs, in one folder"),
    "demo": ("eval_tasks.mini.demo", "validator, the mini tasks, one table of scores"),
}

CLUSTERS = {"dask": "distributed", "distributed": "distributed", "ray": "ray"}  # packages of run's --backend


def usage() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {what}" for verb, (_, what) in VERBS.items())
    return f"{__doc__}\nverbs:\n{verbs}\n"


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):  # names that are not UTF-8 are shown with their bytes
        sys.stdout.reconfigure(errors="backslashreplace")
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    verb, rest = argv[0], argv[1:]
    if verb not in VERBS:
        print(f"error: no verb {verb!r}: expected one of {', '.join(VERBS)}", file=sys.stderr)
        return 2
    try:
        module = import_module(VERBS[verb][0])
        parser = argparse.ArgumentParser(
            prog=f"python -m eval_tasks {verb}",
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(parser)
        return module.run(parser.parse_args(rest))
    except ModuleNotFoundError as error:
        package = (error.name or "eval_tasks").partition(".")[0]
        if package in ("eval_tasks", "hear_msss"):
            raise
        where = CLUSTERS.get(package, "'hear_msss[eval]'")
        print(f"error: {verb} needs the package {package}: pip install {where}", file=sys.stderr)
        return 1
    except ImportError as error:
        # An installed package does not start, as pandas does not with an old numpy.
        if (error.name or "").partition(".")[0] in ("eval_tasks", "hear_msss"):
            raise
        check = "`python -m eval_tasks install --check` says which packages do not fit"
        print(
            f"error: {verb} cannot import what it needs: {str(error).rstrip('.')}; {check}", file=sys.stderr
        )
        return 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        goes_on = "; the same command continues where this one stopped"
        print(f"error: {error}{goes_on if error.errno in MACHINE_ERRORS else ''}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command continues where this one stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
