"""Does the harness work in this environment: one line for each thing that matters, with what to do."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from eval_tasks.install import devices, packages, startup, torchaudio_fit

INSTALL = "python -m eval_tasks install"
PROGRAMS = ("hearvalidator.validate", "heareval.embeddings.runner", "heareval.predictions.runner")


@dataclass(frozen=True)
class Finding:
    """One line of the check.

    Attributes:
        good: False where the harness cannot be used.
        what: what was found.
        remedy: what to do; empty where there is nothing to do.
    """

    good: bool
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{'ok ' if self.good else 'BAD'}  {self.what}"
        return f"{line}\n     -> {self.remedy}" if self.remedy else line


def print_findings(quiet: bool = False) -> int:
    """Print all findings, or only bad ones; 1 if one is bad."""
    bad = 0
    for finding in findings():
        if not (quiet and finding.good):
            print(finding, flush=True)
        bad += not finding.good
    print("the harness works here" if not bad else f"{bad} of these must be mended first")
    return int(bad > 0)


def findings() -> Iterator[Finding]:
    """All that matters, the quick things first."""
    parts: tuple[Callable[[], Iterator[Finding]], ...] = (
        python_and_versions,
        startup_files,
        tensorflow,
        librosa,
        torchaudio,
        programs,
        gpus,
    )
    for part in parts:
        yield from part()


def installed(name: str) -> str:
    """Version of a distribution, or an empty string."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def python_and_versions() -> Iterator[Finding]:
    oldest, newest = (".".join(map(str, version)) for version in packages.PYTHONS)
    python = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield Finding(
        packages.python_fits(), python, "" if packages.python_fits() else f"take Python {oldest} to {newest}"
    )
    for name, wanted in packages.HARNESS.items():
        found = installed(name)
        changed = changed_files(name) if found else []
        if found == wanted and not changed:
            yield Finding(True, f"{name} {found}, unmodified")
        elif found == wanted:
            remedy = f"pip uninstall {name}, then {INSTALL}"
            yield Finding(False, f"{name} {found}: {', '.join(changed[:3])} differ from the release", remedy)
        else:
            yield Finding(False, f"{name} {found or 'is not installed'}: expected {wanted}", INSTALL)
    found = installed("pytorch-lightning")
    trouble = packages.lightning_trouble(found)
    yield Finding(not trouble, trouble or f"pytorch-lightning {found}", INSTALL if trouble else "")
    found = installed("setuptools")
    if found and packages.release(found) < (packages.SETUPTOOLS_BELOW,):
        yield Finding(True, f"setuptools {found}")
    else:
        what = f"setuptools {found or 'is not installed'}: Lightning 1.8 and dcase_util import pkg_resources"
        yield Finding(False, f"{what}, which is in setuptools below {packages.SETUPTOOLS_BELOW}", INSTALL)
    found = installed("numpy")
    if packages.release(found) < (packages.NUMPY_FROM,):
        what = f"numpy {found or 'is not installed'}: expected {packages.NUMPY_FROM} or newer, as current"
        what += " releases of pandas, SciPy and scikit-learn need"
        yield Finding(False, what, INSTALL)
    absent = [name for name in (*packages.IMPORTED, *packages.ALONE) if not installed(name)]
    if absent:
        yield Finding(False, f"not installed: {', '.join(absent)}", INSTALL)
    here = [f"{name} {installed(name)}" for name in ("torch", "numpy", "pandas") if installed(name)]
    if here:
        yield Finding(True, ", ".join(here))


def changed_files(name: str) -> list[str]:
    """Files of an installed distribution that are gone, or differ from the hashes in its wheel's RECORD."""
    distribution = importlib.metadata.distribution(name)
    record = distribution.read_text("RECORD")
    if record is None:
        return ["RECORD"]
    changed = []
    for path, recorded, _ in csv.reader(record.splitlines()):
        algorithm, _, digest = recorded.partition("=")
        if not digest or not path.startswith(name):  # scripts are written at installation
            continue
        file = Path(str(distribution.locate_file(path)))
        actual = hashlib.new(algorithm, file.read_bytes()).digest() if file.is_file() else b""
        if base64.urlsafe_b64encode(actual).rstrip(b"=").decode() != digest:
            changed.append(path)
    return changed


