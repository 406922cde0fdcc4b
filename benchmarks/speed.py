"""Seconds of audio per second. Systems take turns, so that other load on the machine affects all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.systems import System
from hear_msss.encoder import Encoder, stock_network
from hear_msss.weights import untrained_encoder
from pretrain.depthwise import use_fast_gradients

CLIP_S = 2.0
LONGEST_S = 9.0  # a cell that would take longer, by the batch before it, is left out


def speed(
    systems: list[System], threads: list[int], batches: list[int], rounds: int
) -> Iterator[dict[str, Any]]:
    """One row for each system, kind of embedding, number of threads and batch."""
    for count in threads:
        torch.set_num_threads(count)
        for kind in ("scene", "timestamps"):
            contestants = [system for system in systems if getattr(system, kind) is not None]
            per_clip_s = {s.name: _time(s, kind, 1) for s in contestants}  # warms up, too
            for batch in batches:
                taking_part = [s for s in contestants if per_clip_s[s.name] * batch <= LONGEST_S]
                times: dict[str, list[float]] = {s.name: [] for s in taking_part}
                for system in taking_part:
                    _time(system, kind, batch)
                for _ in range(rounds):
                    for system in taking_part:
                        times[system.name].append(_time(system, kind, batch))
                for name, measured in times.items():
                    rates = [batch * CLIP_S / seconds for seconds in measured]
                    per_clip_s[name] = statistics.median(measured) / batch
                    yield {
                        "system": name,
                        "kind": kind,
                        "threads": count,
                        "batch": batch,
                        "audio_s_per_s": statistics.median(rates),
                        "lowest": min(rates),
                        "highest": max(rates),
                    }


def _time(system: System, kind: str, batch: int) -> float:
    audio = torch.randn(batch, int(CLIP_S * system.sample_rate)) / 10
    begin = time.perf_counter()
    getattr(system, kind)(audio)
    return time.perf_counter() - begin


def training(threads: list[int], batch: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Forward, backward and Adam: our encoder, with and without fast gradients, against the stock network."""
    for count in threads:
        torch.set_num_threads(count)
        ours, fast, stock = (untrained_encoder().train() for _ in range(3))
        use_fast_gradients(fast)
        stock.network = stock_network(stock.config, drop_connect_rate=0.0).train()
        steps = {
            "hear_msss encoder": (ours, torch.optim.Adam(ours.parameters(), lr=1e-4, fused=True)),
            "and pretrain.depthwise": (fast, torch.optim.Adam(fast.parameters(), lr=1e-4, fused=True)),
            "stock network": (stock, torch.optim.Adam(stock.parameters(), lr=1e-4)),
        }
        log_mel = torch.randn(batch, ours.config.n_mels, ours.config.segment_frames)
        times: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(rounds + 1):
            for name, (encoder, optimizer) in steps.items():
                begin = time.perf_counter()
                h = stock_h(encoder, log_mel) if encoder is stock else encoder(log_mel)
                optimizer.zero_grad()
                h.square().mean().backward()
                optimizer.step()
                if number:  # the first is a warm-up
                    times[name].append(time.perf_counter() - begin)
        for name, measured in times.items():
            yield training_row(name, count, batch, [batch / seconds for seconds in measured])


def training_row(system: str, threads: int, batch: int, rates: list[float]) -> dict[str, Any]:
    """The row of one system, from the segments per second of each round."""
    return {
        "system": system,
        "threads": threads,
        "batch": batch,
        "segments_per_s": statistics.median(rates),
        "lowest": min(rates),
        "highest": max(rates),
    }


def stock_h(encoder: Encoder, log_mel: torch.Tensor) -> torch.Tensor:
    """h of an encoder whose network is ``efficientnet_pytorch``'s as it comes."""
    config = encoder.config
    x = (log_mel - config.log_mel_mean) / config.log_mel_std
    return encoder.head(encoder.network.extract_features(x[:, None]))
