"""hearvalidator on a module as it was scored: with its weights and its options."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval_tasks.runs.harness import environment

# hearvalidator has no argument for options: it gets a module that calls load_model with them.
WITH_OPTIONS = "scored_module"
SOURCE = """from functools import partial
from json import loads

from {module} import get_scene_embeddings, get_timestamp_embeddings
from {module} import load_model as without_options

load_model = partial(without_options, **loads({options!r}))
"""


def validate(module: str, weights: str, options: Mapping[str, Any]) -> tuple[bool, str]:
    """hearvalidator's verdict and output."""
    with tempfile.TemporaryDirectory(prefix="hear_validator") as folder:
        named = module
        if options:
            named = WITH_OPTIONS
            source = SOURCE.format(module=module, options=json.dumps(options))
            (Path(folder) / f"{named}.py").write_text(source, encoding="utf-8")
        command = [sys.executable, "-m", "hearvalidator.validate", named]
        command += ["--model", weights] if weights else []
        env = environment()
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, env.get("PYTHONPATH")]))
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    head = f"# {named} is {module} with the options {json.dumps(options)}\n" if options else ""
    return done.returncode == 0, f"{head}$ {shlex.join(['python', *command[1:]])}\n{done.stdout}"
