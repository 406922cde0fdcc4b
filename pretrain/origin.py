"""Where a run's encoder comes from: what the weights of init_from say of themselves, kept with the run.

The weights may be replaced or gone by the time the run is exported.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hear_msss.weights import find_weights, fingerprint, load_weights
from pretrain.files import open_replacing
from pretrain.settings import Settings

ORIGIN = "init.json"
KEPT_INFO = ("steps", "last", "log_sha256", "init")


def note_origin(folder: Path, settings: Settings, resume: bool = False) -> None:
    """Write ``init.json`` into a run's folder, where the run starts from weights.

    Args:
        folder: of the run.
        settings: of the run.
        resume: the run continues from a checkpoint; the record of its start stays unchanged.

    Raises:
        FileNotFoundError, ValueError: as ``load_weights`` of ``settings.init_from``.
    """
    path = folder / ORIGIN
    if resume and path.is_file():
        return
    path.unlink(missing_ok=True)
    if settings.init_from:
        weights = find_weights(settings.init_from)
        info = load_weights(weights).info
        origin: dict[str, Any] = {"name": weights.name, "sha256": fingerprint(weights)}
        origin |= {name: info[name] for name in KEPT_INFO if name in info}
        if "corpus" in info:
            origin["corpus_hash"] = info["corpus"].get("hash")
        here = settings.to_dict()
        origin["settings_that_differ"] = {
            name: value for name, value in info.get("settings", {}).items() if here.get(name) != value
        }
        with open_replacing(path) as file:
            json.dump(origin, file, indent=1)


def read_origin(folder: Path) -> dict[str, Any] | None:
    """What ``note_origin`` wrote of the weights that the run started from; None for a run from scratch.

    These are name, sha256, steps, last metrics, log digest, and the settings in which their run differed.
    ``init`` holds the same of the weights that these had started from.
    """
    path = folder / ORIGIN
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
