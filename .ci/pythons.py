"""Environment, validator and demo on every Python found here, and a table of it (`make pythons`).

Each gets an environment of its own under build/pythons, by the Makefile's own recipe. It is deleted when its
row is printed, since it takes gigabytes; logs and results stay, and so does an environment that failed.
Arguments, if any, are the Pythons to try. Otherwise these are python3.11 to python3.14 on the path, of pyenv
and of uv.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

VERSIONS = ((3, 11), (3, 12), (3, 13), (3, 14))
BUILD = Path("build/pythons")
ASK = "import sys, sysconfig; print(*sys.version_info[:2], sys.base_prefix, sysconfig.get_platform())"
ASK_TORCH = "import torch; print(torch.__version__)"


def candidates(given: list[str]) -> Iterator[str]:
    if given:
        yield from given
        return
    for major, minor in VERSIONS:
        yield from filter(None, [shutil.which(f"python{major}.{minor}")])
        for folder in (Path.home() / ".pyenv/versions", Path.home() / ".local/share/uv/python"):
            yield from map(str, sorted(folder.glob(f"*{major}.{minor}.*/bin/python{major}.{minor}")))


def pythons(given: list[str]) -> dict[tuple[int, int], str]:
    """Version to the first Python that has it, of those that start."""
    found: dict[tuple[int, int], str] = {}
    for python in candidates(given):
        done = subprocess.run([python, "-c", ASK], capture_output=True, text=True)
        if done.returncode == 0:
            major, minor = map(int, done.stdout.split()[:2])
            if (major, minor) in VERSIONS:
                found.setdefault((major, minor), python)
    return dict(sorted(found.items()))


def scores(out: Path) -> list[str]:
    """The main score of each mini task, as heareval wrote it."""
    found = []
    for file in sorted(out.glob("hear_msss*/predictions/*/*/test.predicted-scores.json")):
        metadata = json.loads((file.parent / "task_metadata.json").read_text())
        metric = metadata["evaluation"][0]
        value = json.loads(file.read_text())["test"][f"test_{metric}"]
        found.append(f"{metadata['task_name']} {value:.3f}")
    return found


def megabytes(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file()) // 10**6


def make(python: str, name: str) -> dict[str, str]:
    """A row of the table."""
    venv, out, log = BUILD / name, BUILD / f"{name}-demo", BUILD / f"{name}.log"
    row = {"Python": name}
    with log.open("w") as output:
        for column, target in (("environment s", "env"), ("demo s", "demo"), ("again s", "demo")):
            command = ["make", target, f"PYTHON={python}", f"VENV={venv}", f"OUT={out}"]
            start = time.monotonic()
            status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode
            row[column] = f"{time.monotonic() - start:.0f}" if status == 0 else f"failed, see {log}"
            if status:
                return row
    torch = subprocess.run([venv / "bin/python", "-c", ASK_TORCH], capture_output=True, text=True)
    row |= {"torch": torch.stdout.strip(), "MB": str(megabytes(venv)), "scores": ", ".join(scores(out))}
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help="name or path of a Python to try")
    parser.add_argument("--keep", action="store_true", help="keep the environments")
    args = parser.parse_args()
    given = args.pythons
    if unknown := [python for python in given if shutil.which(python) is None]:
        parser.error(f"{', '.join(unknown)}: no such program")
    found = pythons(given)
    if not found:
        print("no Python 3.11 to 3.14 found: give paths as arguments", file=sys.stderr)
        return 1
    BUILD.mkdir(parents=True, exist_ok=True)
    columns = ["Python", "torch", "MB", "environment s", "demo s", "again s", "scores"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    failed = False
    for (major, minor), python in found.items():
        row = make(python, f"{major}.{minor}")
        failed |= "scores" not in row
        print(f"| {' | '.join(row.get(column, '') for column in columns)} |", flush=True)
        if "scores" in row and not args.keep:
            shutil.rmtree(BUILD / row["Python"])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
