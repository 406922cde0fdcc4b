"""Batches that are read ahead."""

import threading
import time

import pytest
import torch

from pretrain.prefetch import page_locked, prefetched


def test_prefetch_keeps_order_raises_in_place_and_ends():
    def items():
        yield from range(5)
        raise KeyError("broken")

    read = prefetched(items(), 2)
    assert [next(read) for _ in range(5)] == list(range(5))
    with pytest.raises(KeyError, match="broken"):
        next(read)
    assert list(prefetched(iter(range(3)), 1)) == [0, 1, 2]


def test_prefetch_when_closed_has_no_thread_left_in_the_middle_of_an_item():
    """A thread still at work when Python exits aborts a run that was done (seen: signal 6 at the end)."""
    made = []

    def items():
        for number in range(100):
            time.sleep(0.3)
            made.append(number)
            yield number

    read = prefetched(items(), 3)
    next(read)
    read.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]
    count = len(made)
    time.sleep(0.5)
    assert len(made) == count < 5


def test_batches_for_a_cpu_stay_where_they_are():
    batches = [tuple(torch.randint(9, (2, 3), dtype=torch.int16) for _ in range(2)) for _ in range(3)]
    found = list(page_locked(iter(batches), torch.device("cpu")))
    assert len(found) == 3 and all(a is b for a, b in zip(found, batches, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_batches_for_a_gpu_are_page_locked():
    batches = [tuple(torch.randint(9, (2, 3), dtype=torch.int16) for _ in range(2)) for _ in range(3)]
    ahead = prefetched(page_locked(iter(batches), torch.device("cuda", 0)), 2)
    for found, expected in zip(ahead, batches, strict=True):
        for one, other in zip(found, expected, strict=True):
            assert one.is_pinned() and torch.equal(one, other)
