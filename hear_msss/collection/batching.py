"""Windows of many clips through the encoder together: short clips fill a batch, long ones make several.

Clips come one after the other and are cut into pieces of at most ``PIECE_S`` seconds. Their windows wait in
one queue, and the encoder always takes ``chunk_size`` of them, whichever clips they belong to. So memory
grows neither with the number of clips nor with their length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hear_msss import whole_clip, windows
from hear_msss.device import chunk_size
from hear_msss.model import MSSS, interpolate, shifted_bands
from hear_msss.streaming import DecodedClip

PIECE_S = 20  # seconds of audio whose log-mel is held at once


class HasClip(Protocol):
    """An item with its clip; without one if the sound could not be read."""

    @property
    def clip(self) -> DecodedClip | None: ...


Item = TypeVar("Item", bound=HasClip)


@dataclass(frozen=True)
class Rows:
    """Embeddings ``(n, size)`` float32 of a clip and their times ``(n,)`` in ms: one row for a scene."""

    embeddings: NDArray[np.float32]
    times_ms: NDArray[np.float64]


NO_ROWS = Rows(np.zeros((0, 0), np.float32), np.zeros(0))


@dataclass(eq=False)
class _Scene:
    """Sum and maximum over the windows that a clip has had so far."""

    count: int = 0
    total: Tensor = field(default_factory=lambda: torch.zeros((), device="cpu"))
    largest: Tensor = field(default_factory=lambda: torch.full((), -torch.inf, device="cpu"))

    def add(self, pooled: Tensor) -> None:
        self.count += len(pooled)
        self.total = self.total + pooled.sum(dim=0, dtype=torch.float64)
        self.largest = torch.maximum(self.largest, pooled.amax(dim=0))


@dataclass(eq=False)
class _Piece(Generic[Item]):
    """Some consecutive windows of a clip: timestamps ``first`` to ``last - 1``, or a part of a scene."""

    item: Item
    cut: Tensor  # all windows of the log-mel as a view, (positions, n_mels, segment_frames)
    starts: NDArray[np.int64]  # positions of the windows that are wanted
    shifts: NDArray[np.int64]  # mel bands by which each of these is shifted upwards
    pooled: Tensor  # (windows, size) on the CPU, filled as they are encoded
    scene: _Scene  # of the clip
    first: int = 0
    last: int = 0
    ends_clip: bool = True  # its scene is complete
    taken: int = 0
    done: int = 0


@torch.no_grad()
def embed_clips(items: Iterable[Item], model: MSSS, timestamps: bool = False) -> Iterator[tuple[Item, Rows]]:
    """Scene or timestamp embeddings of clips, in their order.

    They are what :func:`hear_msss.get_scene_embeddings` and :func:`hear_msss.get_timestamp_embeddings` give
    for each clip alone.

    Args:
        items: anything with a ``clip``, which is closed once it is read.
        model: from :func:`hear_msss.load_model`.
        timestamps: an embedding every ``hop_ms`` instead of one for each clip.

    Yields:
        For each item at least once, all of an item before the next: the item and the next of its rows.
    """
    if model.options.whole_clip:
        yield from _whole_clips(items, model, timestamps)
        return
    at_once = chunk_size(model.options.chunk_size, next(model.parameters()).device)
    queue: deque[_Piece[Item]] = deque()
    waiting = 0
    for piece in _pieces(items, model, timestamps):
        queue.append(piece)
        waiting += len(piece.starts)
        while waiting >= at_once:
            waiting -= _encode(queue, model, at_once, timestamps)
            while queue and queue[0].done == len(queue[0].starts):
                yield from _finish(queue.popleft(), model, timestamps)
    while queue:
        if waiting:
            waiting -= _encode(queue, model, min(at_once, waiting), timestamps)
        while queue and queue[0].done == len(queue[0].starts):
            yield from _finish(queue.popleft(), model, timestamps)


def _whole_clips(items: Iterable[Item], model: MSSS, timestamps: bool) -> Iterator[tuple[Item, Rows]]:
    """One pass for each clip, which is held as a whole."""
    device = next(model.parameters()).device
    for item in items:
        if item.clip is None:
            yield item, NO_ROWS
            continue
        audio = item.clip.read(0, item.clip.samples).to(device)
        item.clip.close()
        if timestamps:
            embeddings, _ = model.timestamp_embeddings(audio)
            yield (
                item,
                Rows(embeddings[0].cpu().numpy(), whole_clip.times_ms(embeddings.shape[1], model.config)),
            )
        else:
            yield item, Rows(model.scene_embeddings(audio).cpu().numpy(), np.zeros(1))


def _pieces(items: Iterable[Item], model: MSSS, timestamps: bool) -> Iterator[_Piece[Item]]:
    """The pieces of all clips in turn; an item without a clip is a piece without windows."""
    for item in items:
        if item.clip is None:
            nothing = torch.zeros(0, device="cpu")
            none = np.zeros(0, np.int64)
            yield _Piece(item, nothing, none, none, nothing, _Scene())
            continue
        try:
            yield from (
                _timestamp_pieces(item, item.clip, model)
                if timestamps
                else _scene_pieces(item, item.clip, model)
            )
        finally:
            item.clip.close()


def _timestamp_pieces(item: Item, clip: DecodedClip, model: MSSS) -> Iterator[_Piece[Item]]:
    hop, config, every = model.hop_frames, model.config, model.options.timestamps_per_window
    count = model.timestamp_count(clip.samples)
    at_once = every * max(1, round(PIECE_S * model.sample_rate / (every * hop * config.hop_length)))
    for first in range(0, count, at_once):
        last = min(first + at_once, count)
        cut = _cut(clip, model, *model.timestamp_span(first, last))
        starts = model.timestamp_starts(first, last)
        pooled = torch.empty(len(starts), model.timestamp_embedding_size, device="cpu")
        yield _Piece(item, cut, starts, np.zeros_like(starts), pooled, _Scene(), first, last)


def _scene_pieces(item: Item, clip: DecodedClip, model: MSSS) -> Iterator[_Piece[Item]]:
    config = model.config
    chosen = model.scene_windows(clip.samples)
    scene = _Scene()
    at_once = max(1, PIECE_S * model.sample_rate // (windows.scene_hop_frames(config) * config.hop_length))
    for number in range(0, len(chosen.starts), at_once):
        part, shifts = (x[number : number + at_once] for x in (chosen.starts, chosen.shifts))
        begin = int(part[0]) * config.hop_length - chosen.before
        end = int(part[-1]) * config.hop_length + config.segment_samples - chosen.before
        cut = _cut(clip, model, begin, end)
        pooled = torch.empty(len(part), model.scene_embedding_size, device="cpu")
        ends_clip = number + at_once >= len(chosen.starts)
        yield _Piece(item, cut, part - part[0], shifts, pooled, scene, ends_clip=ends_clip)


def _cut(clip: DecodedClip, model: MSSS, begin: int, end: int) -> Tensor:
    """All windows in samples ``[begin, end)`` of a clip: ``(positions, n_mels, segment_frames)``, a view."""
    device = next(model.parameters()).device
    log_mel = model.log_mel(clip.read(begin, end).to(device))
    return log_mel[0].unfold(1, model.config.segment_frames, 1).transpose(0, 1)


def _encode(queue: Iterable[_Piece[Item]], model: MSSS, number: int, timestamps: bool) -> int:
    """Encode the first ``number`` windows of the queue, which holds at least so many."""
    shares: list[tuple[_Piece[Item], int]] = []
    segments: list[Tensor] = []
    left = number
    for piece in queue:
        share = min(left, len(piece.starts) - piece.taken)
        if share:
            taken = slice(piece.taken, piece.taken + share)
            starts, shifts = (
                torch.from_numpy(x[taken]).to(piece.cut.device) for x in (piece.starts, piece.shifts)
            )
            segments.append(piece.cut[starts[:, None], shifted_bands(shifts, model.config.n_mels)])
            piece.taken += share
            shares.append((piece, share))
            left -= share
        if not left:
            break
    pooled = model.pool(model.encode(torch.cat(segments)), timestamps).cpu()
    for (piece, share), part in zip(shares, pooled.split([share for _, share in shares]), strict=True):
        piece.pooled[piece.done : piece.done + share] = part
        piece.done += share
    return number


def _finish(piece: _Piece[Item], model: MSSS, timestamps: bool) -> Iterator[tuple[Item, Rows]]:
    if not len(piece.starts):
        yield piece.item, NO_ROWS
    elif timestamps:
        every = model.options.timestamps_per_window
        rows = interpolate(piece.pooled[None], every)[0, : piece.last - piece.first]
        times = windows.timestamps_ms(piece.first, piece.last, model.hop_frames, model.config)
        yield piece.item, Rows(rows.numpy(), times)
    else:
        piece.scene.add(piece.pooled)
        if piece.ends_clip:
            mean = (piece.scene.total / piece.scene.count).float()
            yield piece.item, Rows(model.join_scene(mean, piece.scene.largest)[None].numpy(), np.zeros(1))
