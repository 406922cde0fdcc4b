"""Samples of WebDataset shards, from this machine or the web; nothing of an address reaches a shell."""

from __future__ import annotations

import http.client
import tarfile
import urllib.request
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from webdataset.tariterators import group_by_keys, tar_file_iterator

from pretrain.corpus.location import is_remote

TIMEOUT_S = 20.0  # without a byte from a server
DAMAGED: tuple[type[Exception], ...] = (tarfile.TarError, EOFError, zlib.error)
BROKEN_OFF = (OSError, http.client.HTTPException)  # of a server; an error of a local disk is raised


def tar_samples(shards: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Samples of shards one after the other: ``__key__``, ``__url__``, and the files by suffix.

    If a shard is damaged or cut short, or its server sends no more, the rest of it is left out, with a
    warning that names the shard.

    Raises:
        OSError: a local shard cannot be read.
    """
    for shard in shards:
        yield from group_by_keys(shard_files(shard), handler=warn_of_name)


def shard_files(shard: str) -> Iterator[dict[str, Any]]:
    """Files of a shard, ``fname``, ``data`` and ``__url__`` each."""
    last, expected = None, DAMAGED + (BROKEN_OFF if is_remote(shard) else ())
    try:
        with open_shard(shard) as stream:
            for file in tar_file_iterator(stream):
                last = file["fname"]
                yield file | {"__url__": shard}
    except expected as error:
        place = f"after {last}" if last else "all of it"
        warnings.warn(f"{shard}: damaged or cut short ({error}); left out: {place}", stacklevel=2)


def open_shard(shard: str) -> IO[bytes]:
    """The bytes of a shard, as a stream."""
    if is_remote(shard):
        return urllib.request.urlopen(shard, timeout=TIMEOUT_S)
    return Path(shard).open("rb")


def warn_of_name(error: Exception) -> bool:
    """Leave out a file whose name comes twice in a sample."""
    warnings.warn(f"{error.args[0]}; it is left out", stacklevel=2)
    return True
