"""The share of data and views in a training step: ``python -m benchmarks.data_share [--corpus CORPUS]``.

Times, step by step, what a step of ``pretrain.train`` does, one thing after the other: read a batch
(which training does ahead, in another thread), make the views, then encoder forward and backward and
the optimizer. Prints the medians and the share of the first two.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch

from pretrain.augmentation import draw_augmentations
from pretrain.chunked import backward_in_chunks
from pretrain.config_layers import layered, parse_assignment, read_config
from pretrain.corpus.open import open_source
from pretrain.corpus.source import SegmentSource
from pretrain.distributed import join_processes
from pretrain.learner import Learner
from pretrain.optimization import make_optimizer
from pretrain.settings import Settings
from pretrain.views import Views

PARTS = ("read", "views", "learn")


def noise_corpus(folder: Path, clips: int = 128) -> Path:
    """A packed corpus of ten-second clips of noise."""
    from pretrain.__main__ import main

    random = np.random.default_rng(0)
    (folder / "noise").mkdir()
    for number in range(clips):
        soundfile.write(folder / "noise" / f"{number}.wav", 0.1 * random.standard_normal(160_000), 16_000)
    if main(["pack", str(folder / "noise"), "--out", str(folder / "corpus")]) != 0:
        raise RuntimeError("packing the noise failed")
    return folder / "corpus"


def measure(settings: Settings, source: SegmentSource, steps: int) -> dict[str, float]:
    """Median seconds of each part of a step; the first step, which warms up, is left out."""
    device = join_processes(settings.device)
    learner = Learner(settings).to(device).train()
    views = Views(settings.model, settings.pitch_shift).to(device)
    optimizer = make_optimizer(learner, settings)
    batches = source.batches(
        batch_size=settings.batch_size, segment_samples=settings.model.segment_samples, seed=settings.seed
    )

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    times: dict[str, list[float]] = {part: [] for part in PARTS}
    for step in range(steps + 1):
        marks = [now()]
        anchor, positive = (segments.to(device) for segments in next(batches))
        marks.append(now())
        drawn = draw_augmentations(len(anchor), settings, step, device)
        log_mel = views(anchor, positive, drawn)
        marks.append(now())
        optimizer.zero_grad(set_to_none=True)
        spectrum = learner.spectrum_target(anchor, positive, log_mel)
        loss_of = partial(learner.losses, x_hat=drawn.x_hat, spectrum=spectrum)
        backward_in_chunks(learner, log_mel, loss_of, settings.chunks)
        optimizer.step()
        marks.append(now())
        if step:
            for part, begin, end in zip(PARTS, marks, marks[1:], strict=False):
                times[part].append(end - begin)
    return {part: statistics.median(values) for part, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.data_share",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--corpus", help="packed corpus or shards (default: noise, packed for the purpose)")
    parser.add_argument("--config", action="append", default=[], help="as of pretrain train (default: cpu)")
    parser.add_argument("--set", action="append", default=[], dest="assignments", metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=5, help="steps to time (5)")
    args = parser.parse_args()
    settings = layered([*map(read_config, args.config or ["cpu"]), *map(parse_assignment, args.assignments)])
    with tempfile.TemporaryDirectory() as scratch:
        corpus = args.corpus or noise_corpus(Path(scratch))
        times = measure(settings, open_source(corpus, settings.corpus_weights or None), args.steps)
    total = sum(times.values())
    for part, seconds in times.items():
        print(f"{part:6} {1000 * seconds:9.1f} ms {seconds / total:7.1%}")
    share = (times["read"] + times["views"]) / total
    threads = torch.get_num_threads()
    print(f"data and views: {share:.1%} of a step of {settings.batch_size} clips, {threads} threads")


if __name__ == "__main__":
    main()
