"""Measure speed and memory, in one run, against peers and against the machine.

python -m benchmarks --out build/bench            everything, at most 10 minutes on two cores
python -m benchmarks --out build/bench --quick    two batch sizes, short clips, one or two rounds
python -m benchmarks --only gpu --out build/gpu   a GPU: its own rates, encoder, embeddings and training
                                                  steps in each precision; about 90 seconds

Peers are looked for in the environment and in build/peers (or $HEAR_MSSS_PEERS):

pip install --no-deps --target build/peers hear21passt panns-hear torchlibrosa torchcrepe resampy

Results go to OUT/bench.json and, as tables, to OUT/bench.md and the screen. Leave the machine alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import COMPILED_GPU_PARTS, GPU_PARTS

PARTS = ("speed", "training", "memory", "startup")
GPU = "gpu"


def parser_of_arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=(*PARTS, GPU),
        default=list(PARTS),
        metavar="PART",
        help=f"{', '.join(PARTS)} (these by default) or {GPU}",
    )
    parser.add_argument(
        "--gpu-parts",
        nargs="+",
        choices=(*GPU_PARTS, *COMPILED_GPU_PARTS),
        default=list(GPU_PARTS),
        metavar="PART",
        help=f"of the part {GPU}: {', '.join(GPU_PARTS)} (these by default), {', '.join(COMPILED_GPU_PARTS)} "
        "(compiling takes a minute or more)",
    )
    parser.add_argument("--device", default="cuda", help=f"of the part {GPU} (cuda)")
    return parser


def main() -> int:
    parser = parser_of_arguments()
    arguments = parser.parse_args()
    sys.path.append(os.environ.get("HEAR_MSSS_PEERS", "build/peers"))

    from benchmarks import gpu, machine, processes, speed
    from benchmarks.systems import all_systems
    from hear_msss.device import find_device

    try:
        device = find_device(arguments.device) if GPU in arguments.only else None
    except ValueError as error:
        parser.error(str(error))
    quick, only, begin = arguments.quick, arguments.only, time.perf_counter()
    threads = [n for n in (1, 2) if n <= (os.cpu_count() or 1)]
    batches, rounds = ([1, 8], 2) if quick else ([1, 8, 32], 3)
    lengths_s = [10, 60] if quick else [10, 60, 600, 3600]
    result: dict[str, Any] = {"machine": machine.describe(threads), "missing": {}}
    result |= {part: [] for part in (*PARTS, GPU)}
    arguments.out.mkdir(parents=True, exist_ok=True)

    def collect(part: str, rows: Any) -> None:
        for row in rows:
            result[part].append(row)
            write(arguments.out, result)  # a run that is cut short leaves what it has measured
            print(f"{time.perf_counter() - begin:5.0f} s  {part}  {row}", file=sys.stderr, flush=True)

    if "speed" in only:
        systems, result["missing"] = all_systems()
        for name, reason in result["missing"].items():
            print(f"{name} is left out: {reason} (see python -m benchmarks --help)", file=sys.stderr)
        collect("speed", speed.speed(systems, threads, batches, rounds))
    if "training" in only:
        collect("training", speed.training(threads, 16 if quick else 64, rounds))
        collect("training", processes.huge_pages(threads, rounds))
    backend = "torch" if any(name.startswith("hear_msss") for name in result["missing"]) else "onnxruntime"
    if "memory" in only:
        collect("memory", processes.memory(lengths_s, backend))
    if "startup" in only:
        collect("startup", processes.startup(list(dict.fromkeys(["torch", backend])), rounds))
    if device is not None:
        sizes = gpu.SMALL if quick else gpu.Sizes()
        collect(GPU, gpu.measure(device, sizes, result["missing"], arguments.gpu_parts))

    print(write(arguments.out, result))
    return 0


def write(folder: Path, result: dict[str, Any]) -> str:
    """Write bench.json and bench.md; returns the text of the second."""
    from benchmarks import report

    (folder / "bench.json").write_text(json.dumps(result, indent=1))
    tables = report.markdown(result)
    (folder / "bench.md").write_text(tables)
    return tables


if __name__ == "__main__":
    sys.exit(main())
