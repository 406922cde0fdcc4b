"""Rates and memory on a collection: many short files and one long one, embedded in several ways.

python -m benchmarks.collection                              20,000 files of one second, one of six hours
python -m benchmarks.collection --files 2000 --hours 1       smaller
python -m benchmarks.collection --folder /data/load          keep the files, and find them there again
python -m benchmarks.collection --plan 300000                memory that so many files take before the first

Each way is a process of its own with one thread; loading the model is not counted. Sounds are 16-bit WAV at
16 kHz. Leave the machine alone, or say that it was busy: the table names its load.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 16_000


def make(folder: Path, files: int, hours: float) -> None:
    """``short/000000.wav`` and so on, and ``long/long.wav``, unless they are there."""
    random = np.random.default_rng(0)
    noise = (random.standard_normal(60 * RATE) / 20).astype(np.float32)
    for kind in ("short", "long"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(files):
        path = folder / "short" / f"{number:06d}.wav"
        if not path.exists():
            start = int(random.integers(59 * RATE))
            soundfile.write(path, noise[start : start + RATE], RATE, subtype="PCM_16")
    path = folder / "long" / "long.wav"
    if not path.exists() or soundfile.info(path).frames != int(hours * 60) * 60 * RATE:
        with soundfile.SoundFile(path, "w", RATE, 1, subtype="PCM_16") as file:
            for _ in range(int(hours * 60)):
                file.write(noise)


def embed(*more: str) -> Callable[[list[Path]], None]:
    """The command line on all files, with further arguments."""
    from hear_msss.__main__ import main

    def all_of(paths: list[Path]) -> None:
        with tempfile.TemporaryDirectory(dir=paths[0].parent.parent) as out:
            assert main(["embed", str(paths[0].parent), "--out", out, *more]) == 0

    return all_of


def loop() -> Callable[[list[Path]], None]:
    """The HEAR API, file after file, read by soundfile in one piece."""
    import torch

    import hear_msss

    model = hear_msss.load_model()

    def all_of(paths: list[Path]) -> None:
        for path in paths:
            audio = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
            hear_msss.get_scene_embeddings(audio, model)

    return all_of


def one_at_a_time() -> Callable[[list[Path]], None]:
    """``embed_files`` with one file in each call: nothing to batch, and nothing to decode ahead."""
    import hear_msss

    model = hear_msss.load_model()

    def all_of(paths: list[Path]) -> None:
        for path in paths:
            [_] = hear_msss.embed_files([path], model, decoders=0)

    return all_of


WAYS: dict[str, Callable[[], Callable[[list[Path]], None]]] = {
    "embed": embed,
    "embed, short_clip_windows=1": lambda: embed("--option", "short_clip_windows=1"),
    "embed, Parquet shards": lambda: embed("--format", "parquet", "--shard-files", "1000"),
    "embed, timestamps": lambda: embed("--timestamps"),
    "loop over get_scene_embeddings": loop,
    "one file at a time": one_at_a_time,
}
SHORT_ONLY = ("embed, short_clip_windows=1", "embed, Parquet shards", "one file at a time")  # else as embed


def measure(way: str, kind: str, folder: Path, warm_up: Path) -> dict[str, Any]:
    """Seconds and peak memory of one way, in this process."""
    import torch

    from benchmarks.processes import PEAK

    torch.set_num_threads(1)
    does = WAYS[way]()
    does([warm_up])
    names: dict[str, Any] = {}
    exec(PEAK, names)
    loaded = names["peak_mb"]()
    paths = sorted((folder / kind).glob("*.wav"))
    audio_s = sum(soundfile.info(path).duration for path in paths)
    begin = time.perf_counter()
    does(paths)
    seconds = time.perf_counter() - begin
    return {
        **{"way": way, "kind": kind, "files": len(paths), "audio_s": audio_s, "seconds": seconds},
        **{"peak_mb": names["peak_mb"](), "loaded_mb": loaded},
    }


def row(result: dict[str, Any]) -> str:
    files, audio_s, seconds = result["files"], result["audio_s"], result["seconds"]
    cells = [
        result["way"],
        f"{files} of 1 s" if result["kind"] == "short" else f"1 of {audio_s / 3600:.3g} h",
        f"{seconds:.0f}",
        f"{files / seconds:.3g}",
        f"{audio_s / seconds:.0f}",
        f"{result['peak_mb']:.0f}",
        f"{result['peak_mb'] - result['loaded_mb']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def run(folder: Path, files: int, hours: float) -> None:
    make(folder, files, hours)
    make(folder / "warm-up", 1, 1 / 60)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before; one thread each\n")
    print("| way | files | seconds | files/s | seconds of audio per second | peak MB | above the model, MB |")
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    for kind in ("short", "long"):
        for way in WAYS:
            if kind == "long" and way in SHORT_ONLY:
                continue
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.collection", "--measure", way, kind, "--folder", folder],
                capture_output=True,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            if done.returncode:
                raise RuntimeError(f"{way}: {done.stderr}")
            print(row(json.loads(done.stdout.splitlines()[-1])), flush=True)
    print(f"\nload {os.getloadavg()[0]:.1f} after")


def plan(files: int) -> None:
    """Memory of the process that hands out the work: for files that need not exist, and for their records."""
    from hear_msss.cli import jobs, manifest
    from hear_msss.collection.sources import FileSource, Stamp

    def resident_mb() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    settings = jobs.EmbedSettings("", "{}", False, "npy", "cpu", Path("out"))
    names = (f"{number // 1000:06d}/{number:09d}.wav" for number in range(files))
    before = resident_mb()
    planned = jobs.plan(((FileSource(f"/data/clips/{name}"), Path(name)) for name in names), settings, "npy")
    after = resident_mb()
    print(f"{1e6 * (after - before) / files:.0f} MB for each million files")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, manifest.MANIFEST)
        with manifest.open_manifest(path) as lines:
            for job in planned:
                outcome = jobs.Outcome(job, duration_s=1.0, rows=1, source=Stamp(32044, time.time_ns()))
                lines.write(json.dumps(manifest.record_of(outcome, "0123456789abcdef", 1)) + "\n")
        before = resident_mb()
        records = manifest.read_manifests(Path(folder))
        print(f"{1e6 * (resident_mb() - before) / len(records):.0f} MB for each million lines of manifests")


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.collection",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--folder", type=Path, help="for the sounds (default: a temporary one)")
    parser.add_argument("--plan", type=int, metavar="FILES", help="measure the memory of planning, and end")
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "KIND"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plan:
        plan(arguments.plan)
        return 0
    if arguments.measure:
        warm_up = arguments.folder / "warm-up" / "short" / "000000.wav"
        way, kind = arguments.measure
        print(json.dumps(measure(way, kind, arguments.folder, warm_up)))
        return 0
    if arguments.folder:
        run(arguments.folder, arguments.files, arguments.hours)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), arguments.files, arguments.hours)
    return 0


if __name__ == "__main__":
    sys.exit(main())
