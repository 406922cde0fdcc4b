"""Read batches ahead in a background thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Segments = tuple[Tensor, Tensor]
CLOSE_S = 30.0
LOOK_EVERY_S = 0.2


def prefetched(
    items: Iterator[Item], ahead: int, stopped: Callable[[], bool] = lambda: False
) -> Generator[Item, None, None]:
    """The same items in the same order; up to ``ahead`` of them are made before they are asked for.

    An error of the iterator is raised where its item would have come. When the returned generator is closed
    or no longer referred to, the thread finishes its current item and ends; the caller waits for that,
    ``CLOSE_S`` at most.

    Args:
        items: what is read ahead.
        ahead: how many.
        stopped: asked while an item is waited for, which may take for ever; True ends the items.
    """
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(maxsize=ahead)
    stop = threading.Event()

    def put(item: Item | None, error: BaseException | None) -> None:
        while not stop.is_set():
            try:
                return ready.put((item, error), timeout=0.1)
            except queue.Full:
                continue

    def fill() -> None:
        try:
            for item in items:
                put(item, None)
                if stop.is_set():
                    return
            put(None, StopIteration())
        except BaseException as error:
            put(None, error)

    thread = threading.Thread(target=fill, daemon=True, name="prefetch")
    thread.start()
    try:
        while True:
            try:
                item, error = ready.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                if stopped():
                    return
                continue
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        # A daemon thread in the middle of a tensor operation when Python exits brings the process down.
        if thread is not threading.current_thread():
            thread.join(CLOSE_S)


def page_locked(batches: Iterator[Segments], device: torch.device) -> Iterator[Segments]:
    """The same batches, for a CUDA device in page-locked memory.

    From there they are copied to the GPU while the program goes on. The copy from other memory is waited for:
    64 MB for the 1024 clips of a step.
    """
    if device.type != "cuda":
        yield from batches
        return
    for x, x_prime in batches:
        with torch.cuda.device(device):  # a thread of its own would else take the first GPU
            locked = x.pin_memory(), x_prime.pin_memory()
        yield locked
