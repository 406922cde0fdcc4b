"""Embeddings of many sound files in Python: in order, in constant memory, bad files as named outcomes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hear_msss.api import load_model
from hear_msss.collection.batching import embed_clips
from hear_msss.collection.sources import FileSource, decode_ahead
from hear_msss.model import MSSS

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True)
class FileEmbedding:
    """What became of one file.

    Attributes:
        path: of the file.
        embedding: ``(size,)`` float32 for a scene, ``(n, size)`` for timestamps; None for a bad file.
        times_ms: ``(n,)`` float64 for timestamps, else None.
        duration_s: of the sound.
        warnings: what the file lacks of what its header announces, in sentences.
        error: why there is no embedding; empty where there is one.
    """

    path: Path
    embedding: NDArray[np.float32] | None = None
    times_ms: NDArray[np.float64] | None = None
    duration_s: float = 0.0
    warnings: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Collected:
    """All files' embeddings at once.

    Attributes:
        paths: of the files that could be embedded, in the order in which they were given.
        embeddings: ``(files, size)`` for scenes; for timestamps a list of ``(n, size)``.
        times_ms: for timestamps a list of ``(n,)``; empty for scenes.
        bad: the other files, each with its error.
    """

    paths: list[Path]
    embeddings: NDArray[np.float32] | list[NDArray[np.float32]]
    times_ms: list[NDArray[np.float64]]
    bad: list[FileEmbedding]


class EmbeddedFiles:
    """Iterates over a :class:`FileEmbedding` for each file; each iteration reads the files."""

    def __init__(
        self, paths: Iterable[AnyPath], model: MSSS, timestamps: bool = False, decoders: int = 1
    ) -> None:
        self.paths, self.model, self.timestamps, self.decoders = paths, model, timestamps, decoders

    def __iter__(self) -> Iterator[FileEmbedding]:
        sources = (FileSource(os.fsdecode(path)) for path in self.paths)
        decoded = decode_ahead(sources, self.model.sample_rate, self.decoders)
        for item, parts in groupby(embed_clips(decoded, self.model, self.timestamps), key=itemgetter(0)):
            if item.clip is None:
                yield FileEmbedding(item.source.path, error=item.error)
                continue
            rows = [part for _, part in parts]
            embeddings = np.concatenate([part.embeddings for part in rows])
            yield FileEmbedding(
                item.source.path,
                embeddings if self.timestamps else embeddings[0],
                np.concatenate([part.times_ms for part in rows]) if self.timestamps else None,
                item.clip.samples / self.model.sample_rate,
                item.clip.warnings,
            )

    def collect(self) -> Collected:
        """All embeddings in memory."""
        paths, embeddings, times, bad = [], [], [], []
        for file in self:
            if file.embedding is None:
                bad.append(file)
                continue
            paths.append(file.path)
            embeddings.append(file.embedding)
            if file.times_ms is not None:
                times.append(file.times_ms)
        if self.timestamps:
            return Collected(paths, embeddings, times, bad)
        none = np.zeros((0, self.model.scene_embedding_size), np.float32)
        return Collected(paths, np.stack(embeddings) if embeddings else none, times, bad)


def embed_files(
    paths: Iterable[AnyPath], model: MSSS | None = None, *, timestamps: bool = False, decoders: int = 1
) -> EmbeddedFiles:
    """Embed sound files of any format, sample rate, number of channels and length.

    Windows of several files go through the encoder together, so that many short files are as fast as a long
    one; each file's embedding is what :func:`hear_msss.get_scene_embeddings` gives for it alone. Memory does
    not grow with the number of files.

    Args:
        paths: of the files; an iterator is consumed only as far as the result is iterated over.
        model: from :func:`hear_msss.load_model`, on any device; the bundled weights on the CPU if None.
        timestamps: an embedding every ``hop_ms`` instead of one for each file.
        decoders: threads that decode the next files meanwhile; 0 for none.

    Returns:
        An iterable with a :class:`FileEmbedding` for each file, in order; its method ``collect()`` makes
        arrays of them. A file that cannot be read gives a :class:`FileEmbedding` with an ``error``.

    Raises:
        TypeError: ``paths`` is a single path.
        ValueError: ``decoders`` is below 0.
    """
    if isinstance(paths, (str, bytes, os.PathLike)):
        raise TypeError(f"paths is the single path {paths!r}: expected several, for example [{paths!r}]")
    if decoders < 0:
        raise ValueError(f"decoders={decoders}: expected 0 or more threads")
    return EmbeddedFiles(paths, load_model() if model is None else model, timestamps, decoders)
