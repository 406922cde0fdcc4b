"""Torch's flags for TF32: what holds while we compute, and that they are as before afterwards."""

from __future__ import annotations

import threading

import pytest
import torch

import hear_msss
from hear_msss import tf32

CONV, MATMUL = torch.backends.cudnn.conv, torch.backends.cuda.matmul


def flags():
    legacy = []
    for read in (
        torch.get_float32_matmul_precision,
        lambda: MATMUL.allow_tf32,
        lambda: torch.backends.cudnn.allow_tf32,
    ):
        try:
            legacy.append(read())
        except RuntimeError:  # torch's answer where old and new flags contradict each other
            legacy.append("contradiction")
    mkldnn = torch.backends.mkldnn.matmul.fp32_precision
    return (CONV.fp32_precision, MATMUL.fp32_precision, mkldnn, *legacy)


def users():
    """What programs set: nothing, the old flags, the new ones, both."""
    return {
        "nothing": lambda: None,
        "high": lambda: torch.set_float32_matmul_precision("high"),
        "medium": lambda: torch.set_float32_matmul_precision("medium"),
        "old": lambda: setattr(MATMUL, "allow_tf32", True),
        "old off": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
        "new": lambda: setattr(MATMUL, "fp32_precision", "tf32"),
        "new off": lambda: setattr(CONV, "fp32_precision", "ieee"),
        "both": lambda: (
            torch.set_float32_matmul_precision("high"),
            setattr(MATMUL, "fp32_precision", "ieee"),
        ),
    }


@pytest.fixture(autouse=True)
def flags_as_torch_has_them():
    before = CONV.fp32_precision, MATMUL.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision
    yield
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("highest")
    CONV.fp32_precision, MATMUL.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision = before


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("user", users())
@pytest.mark.parametrize("rounded", [False, True])
def test_products_are_as_asked_and_flags_as_before(user, rounded):
    users()[user]()
    before = flags()
    with pytest.raises(KeyError), tf32.products(rounded):
        assert (CONV.fp32_precision == "tf32") is rounded
        assert MATMUL.fp32_precision in ("ieee", "none")
        assert not MATMUL.allow_tf32  # what torch.compile reads: it must not contradict the new flag
        with tf32.products(not rounded):
            assert (CONV.fp32_precision == "tf32") is not rounded
        raise KeyError
    assert flags() == before


def test_threads_do_not_compute_with_each_others_flags():
    before, seen = flags(), []

    def compute():
        with tf32.products(True):
            seen.append(CONV.fp32_precision)

    other = threading.Thread(target=compute)
    with tf32.products(False):
        other.start()
        other.join(0.2)  # it waits
        seen.append(CONV.fp32_precision)
    other.join()
    assert seen == ["ieee", "tf32"] and flags() == before


def test_flags_before_torch_2_9(monkeypatch):
    class Backend:
        allow_tf32 = True

    class Backends:
        cudnn = Backend()

        class cuda:
            matmul = Backend()

    monkeypatch.setattr(torch, "backends", Backends)
    with tf32.products(False):
        assert not Backends.cudnn.allow_tf32 and not Backends.cuda.matmul.allow_tf32
    with tf32.products(True):
        assert Backends.cudnn.allow_tf32 and not Backends.cuda.matmul.allow_tf32
    assert Backends.cudnn.allow_tf32 and Backends.cuda.matmul.allow_tf32


def test_on_the_cpu_tf32_is_float32_and_no_flag_changes(monkeypatch):
    audio = torch.randn(2, 12_000, generator=torch.Generator().manual_seed(0)) / 10
    models = [hear_msss.load_model(hop_ms=200, precision=name) for name in ("float32", "tf32")]
    monkeypatch.setattr(tf32, "products", None)
    one, other = (hear_msss.get_scene_embeddings(audio, model) for model in models)
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(("precision", "rounded"), [("float32", False), ("tf32", True), ("bf16", False)])
def test_every_product_of_the_model_is_within(monkeypatch, precision, rounded):
    """As on CUDA: front end and encoder are called under the flags, with what the precision says."""
    calls = []

    def call(function, given, in_tf32):
        calls.append((type(function).__name__, in_tf32))
        return function(given)

    monkeypatch.setattr(tf32, "call", call)
    audio = torch.randn(1, 32_000, generator=torch.Generator().manual_seed(0)) / 10
    for whole_clip in (False, True):
        model = hear_msss.load_model(
            "untrained", hop_ms=500, precision=precision, whole_clip=whole_clip, backend="torch"
        )
        encoded = []
        model.encoder.register_forward_hook(lambda *given: encoded.append(given))  # noqa: B023
        hear_msss.get_scene_embeddings(audio, model)
        hear_msss.get_timestamp_embeddings(audio, model)
        assert sum(name == "Encoder" for name, _ in calls) == len(encoded)
        assert {name for name, _ in calls} == {"FrontEnd", "Encoder"}
        assert {in_tf32 for _, in_tf32 in calls} == {rounded}
        calls.clear()
