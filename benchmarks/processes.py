"""Measurements that need a fresh process: peak memory by clip length, and start-up time."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.speed import training_row

# Peak resident memory of this very process; ru_maxrss would start from the parent's at the exec.
PEAK = """
import re, resource, sys
def peak_mb():
    try:
        return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1)) / 1024
    except OSError:
        scale = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
"""
EMBED = (
    PEAK
    + """
from hear_msss.__main__ import main
code = main(sys.argv[1:])
print(peak_mb())
sys.exit(code)
"""
)
LOADED = (
    PEAK
    + """
import hear_msss.__main__, hear_msss
model = hear_msss.load_model("untrained", backend=sys.argv[1])
print(peak_mb())
"""
)
START = """
import hear_msss, torch
model = hear_msss.load_model("untrained", backend="{}")
hear_msss.get_scene_embeddings(torch.zeros(1, 16000), model)
"""
TRAIN = """
import sys, time, torch
from pretrain.learner import Learner
from pretrain.settings import Settings
torch.set_num_threads(int(sys.argv[1]))
learner = Learner(Settings(steps=1)).train()
log_mel = torch.randn(48, 64, 96)
for step in range(6):
    if step == 1:  # the first is a warm-up
        begin = time.perf_counter()
    learner(log_mel).square().mean().backward()
print(5 * 48 / (time.perf_counter() - begin))
"""


def _run(code: str, *arguments: str, **environment: str) -> tuple[str, float]:
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    if done.returncode:
        raise RuntimeError(f"a measured process failed:\n{done.stderr}")
    return done.stdout, time.perf_counter() - begin


def memory(lengths_s: list[int], backend: str) -> Iterator[dict[str, Any]]:
    """Peak memory of ``hear-msss embed`` for one WAV file at 44.1 kHz stereo, and of the loaded model."""
    loaded = float(_run(LOADED, backend)[0])
    yield {"kind": "loaded model", "backend": backend, "clip_s": 0, "peak_mb": loaded, "above_mb": 0.0}
    for length_s in lengths_s:
        with tempfile.TemporaryDirectory() as folder:
            wav = Path(folder, "clip.wav")
            noise = (np.random.default_rng(0).standard_normal((44100, 2)) / 10).astype(np.float32)
            with soundfile.SoundFile(wav, "w", 44100, 2) as file:
                for _ in range(length_s):
                    file.write(noise)
            for kind in ("scene", "timestamps"):
                arguments = ["embed", str(wav), "--out", f"{folder}/out", "--backend", backend]
                arguments += ["--model", "untrained", *(["--timestamps"] if kind == "timestamps" else [])]
                output, seconds = _run(EMBED, *arguments)
                peak = float(output.split()[-1])
                yield {
                    "kind": kind,
                    "backend": backend,
                    "clip_s": length_s,
                    "peak_mb": peak,
                    "above_mb": peak - loaded,
                    "seconds": seconds,
                }


def startup(backends: list[str], rounds: int) -> Iterator[dict[str, Any]]:
    """Seconds from nothing to the first scene embedding; the ONNX graph is in the cache already."""
    codes = {"import torch": "import torch", **{f"hear_msss {b}": START.format(b) for b in backends}}
    for code in codes.values():
        _run(code)
    times: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(rounds):
        for name, code in codes.items():
            times[name].append(_run(code)[1])
    for name, measured in times.items():
        yield {"what": name, "seconds": statistics.median(measured), "highest": max(measured)}


def huge_pages(threads: list[int], rounds: int) -> Iterator[dict[str, Any]]:
    """Forward and backward of 48 segments with huge pages, as ``python -m pretrain`` asks, and without."""
    systems = {"small pages": "0", "huge pages": "1"}
    for count in threads:
        rates: dict[str, list[float]] = {name: [] for name in systems}
        for _ in range(rounds):
            for name, wanted in systems.items():
                output, _ = _run(TRAIN, str(count), THP_MEM_ALLOC_ENABLE=wanted)
                rates[name].append(float(output))
        for name, measured in rates.items():
            yield training_row(f"as trained, {name}", count, 48, measured)
