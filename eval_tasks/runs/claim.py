"""A model's folder in OUT: its name, and whose results are in it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval_tasks.errors import UserError
from eval_tasks.files import read_json, refuse_links_outside, write_json
from eval_tasks.locks import locked
from eval_tasks.runs.results import IDENTITY


def model_name(module: str, info: Mapping[str, Any]) -> str:
    """Name of a model's folder: module, options and weights, as in ``hear_msss-hop_ms=20-best-1a2b3c4d``."""
    parts = [module] + [f"{key}={value}" for key, value in info["model_options"].items()]
    if info["model"]:
        parts += [Path(info["model"]).stem, info["model_sha256"][:8]]
    return re.sub(r"[^\w.=-]+", "_", "-".join(parts))[:120]


def claim_model_folder(folder: Path, info: Mapping[str, Any], changed: str) -> None:
    """Write what the model is, and make sure that results already there come from the same.

    Raises:
        UserError: they come from another module, other options, weights or code, or there is a link in
            the folder that leads outside.
    """
    refuse_links_outside(folder, written_folders(folder))
    with locked(folder / "logs" / ".claim.lock"):
        _claim(folder, info, changed)


def _claim(folder: Path, info: Mapping[str, Any], changed: str) -> None:
    record = folder / "model.json"
    if record.exists():
        before = read_json(record)
        differing = [key for key in IDENTITY if before.get(key) != info[key]]
        if differing and changed == "refuse":
            raise UserError(
                f"{folder} holds results of another state of this model ({', '.join(differing)} differ): "
                "give another --out or --name, or --changed redo to delete them, or --changed keep to go on"
            )
        if differing and changed == "keep":
            return
        if differing:
            for kind in ("embeddings", "predictions", "probe"):
                shutil.rmtree(folder / kind, ignore_errors=True)
    write_json(record, dict(info))


def written_folders(model_dir: Path) -> list[Path]:
    """All that a run writes to or deletes in a model's folder."""
    patterns = (
        "*",
        "logs/*",
        "embeddings/*",
        "embeddings/*/*",
        "predictions/*",
        "predictions/*/*",
    )
    return [path for pattern in patterns for path in model_dir.glob(pattern)]
