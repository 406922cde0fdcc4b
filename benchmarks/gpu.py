"""What a GPU does for us: encoder, embeddings and training steps, against its own matrix and memory rates."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import hear_msss
from benchmarks import GPU_PARTS, gpu_training, machine
from benchmarks.stopwatch import now, rates, summary
from benchmarks.systems import all_systems
from hear_msss.config import ModelConfig
from hear_msss.device import PRECISIONS
from hear_msss.tf32 import products

CLIP_S = 2.0
LONGEST_S = 6.0  # a run that would take longer, by the batch before it, is left out
LATEST_S = 70.0  # rows that have not begun by then are left out
COMPARED = 32  # windows that are encoded on the CPU, too

Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        matrix: rows and columns of the matrix product.
        copied_mib: of the copy within the device's memory.
        windows: batches of the encoder alone, the most telling first.
        clips: batches of embeddings, of clips of 2 s.
        training_clips: of a training step; a clip gives three segments.
        rounds: measurements of each figure.
    """

    matrix: int = 8192
    copied_mib: int = 4096
    windows: tuple[int, ...] = (1024, 1, 4096, 256, 32)
    clips: tuple[int, ...] = (1, 256)
    training_clips: int = 1024
    rounds: int = 3


SMALL = Sizes(256, 16, (4, 1), (1, 2), 2, 1)


def measure(
    device: torch.device, sizes: Sizes, missing: dict[str, str], only: Collection[str] = GPU_PARTS
) -> Iterator[Row]:
    """All rows, the most telling parts first. A part that fails or is cut short is named in ``missing``.

    Most of the time goes into the first run of each shape in each precision: seconds on an H200, where later
    runs take milliseconds.

    Args:
        device: that computes.
        sizes: how much is measured.
        missing: gets the name of what is left out, and why.
        only: parts that are measured, the card's own rates aside, of :data:`GPU_PARTS` and
            :data:`benchmarks.COMPILED_GPU_PARTS`.
    """
    begin, clips, rounds = time.perf_counter(), sizes.training_clips, sizes.rounds
    card = describe(device, sizes)
    yield card
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "training step": lambda: gpu_training.variants(device, clips, rounds, False),
        "pretrain step": lambda: gpu_training.whole_step(device, clips, rounds, False),
        "embeddings": lambda: embeddings(device, sizes, missing),
        "encoder": lambda: encoder(device, sizes.windows, rounds),
        "compiled training step": lambda: gpu_training.variants(device, clips, rounds, True),
        "compiled pretrain step": lambda: gpu_training.whole_step(device, clips, rounds, True),
        "compiled encoder": lambda: compiled_encoder(device, sizes.windows[0], rounds),
    }
    for name, part in parts.items():
        if name.replace(" ", "-") not in only:
            continue
        rows, count = part(), 0
        try:
            while time.perf_counter() - begin < LATEST_S:
                if (row := next(rows, None)) is None:
                    break
                yield with_share(row, card)
                count += 1
            else:
                missing[name] = f"{LATEST_S:.0f} s were over after {count} of its rows"
        except Exception as error:  # the parts after it are measured all the same
            traceback.print_exc()
            missing[name] = f"{type(error).__name__}: {error}"


def with_share(row: Row, card: Row) -> Row:
    """A row of training gets the share of the bf16 matrix rate that the encoder reaches; others stay."""
    if row["measure"] != "training":
        return row
    tflops = row["segments_per_s"] * card["training_gflop"] / 1000
    return row | {"share_of_bf16_matrix_rate": tflops / card["bf16_matrix_tflops"]}


def describe(device: torch.device, sizes: Sizes) -> Row:
    """The device: its name, its rates, and what a segment costs in training."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else machine.cpu_name()
    a, b = (torch.randn(sizes.matrix, sizes.matrix, device=device).bfloat16() for _ in range(2))
    product = rates(lambda: a @ b, 2 * sizes.matrix**3 / 1e12, device, sizes.rounds)
    source = torch.randn(sizes.copied_mib * 2**18, device=device)
    target = torch.empty_like(source)
    moved_gb = 2 * source.numel() * source.element_size() / 1e9  # read and written
    copy = rates(lambda: target.copy_(source), moved_gb, device, sizes.rounds)
    return {
        "measure": "card",
        "name": name,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "matrix": sizes.matrix,
        "bf16_matrix_tflops": summary("rate", product)["rate"],
        "memory_gb_per_s": summary("rate", copy)["rate"],
        "training_gflop": 3 * machine.window_gflop(),  # forward, and a gradient of inputs and of weights
    }


def inference_encoder(device: torch.device, precision: str) -> nn.Module:
    """The encoder as ``load_model`` runs it: batch norm folded, convolutions in this precision."""
    model = hear_msss.load_model(features="h", backend="torch", precision=precision)
    return model.to(device).encoder


def some_segments(batch: int) -> Tensor:
    config = ModelConfig()
    shape = (batch, config.n_mels, config.segment_frames)
    return torch.randn(shape) * config.log_mel_std + config.log_mel_mean


@torch.no_grad()
def encoder(device: torch.device, batches: tuple[int, ...], rounds: int) -> Iterator[Row]:
    """Windows a second of the encoder alone, and the relative error of h to that of a CPU in float32."""
    segments = some_segments(max(batches))
    expected = inference_encoder(torch.device("cpu"), "float32")(segments[: min(COMPARED, batches[0])])
    segments = segments.to(device)
    networks = {precision: inference_encoder(device, precision) for precision in PRECISIONS}
    errors = {}
    for batch in batches:
        part = segments[:batch]
        for precision, network in networks.items():
            with products(precision != "float32"):
                if precision not in errors:
                    found = network(part)[: len(expected)].float().cpu()
                    errors[precision] = float((found - expected).norm() / expected.norm())
                measured = rates(lambda: network(part), batch, device, rounds)  # noqa: B023
            yield encoder_row(precision, batch, measured) | {"relative_error": errors[precision]}


@torch.no_grad()
def compiled_encoder(device: torch.device, batch: int, rounds: int) -> Iterator[Row]:
    """The same in bf16 by ``torch.compile``, for one batch."""
    network = torch.compile(inference_encoder(device, "bf16"))
    segments = some_segments(batch).to(device)
    begin = now(device)
    network(segments)
    compile_s = now(device) - begin
    measured = rates(lambda: network(segments), batch, device, rounds)
    yield encoder_row("bf16, compiled", batch, measured) | {"compile_s": compile_s}


def encoder_row(name: str, batch: int, measured: list[float]) -> Row:
    return {
        "measure": "encoder",
        "system": name,
        "batch": batch,
        **summary("windows_per_s", measured),
    }


def embeddings(device: torch.device, sizes: Sizes, missing: dict[str, str]) -> Iterator[Row]:
    """Seconds of audio a second, from waveforms on the device to embeddings, ours and peers'."""
    systems, left_out = all_systems(device)
    missing.update(left_out)
    for kind in ("scene", "timestamps"):
        for system in systems:
            embed, per_clip_s = getattr(system, kind), 0.0
            for batch in sizes.clips if embed else ():
                if per_clip_s * batch > LONGEST_S:
                    continue
                audio = torch.randn(batch, int(CLIP_S * system.sample_rate), device=device) / 10
                measured = rates(lambda: embed(audio), batch * CLIP_S, device, sizes.rounds)  # noqa: B023
                row: Row = {"measure": "embeddings", "system": system.name, "kind": kind, "batch": batch}
                rate = summary("audio_s_per_s", measured)
                per_clip_s = CLIP_S / rate["audio_s_per_s"]
                yield row | rate
