"""heareval's pickles, read without running code from them: embeddings and results may come from others."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from eval_tasks.errors import UserError
from eval_tasks.files import refuse_pipe

PLAIN_VALUES = (str, int, float, bool, type(None))
NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


class _NumberKind:
    """Stands for ``numpy.dtype``, whose own state can crash the process."""

    def __init__(self, code: str, align: bool = False, copy: bool = True) -> None:
        if code not in NUMBERS:
            raise pickle.UnpicklingError(f"numpy type {code!r} has no place in heareval's results")
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", "|"):
            raise pickle.UnpicklingError(f"byte order {state[1]!r}: expected little-endian numbers")


def _number(kind: _NumberKind, content: bytes) -> int | float | bool:
    value: int | float | bool = np.frombuffer(content, f"<{kind.code}", count=1)[0].item()
    return value


def _storage(content: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(content), weights_only=True)


def _tensor(*arguments: Any) -> Any:
    import torch

    return torch._utils._rebuild_tensor_v2(*arguments)


# All that heareval's predictions are made of, besides Python's own plain values, and what reads it here.
STAND_INS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("numpy", "dtype"): _NumberKind,
    ("numpy.core.multiarray", "scalar"): _number,
    ("numpy._core.multiarray", "scalar"): _number,
}


class _PlainUnpickler(pickle.Unpickler):
    """Plain values and what ``allowed`` names: nothing that could run code."""

    def __init__(self, content: IO[bytes], allowed: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(content)
        self.allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"{module}.{name} has no place here")
        return self.allowed[module, name]


def _load(path: Path, allowed: Mapping[tuple[str, str], Any]) -> Any:
    refuse_pipe(path)
    try:
        with path.open("rb") as content:
            return _PlainUnpickler(content, allowed).load()
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise UserError(
            f"{path} was not read ({type(error).__name__}: {error}): expected plain values, as heareval "
            "writes them; make these results again, or take them from a source that you trust"
        ) from None


def unpickle(path: Path) -> Any:
    """Read heareval's predictions without running code from them.

    Raises:
        UserError: they hold something other than plain values and tensors, or are damaged.
    """
    return _load(path, STAND_INS)


def read_labels(path: Path) -> list[list[Any]]:
    """The labels of each example, from a ``*.target-labels.pkl``.

    A file that is read here is safe for ``pickle.load``, too: it names no class at all.

    Raises:
        UserError: it holds something other than lists of strings and numbers.
    """
    labels = _load(path, {})
    if not isinstance(labels, list) or not all(
        isinstance(row, list) and all(isinstance(label, PLAIN_VALUES) for label in row) for row in labels
    ):
        raise UserError(f"{path}: expected a list of labels for each example, as heareval writes it")
    return labels
