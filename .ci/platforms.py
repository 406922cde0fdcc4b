"""Does every pin have a wheel for every system and Python (`make platforms`)?

No machine of a system is needed: uv resolves the locks for each from the index's metadata, and takes wheels
only. The few releases that come as source alone are named here, and are pure Python where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SYSTEMS = {
    "Linux x86-64": "x86_64-manylinux_2_28",
    "Linux ARM": "aarch64-manylinux_2_28",
    "macOS 14 ARM": "aarch64-apple-darwin",
    "Windows": "x86_64-pc-windows-msvc",
}
MACOS = "14.0"  # the oldest that torch has wheels for
LOCKS = ("requirements.lock", "requirements-dev.lock")
HARNESS = ("heareval==2021.1.3", "hearvalidator==2021.0.6")
TORCH = "torch==2.13.0"
PURE_SOURCE = {"dcase_util", "efficientnet_pytorch", "future", "sed_eval"}


def compiled(name: str) -> list[str]:
    """Compiled files of a distribution that is installed here."""
    files = importlib.metadata.distribution(name).files or []
    return [str(file) for file in files if file.suffix in (".so", ".pyd", ".dylib")]


def missing(uv: str, system: str, python: str, pins: list[str]) -> list[str]:
    """The pins without a wheel."""
    command = [uv, "pip", "compile", "--quiet", "--no-deps", "--no-header", "--no-annotate", "-"]
    command += ["--python-platform", system, "--python-version", python, "--only-binary", ":all:"]
    without: list[str] = []
    while True:
        left = [pin for pin in pins if pin.lower().replace("_", "-") not in without]
        env = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": MACOS}
        done = subprocess.run(command, input="\n".join(left), env=env, capture_output=True, text=True)
        if done.returncode == 0:
            return without
        named = set(re.findall(r"[a-z0-9-]+==[\w.+]+", done.stderr)) - set(without)
        if not named:
            return [*without, done.stderr.strip()]
        without += sorted(named)  # uv names the first that it meets: ask again without it


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        print("uv is needed to look at other systems' wheels: pip install uv", file=sys.stderr)
        return 1
    pins = [line for lock in LOCKS for line in Path(lock).read_text().splitlines() if "==" in line]
    pins = [pin for pin in pins if pin.split("==")[0] not in PURE_SOURCE] + [*HARNESS, TORCH]
    for name in sorted(PURE_SOURCE):
        if compiled(name):
            print(f"{name} is not pure: {', '.join(compiled(name))}", file=sys.stderr)
            return 1
    print(f"| system | {' | '.join(PYTHONS)} |\n|---|{'---|' * len(PYTHONS)}")
    failed = False
    for name, system in SYSTEMS.items():
        rows = [missing(uv, system, python, pins) for python in PYTHONS]
        failed |= any(rows)
        print(f"| {name} | {' | '.join('no ' + ', '.join(r) if r else 'all' for r in rows)} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
