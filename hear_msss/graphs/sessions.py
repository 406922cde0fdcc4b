"""Sessions of ONNX Runtime belong to the process that made them.

A session has threads, which a fork does not copy. In the child an inherited session would wait for them
for ever, when it runs and even when it is destroyed. So a child uses none of its parent's sessions and
never destroys them.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from typing import Any

from hear_msss.graphs.onnx_export import new_session


class _OfThisProcess:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.living: weakref.WeakSet[Any] = weakref.WeakSet()


_process = _OfThisProcess()


def lock() -> threading.RLock:
    """Held while sessions are made; a child of a fork has one of its own, which nobody holds."""
    return _process.lock


def new(graph: bytes, threads: int) -> Any:
    """An ``onnxruntime.InferenceSession`` of this process, on the CPU."""
    session = new_session(graph, threads)
    _process.living.add(session)
    return session


def _after_fork_in_child() -> None:
    global _process
    for session in _process.living:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))  # one reference too many: never destroyed
    _process = _OfThisProcess()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
