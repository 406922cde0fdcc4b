"""The file that runs when a Python of this environment starts, and the package that it calls."""

from __future__ import annotations

import os
import shutil
import site
import sysconfig
from pathlib import Path

from eval_tasks.files import replacing

PACKAGE = "heareval_environment"
SOURCE = Path(__file__).with_name(PACKAGE)
START = f"import {PACKAGE}; {PACKAGE}.activate()\n"


def folder() -> Path:
    """Where it belongs: site-packages of this environment, or the user's where that cannot be written."""
    packages = Path(sysconfig.get_path("purelib"))
    if not os.access(packages, os.W_OK) and site.ENABLE_USER_SITE:
        return Path(site.getusersitepackages())
    return packages


def files(where: Path) -> dict[Path, bytes]:
    """What belongs where, with its contents."""
    wanted = {where / PACKAGE / source.name: source.read_bytes() for source in sorted(SOURCE.glob("*.py"))}
    return {**wanted, where / f"{PACKAGE}.pth": START.encode()}


def missing(where: Path) -> list[Path]:
    """Files that are not there, or have other contents."""
    wanted = files(where)
    return [path for path, content in wanted.items() if not path.is_file() or path.read_bytes() != content]


def write(where: Path) -> None:
    """Write the package first and the file that calls it last, so that no start meets half of it."""
    shutil.rmtree(where / PACKAGE / "__pycache__", ignore_errors=True)
    for path, content in files(where).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(content)