def startup_files() -> Iterator[Finding]:
    where = startup.folder()
    absent = startup.missing(where)
    if not absent:
        yield Finding(True, f"{startup.PACKAGE} in {where}: settings of the runners, stand-in for TensorFlow")
    else:
        what = f"{absent[0]} is missing or another version's: the predictions runner would train, then fail"
        yield Finding(False, what, INSTALL)


def tensorflow() -> Iterator[Finding]:
    spec = importlib.util.find_spec("tensorflow")
    if spec is None:
        if startup.missing(startup.folder()):
            what = f"TensorFlow: neither the real one nor the stand-in, which is in {startup.PACKAGE}"
            yield Finding(False, what, INSTALL)
        else:
            yield Finding(True, "TensorFlow: the stand-in, which is all that torch modules need")
        return
    version = next(filter(None, map(installed, ("tensorflow", "tensorflow-cpu", "tensorflow-macos"))), "")
    yield Finding(True, f"TensorFlow {version}, the real one, which is used instead of the stand-in")


def librosa() -> Iterator[Finding]:
    """What librosa requires and `install` leaves out, since the harness does without it."""
    if not installed("librosa"):
        return
    always = [line for line in importlib.metadata.requires("librosa") or [] if ";" not in line]
    names = [re.split(r"[^\w.-]", line)[0] for line in always]
    if absent := [name for name in names if not installed(name)]:
        what = f"librosa is here without {', '.join(absent)}, which heareval does not need"
        yield Finding(True, what, "if your own module uses librosa: pip install librosa")
    else:
        yield Finding(True, f"librosa {installed('librosa')}")


def torchaudio() -> Iterator[Finding]:
    found = installed("torchaudio")
    uses = "tests, and pretrain's pitch_shift=waveform"
    if not found:
        yield Finding(True, f"torchaudio is not installed: only {uses} need it")
        return
    version, error = torchaudio_fit.version_or_error()
    if version:
        yield Finding(True, f"torchaudio {version} imports")
        return
    remedy = f"{INSTALL} makes it import, or pip uninstall torchaudio: only {uses} need it"
    yield Finding(True, f"torchaudio {found} does not import with this torch: {error}", remedy)


def programs() -> Iterator[Finding]:
    """Each of the three programs of the harness, asked for its help: all that it imports is imported."""
    for program in PROGRAMS:
        done = subprocess.run([sys.executable, "-m", program, "--help"], capture_output=True, text=True)
        if done.returncode == 0:
            yield Finding(True, f"python -m {program} starts")
            continue
        error = (done.stderr.strip().splitlines() or ["no message"])[-1]
        yield Finding(False, f"python -m {program} does not start: {error}", INSTALL)


def gpus() -> Iterator[Finding]:
    """What the harness would compute on, asked in a process of its own: this one need not import torch."""
    done = subprocess.run(
        [sys.executable, "-m", "eval_tasks.install.devices"], capture_output=True, text=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("DEVICES ")]
    if not lines:
        error = (done.stderr.strip().splitlines() or ["no message"])[-1]
        yield Finding(False, f"torch cannot be asked for its GPUs: {error}", "install torch again")
        return
    yield from judge_gpus(json.loads(lines[0].removeprefix("DEVICES ")))


def judge_gpus(found: devices.Devices) -> Iterator[Finding]:
    """Findings on what torch, TensorFlow and pynvml say."""
    if found["gpus"]:
        yield Finding(True, f"{len(found['gpus'])} CUDA GPU(s): {', '.join(found['gpus'])}")
    else:
        also = "; Apple's GPU (MPS) is used by the plugin, not by heareval" if found["mps"] else ""
        yield Finding(True, f"no CUDA GPU that torch {found['torch']} can use: the runners use the CPU{also}")
    for what, remedy in devices.trouble(found):
        yield Finding(False, what, remedy)
