"""Whether torchaudio imports with this torch, and what can be done if it does not.

Releases on PyPI hold extensions built for CUDA torch. Beside a CPU-only torch, loading them fails and
takes the import down; without the folder they lie in, torchaudio runs on its pure-Python paths.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

TRY = "import torchaudio; print(torchaudio.__version__)"


def version_or_error() -> tuple[str, str]:
    """Version and ``""`` where it imports; ``""`` and the last line of the error where it does not."""
    done = subprocess.run([sys.executable, "-c", TRY], capture_output=True, text=True)
    if done.returncode == 0:
        return done.stdout.strip().splitlines()[-1], ""
    return "", (done.stderr.strip().splitlines() or ["no message"])[-1]


def extensions() -> Path | None:
    """The folder of torchaudio's extensions, where it is installed and has one."""
    spec = importlib.util.find_spec("torchaudio")
    if spec is None or not spec.origin:
        return None
    folder = Path(spec.origin).with_name("lib")
    return folder if folder.is_dir() else None


def make_it_fit() -> str:
    """Delete the extensions where torchaudio does not import because of them; says what was done."""
    folder = extensions()
    if folder is None or version_or_error()[0]:
        return ""
    shutil.rmtree(folder)
    version, error = version_or_error()
    if error:
        return f"torchaudio does not import with this torch, with and without {folder}: {error}"
    return f"deleted {folder}: torchaudio {version} is built for another torch, and imports without it"
