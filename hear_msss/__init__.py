"""MSSS as a HEAR plugin: one frozen encoder for keywords, events, pitch and scenes.

The package has the three functions of the HEAR API, https://hearbenchmark.com/hear-api.html.

Examples:
    >>> import torch, hear_msss
    >>> model = hear_msss.load_model()
    >>> audio = torch.zeros(2, 16000)  # two clips of 1 s, 16 kHz mono
    >>> hear_msss.get_scene_embeddings(audio, model).shape[0]
    2
    >>> embeddings, times_ms = hear_msss.get_timestamp_embeddings(audio, model)
    >>> times_ms[0, :3].tolist()
    [0.0, 50.0, 100.0]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hear_msss.version import __version__

if TYPE_CHECKING:
    from hear_msss.api import get_scene_embeddings, get_timestamp_embeddings, load_model
    from hear_msss.collection.estimator import SceneEmbedder as SceneEmbedder
    from hear_msss.collection.many_files import embed_files

__all__ = ["__version__", "embed_files", "get_scene_embeddings", "get_timestamp_embeddings", "load_model"]

MODULES = {
    "embed_files": "hear_msss.collection.many_files",
    "get_scene_embeddings": "hear_msss.api",
    "get_timestamp_embeddings": "hear_msss.api",
    "load_model": "hear_msss.api",
    "SceneEmbedder": "hear_msss.collection.estimator",  # not in __all__, since it needs scikit-learn
}


def __getattr__(name: str) -> Any:
    # The API loads torch: whoever imports hear_msss.audio alone need not wait for it.
    if name in MODULES:
        return getattr(importlib.import_module(MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
