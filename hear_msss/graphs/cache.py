"""Exported graphs are kept in the user's cache folder, and only what the user wrote is taken from there."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
from pathlib import Path

import torch
from platformdirs import user_cache_path

from hear_msss.encoder import Encoder
from hear_msss.features import Features
from hear_msss.files import replacing
from hear_msss.graphs import WrongGraph
from hear_msss.graphs.onnx_export import OPSET, check_graph, example_segments, make_graph
from hear_msss.version import __version__

CACHE_VARIABLE = "HEAR_MSSS_CACHE"

log = logging.getLogger(__name__)


def encoder_sha256(encoder: Encoder | Features) -> str:
    """sha256 over configuration, chosen features, and names, shapes and values of an encoder's tensors."""
    features = encoder.names if isinstance(encoder, Features) else ["h"]
    digest = hashlib.sha256(json.dumps([encoder.config.to_dict(), features], sort_keys=True).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        # As bytes: NumPy has no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where exported graphs are kept: ``$HEAR_MSSS_CACHE``, or else the user's cache folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or user_cache_path("hear_msss", appauthor=False))


def cached_path(encoder: Encoder | Features) -> Path:
    """Where the graph of this very encoder is kept.

    The name holds the encoder's sha256 and the versions of what makes the graph.
    """
    made_by = f"{encoder_sha256(encoder)} hear_msss {__version__} torch {torch.__version__} opset {OPSET}"
    return cache_folder() / f"{hashlib.sha256(made_by.encode()).hexdigest()[:32]}.onnx"


def cached_graph(encoder: Encoder | Features) -> bytes:
    """The exported graph of an encoder on the CPU, from the cache or made now.

    A cached graph is compared with torch before it is used. A damaged one, or one with other answers,
    is made anew. Where the cache cannot be written the graph lives in memory only.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
        WrongGraph: the exported graph differs from torch.
    """
    path = cached_path(encoder)
    graph = read_own(path)
    if graph is not None:
        wrong = _what_is_wrong(encoder, graph)
        if not wrong:
            return graph
        log.warning("%s %s: it is made anew", path, wrong)
    log.info("exporting the encoder to %s", path)
    graph = make_graph(encoder)
    try:
        write_own(path, graph)
    except OSError as error:
        log.warning(
            "the exported encoder cannot be kept in %s (%s), so that each process exports it again: set %s "
            "to a folder that can be written",
            path.parent,
            error,
            CACHE_VARIABLE,
        )
    return graph


def _what_is_wrong(encoder: Encoder | Features, graph: bytes) -> str:
    try:
        check_graph(encoder, graph, example_segments(encoder.config))
    except ImportError:
        raise
    except WrongGraph as error:
        return f"differs from torch by {error.difference:g}"
    except Exception as error:  # onnxruntime has an exception of its own for each kind of damage
        return f"is damaged ({type(error).__name__})"
    return ""


def read_own(path: Path) -> bytes | None:
    """Content of a file that this user (or root) owns and that nobody else may write; None for any other.

    A graph is a program. A file that somebody else put into a shared folder is not run.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        if hasattr(os, "geteuid"):  # on Windows the folder's own access list decides
            foreign = status.st_uid not in (os.geteuid(), 0)
            if foreign or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                log.warning("%s belongs to, or can be written by, another user: it is not used", path)
                return None
        return file.read()


def write_own(path: Path, content: bytes) -> None:
    """Write a file that its owner alone can read and write; it appears under its name when it is whole.

    Processes that write at the same time each write a whole file and rename it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with replacing(path) as temporary:
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(content)
