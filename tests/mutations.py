"""Deliberate defects that the tests must notice: ``python tests/mutations.py [--trust] [WORD ...]``.

The defects are listed in ``tests/defects/*.yaml``. Each is one line of code changed. The repository is
copied; one defect at a time is put into the copy, and the tests named with it run there. A defect whose tests
stay green survives. The script prints a line for each defect, with the test that noticed it, and then the
totals; the exit status is 1 if a defect survives that the lists do not mark as a known survivor. With words,
only defects whose name or file has one of them are tried. First the tests run without a defect, and must be
green; ``--trust`` leaves that out.

Run on demand, not with the suite: each defect costs a run of its tests. Processes are forked from one that
has imported the libraries, so that a run costs little more than the tests themselves.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
LISTS = ROOT / "tests" / "defects"
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", ".*_cache")
OWN = ("hear_msss", "pretrain", "eval_tasks", "benchmarks", "tests")
LONGEST_S = 600  # a defect may make a loop endless: it is noticed, too
GREEN, RED = 0, 1  # of pytest's exit codes; others mean that the tests did not run as they should


class Defect(NamedTuple):
    """``old`` stands once in ``file``; with ``new`` in its place, ``tests`` must fail.

    ``survives`` is the reason why no test can notice it, or ''.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str
    survives: str = ""


def defects() -> list[Defect]:
    """All defects of the lists, in order."""
    found = []
    for path in sorted(LISTS.glob("*.yaml")):
        for file, listed in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            for entry in listed["defects"]:
                found.append(Defect(**{"file": file, "tests": listed["tests"], **entry}))
    return found


def with_defect(defect: Defect, text: str) -> str:
    """The text of the defect's file with the defect in it.

    Raises:
        ValueError: the line is not there, or more than once.
    """
    if text.count(defect.old) != 1:
        times = text.count(defect.old)
        raise ValueError(
            f"{defect.name}: {defect.old!r} stands {times} times in {defect.file}, expected once"
        )
    return text.replace(defect.old, defect.new)


def libraries() -> set[str]:
    """Modules of others that the code and the tests import."""
    found = set()
    for path in (path for folder in OWN for path in (ROOT / folder).rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
    helpers = {path.stem for path in (ROOT / "tests").rglob("*.py")}
    return {name for name in found if name.split(".")[0] not in helpers.union(OWN)}


def end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def run_tests(tests: Iterable[str], copy: Path, log: Path) -> int:
    """Run tests in the copy, in a forked process; pytest's exit code, or RED where it takes too long."""
    shutil.rmtree(log.parent / "cache", ignore_errors=True)  # no graph of another encoder
    child = os.fork()
    if not child:
        code = 99
        with contextlib.suppress(BaseException):
            os.setsid()
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(copy)
            sys.path.insert(0, str(copy))
            sys.dont_write_bytecode = True
            os.environ["PYTHONPATH"] = str(copy)
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            code = int(pytest.main(["-x", "-q", "-o", f"cache_dir={log.parent / 'cache'}", *tests]))
            sys.stdout.flush()
        os._exit(code)
    end = time.monotonic() + LONGEST_S
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return RED


def failed_test(log: Path) -> str:
    """Name of the first test that failed, from pytest's output."""
    match = re.search(r"^(?:FAILED|ERROR) \S+::(\S+)", log.read_text(errors="replace"), re.MULTILINE)
    return match[1] if match else "took too long"


def try_defect(defect: Defect, copy: Path, log: Path) -> str:
    """``survives``, or the name of the test that noticed the defect.

    Raises:
        ValueError: the line is not in its file once, or the tests cannot run with the defect in it.
    """
    path = copy / defect.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(with_defect(defect, whole), encoding="utf-8")
    try:
        code = run_tests(defect.tests.split(), copy, log)
    finally:
        path.write_text(whole, encoding="utf-8")
    if code not in (GREEN, RED):
        raise ValueError(
            f"{defect.name}: pytest ended with {code}:\n{log.read_text(errors='replace')[-2000:]}"
        )
    return "survives" if code == GREEN else failed_test(log)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="try defects whose name or file has it")
    parser.add_argument("--trust", action="store_true", help="do not run the tests without a defect first")
    args = parser.parse_args(arguments)
    words = args.words
    chosen = [d for d in defects() if not words or any(word in d.name + d.file for word in words)]
    if not chosen:
        parser.error(f"no defect has any of {', '.join(words)} in its name or file")
    os.nice(10)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"
    for library in sorted(libraries()):
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    outcomes: dict[str, str] = {}
    # Not TemporaryDirectory: a process that a test forks and that ends by itself would delete the folder.
    folder = Path(tempfile.mkdtemp())
    try:
        copy, log = folder / "repository", folder / "log"
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        tests = dict.fromkeys(test for defect in chosen for test in defect.tests.split())
        if not args.trust and run_tests(tests, copy, log) != GREEN:
            print(f"the tests fail without any defect:\n{end_of(log)}")
            return 2
        for defect in chosen:
            start = time.monotonic()
            outcome = outcomes[defect.name] = try_defect(defect, copy, log)
            seconds = f"{time.monotonic() - start:.0f} s"
            known = f" (known: {defect.survives})" if outcome == "survives" and defect.survives else ""
            print(f"{outcome:60} | {defect.name} | {defect.file} | {seconds}{known}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    alive = [defect for defect in chosen if outcomes[defect.name] == "survives"]
    print(f"{len(chosen) - len(alive)} of {len(chosen)} defects noticed, {len(alive)} survive")
    return int(any(not defect.survives for defect in alive))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
