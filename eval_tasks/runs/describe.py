"""What a HEAR module says of itself, asked in a process of its own: ``python -m eval_tasks.runs.describe``.

A module that cannot be loaded fails here, in seconds, and not once for every task.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import importlib.metadata
import json
import math
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from eval_tasks.errors import UserError
from eval_tasks.install.devices import devices
from eval_tasks.runs.harness import environment

MARK = "HEAR module: "  # modules print what they like; our line is told from theirs by this


def sha256_of(path: Path) -> str:
    """Hash of a file, or of all files in a folder with their relative names (no caches)."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if "__pycache__" in file.parts:
            continue
        if file is not path:
            digest.update(f"{file.relative_to(path).as_posix()}\0".encode())
        with file.open("rb") as content:
            for block in iter(lambda: content.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()


def package_of(module: ModuleType) -> Path | None:
    """The folder of the package that ``module`` lies in, or its own file where it lies in none."""
    if not module.__file__:
        return None
    file = Path(module.__file__)
    return file.parent if module.__package__ else file


def versions(module_name: str) -> dict[str, str]:
    """Python's version and those of the packages that a score depends on."""
    names = ["torch", "numpy", "heareval", "hearvalidator", "pytorch-lightning", "sed_eval"]
    owners = importlib.metadata.packages_distributions().get(module_name.split(".")[0], [])
    found = {"python": platform.python_version()}
    for name in dict.fromkeys([*owners, *names]):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def parameter_count(model: Any) -> int:
    """Numbers in a model's weights, of torch or of TensorFlow; 0 where the model does not say."""
    if callable(getattr(model, "parameters", None)):
        return sum(parameter.numel() for parameter in model.parameters())
    variables = getattr(model, "trainable_variables", None) or ()
    return sum(math.prod(variable.shape) for variable in variables)


def describe(
    module_name: str, model: str = "", model_options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Load the model in this process and say what it is."""
    module = importlib.import_module(module_name)
    loaded = module.load_model(*([model] if model else []), **(model_options or {}))
    package = package_of(module)
    return {
        "module": module_name,
        "model": model,
        "model_options": dict(model_options or {}),
        "model_sha256": sha256_of(Path(model)) if model else "",
        "module_sha256": sha256_of(package) if package else "",
        "sample_rate": int(loaded.sample_rate),
        "scene_embedding_size": int(loaded.scene_embedding_size),
        "timestamp_embedding_size": int(loaded.timestamp_embedding_size),
        "parameters": parameter_count(loaded),
        "versions": versions(module_name),
        "devices": devices(),
    }


def ask(module_name: str, model: str = "", model_options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The same from a fresh process, so that the caller imports neither torch nor the module.

    Raises:
        UserError: no such weights, or the module cannot be imported or loaded; the message then ends
            with its own error.
    """
    if model and not Path(model).exists():
        raise UserError(f"--model {model}: no such file; leave it out if the module has weights of its own")
    command = [sys.executable, "-m", "eval_tasks.runs.describe", module_name, "--model", model]
    command += ["--model-options", json.dumps(model_options or {})]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            return dict(json.loads(line.removeprefix(MARK)))
    if f"ModuleNotFoundError: No module named {module_name.split('.')[0]!r}" in done.stderr:
        raise UserError(
            f"no module {module_name!r} on Python's path: install it, run where it lies, or set PYTHONPATH"
        )
    lines = done.stderr.strip().splitlines()
    if lines and lines[-1].startswith("ModuleNotFoundError") and "librosa" in done.stderr:
        lines.append("`pip install librosa` adds what librosa needs: `eval_tasks install` leaves it out")
    raise UserError(
        f"HEAR module {module_name!r} (weights {model or 'its default'!r}, options {model_options or {}}) "
        f"could not be loaded; expected an importable module with load_model() as HEAR defines it:\n"
        + "\n".join(lines[-12:])
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module")
    parser.add_argument("--model", default="")
    parser.add_argument("--model-options", type=json.loads, default={})
    arguments = parser.parse_args()
    print(MARK + json.dumps(describe(arguments.module, arguments.model, arguments.model_options)))
