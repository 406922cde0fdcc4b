"""Training steps on a GPU: forward, backward and optimizer of the encoder, and the whole step of pretrain."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed import stock_h
from benchmarks.stopwatch import now, rates, summary
from hear_msss.encoder import Encoder, stock_network
from hear_msss.tf32 import products
from hear_msss.weights import untrained_encoder
from pretrain.augmentation import draw_augmentations
from pretrain.config_layers import layered, read_config
from pretrain.prefetch import page_locked
from pretrain.run_state import RunState
from pretrain.step import take_step
from pretrain.views import INT16_SCALE

Row = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One way to take a step.

    Attributes:
        stock: the network of ``efficientnet_pytorch`` as it comes, not ours.
        precision: ``float32``, ``TF32`` or ``bf16`` (under autocast).
        channels_last: order of the encoder's feature maps in memory; False: channels first.
        compiled: by ``torch.compile``.
    """

    stock: bool = False
    precision: str = "bf16"
    channels_last: bool = True
    compiled: bool = False

    def __str__(self) -> str:
        parts = ["stock network" if self.stock else "hear_msss encoder", self.precision]
        parts.append("channels last" if self.channels_last else "channels first")
        parts += ["compiled"] * self.compiled
        return ", ".join(parts)


VARIANTS = (
    Variant(stock=True, precision="float32", channels_last=False),
    Variant(stock=True, channels_last=False),
    Variant(precision="float32"),
    Variant(precision="TF32"),
    Variant(),
    Variant(channels_last=False),
    Variant(compiled=True),
)


def variants(device: torch.device, clips: int, rounds: int, compiled: bool) -> Iterator[Row]:
    """Segments a second of each variant, with half the batch, again and again, where memory lacks."""
    for variant in VARIANTS:
        if variant.compiled != compiled:
            continue
        segments = 3 * clips
        while (row := measured_step(variant, segments, device, rounds)) is None:
            segments //= 2
        yield row


def measured_step(variant: Variant, segments: int, device: torch.device, rounds: int) -> Row | None:
    """The row of one variant; None where memory does not suffice."""
    free_memory(device)
    try:
        with products(variant.precision != "float32"):
            step = make_step(variant, segments, device)
            begin = now(device)
            step()
            first_s = now(device) - begin
            measured = rates(step, segments, device, rounds)
    except torch.OutOfMemoryError:
        if segments < 2:
            raise
        return None
    row: Row = {"measure": "training", "system": str(variant), "batch": segments}
    row |= summary("segments_per_s", measured) | memory(device)
    return row | {"first_step_s": first_s}


def make_step(variant: Variant, segments: int, device: torch.device) -> Callable[[], None]:
    """Forward, backward and Adam on random segments."""
    encoder = untrained_encoder().train()
    if variant.stock:
        encoder.network = stock_network(encoder.config, drop_connect_rate=0.0).train()
    elif not variant.channels_last:
        use_channels_first(encoder)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1  # as in the config gpu: a graph compiled for one step then fits the other
    encoder.to(device)
    embed: Callable[[Tensor], Tensor] = (lambda x: stock_h(encoder, x)) if variant.stock else encoder
    if variant.compiled:
        embed = torch.compile(embed)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-4, fused=None if variant.stock else True)
    log_mel = torch.randn(segments, encoder.config.n_mels, encoder.config.segment_frames, device=device)
    log_mel = log_mel * encoder.config.log_mel_std + encoder.config.log_mel_mean
    half = torch.autocast(device.type, torch.bfloat16) if variant.precision == "bf16" else nullcontext()

    def step() -> None:
        with half:
            h = embed(log_mel)
        optimizer.zero_grad(set_to_none=True)
        h.float().square().mean().backward()
        optimizer.step()

    return step


def use_channels_first(encoder: Encoder) -> None:
    """Undo, in place, the order in memory of the feature maps: they follow that of the kernels."""
    for module in encoder.network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.clone(memory_format=torch.contiguous_format)


def whole_step(device: torch.device, clips: int, rounds: int, compiled: bool) -> Iterator[Row]:
    """``pretrain.step.take_step`` with the configs gpu and spectrum, and what of it are views and targets."""
    more = {"batch_size": clips} | ({"compile": True} if compiled else {})
    settings = layered([read_config("gpu"), read_config("spectrum"), more])
    free_memory(device)
    state = RunState.fresh(settings, device)
    shape = (2, clips, settings.model.segment_samples)
    noise = torch.randint(-8192, 8192, shape, dtype=torch.int16)  # on the CPU, as from a corpus
    [(anchor, positive)] = page_locked(iter([(noise[0], noise[1])]), device)

    def views() -> tuple[Tensor, Tensor | None]:
        x, x_prime = anchor.to(device), positive.to(device)
        log_mel = state.views(x, x_prime, draw_augmentations(clips, settings, 0, device))
        return log_mel, state.learner.spectrum_target(x, x_prime, log_mel)

    if state.learner.spectrum is not None:
        waveform = torch.cat([anchor, positive]).to(device) * INT16_SCALE
        state.learner.spectrum.measure(waveform, views()[0][: len(waveform)])
    segments = clips * settings.view_count
    name = "pretrain, gpu + spectrum" + (", compiled" if compiled else "")
    row: Row = {"measure": "training", "system": name, "batch": segments}
    begin = now(device)
    take_step(state, (anchor, positive), 1e-4)
    row["first_step_s"] = now(device) - begin
    measured = rates(lambda: take_step(state, (anchor, positive), 1e-4), segments, device, rounds)
    yield row | summary("segments_per_s", measured) | memory(device)
    if not compiled:
        measured = rates(views, segments, device, rounds)
        row = {"measure": "views", "system": "views and targets alone", "batch": segments}
        yield row | summary("segments_per_s", measured)


def free_memory(device: torch.device) -> None:
    """Give back what the last measurement held, and begin to watch the peak."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def memory(device: torch.device) -> Row:
    return {"peak_gb": torch.cuda.max_memory_allocated(device) / 1e9} if device.type == "cuda" else {}
