"""Open a corpus for training, whatever it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pretrain.corpus.packed import PackedSource
from pretrain.corpus.sampling import VALIDATION_FRACTION
from pretrain.corpus.shards import ShardSource
from pretrain.corpus.source import SegmentSource


def open_source(
    location: str | Path,
    weights: Mapping[str, float] | None = None,
    validation_fraction: float = VALIDATION_FRACTION,
    one_source_share: float = 0.0,
) -> SegmentSource:
    """Open a corpus for training.

    Args:
        location: a folder made by ``python -m pretrain pack``, or WebDataset shards: a tar file, a
            folder of them, or a path or URL pattern such as ``https://host/clips-{000000..000099}.tar``.
        weights: how often each source is drawn, for every source of a packed corpus. Without it,
            each epoch is a permutation of all clips.
        validation_fraction: of the files, chosen by hash of their name, that training never sees.
        one_source_share: share of each batch that comes from one source, drawn anew each time.

    Raises:
        FileNotFoundError, ValueError: no corpus there, or weights that do not fit it.
    """
    if is_packed(location):
        return PackedSource(location, weights, validation_fraction, one_source_share)
    if weights is not None or one_source_share:
        raise ValueError(
            f"{location}: corpus_weights and one_source_share need a packed corpus; shards have no sources"
        )
    return ShardSource(location, validation_fraction)


def is_packed(location: str | Path) -> bool:
    """Whether a location is a packed corpus (or should become one) rather than shards."""
    folder = Path(location).expanduser()
    return folder.is_dir() and not any(".tar" in path.suffixes for path in folder.iterdir())
