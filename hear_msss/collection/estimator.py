"""Scene embeddings as a transformer of scikit-learn, for pipelines from sound files to answers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hear_msss.api import load_model
from hear_msss.collection.many_files import embed_files
from hear_msss.device import find_device
from hear_msss.model import MSSS
from hear_msss.options import TIMESTAMP_OPTIONS, Options

try:
    from sklearn.base import BaseEstimator, TransformerMixin
except ImportError as error:
    raise ImportError(
        f"hear_msss.SceneEmbedder needs scikit-learn ({error}): pip install scikit-learn"
    ) from error

OPTIONS = [field.name for field in fields(Options) if field.name not in TIMESTAMP_OPTIONS]


@lru_cache(maxsize=2)
def _model(weights: str, device: str, options: tuple[tuple[str, Any], ...]) -> MSSS:
    chosen = dict(options)
    return load_model(weights, **chosen).to(find_device(device, chosen.get("backend", "auto")))


class SceneEmbedder(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Paths of sound files in, scene embeddings ``(files, size)`` float32 out.

    There is nothing to fit: the encoder is frozen. ``fit`` checks that weights, options and device are right.
    The model is shared by all instances with the same parameters, and is not part of copies and pickles.

    Args:
        weights: name of bundled weights or path of a file; the default weights if empty.
        features, scene, short_clip_windows, short_clip_band_shift, whole_clip, precision, backend,
            chunk_size: see :class:`hear_msss.options.Options`; what is None comes from the weights.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        decoders: threads that decode the next files meanwhile.
        bad: files that cannot be read: ``raise`` a ValueError that names them, or ``nan`` for a row of NaN.
    """

    def __init__(
        self,
        weights: str = "",
        features: str | None = None,
        scene: str | None = None,
        short_clip_windows: int | None = None,
        short_clip_band_shift: int | None = None,
        whole_clip: bool | None = None,
        precision: str | None = None,
        backend: str | None = None,
        chunk_size: int | None = None,
        device: str = "cpu",
        decoders: int = 1,
        bad: str = "raise",
    ) -> None:
        self.weights = weights
        self.features = features
        self.scene = scene
        self.short_clip_windows = short_clip_windows
        self.short_clip_band_shift = short_clip_band_shift
        self.whole_clip = whole_clip
        self.precision = precision
        self.backend = backend
        self.chunk_size = chunk_size
        self.device = device
        self.decoders = decoders
        self.bad = bad

    def _load(self) -> MSSS:
        given = ((name, getattr(self, name)) for name in OPTIONS)
        chosen = tuple((name, value) for name, value in given if value is not None)
        return _model(str(self.weights), self.device, chosen)

    def fit(self, X: Any, y: Any = None) -> SceneEmbedder:
        """Check the parameters; files are not read.

        Raises:
            ValueError, TypeError, FileNotFoundError: of :func:`hear_msss.load_model`.
        """
        if self.bad not in ("raise", "nan"):
            raise ValueError(f"bad={self.bad!r}: expected 'raise' or 'nan'")
        self.n_features_out_ = self._load().scene_embedding_size
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embed files.

        Args:
            X: paths: a list, an array or a column ``(files, 1)`` of a table.

        Raises:
            TypeError: something else than paths.
            ValueError: files that cannot be read, all by name, unless ``bad`` is ``nan``.
        """
        paths = list(_paths(X))
        model = self._load()
        result = np.full((len(paths), model.scene_embedding_size), np.nan, np.float32)
        bad = []
        for row, file in enumerate(embed_files(paths, model, decoders=self.decoders)):
            if file.embedding is None:
                bad.append(f"{file.path}: {file.error}")
            else:
                result[row] = file.embedding
        if bad and self.bad == "raise":
            raise ValueError(
                f"{len(bad)} of {len(paths)} files cannot be embedded (bad='nan' gives them rows of NaN): "
                + "; ".join(bad)
            )
        return result

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """``msss0``, ``msss1`` and so on, for ``set_output`` and column transformers."""
        return np.array([f"msss{n}" for n in range(self._load().scene_embedding_size)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def _paths(X: Any) -> Iterable[str | os.PathLike[str]]:
    if isinstance(X, (str, bytes, os.PathLike)):
        raise TypeError(f"X is the single path {X!r}: expected several, for example [{X!r}]")
    values = X.to_numpy() if hasattr(X, "to_numpy") else X
    if isinstance(values, np.ndarray):
        values = values.reshape(-1) if values.ndim == 2 and values.shape[1] == 1 else values
    for value in values:
        if not isinstance(value, (str, os.PathLike)):
            raise TypeError(f"X holds a {type(value).__name__}: expected paths of sound files")
        yield value
