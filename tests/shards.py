"""A few sounds in a folder, embedded one by one; and what is in the shards that ``embed`` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import soundfile
import webdataset

from hear_msss.__main__ import main

RATE = 16_000
NAMES = ("a.wav", "b.wav", "sub/a.wav", "sub/c.flac", "z.wav")
OPTIONS = ["--model", "untrained", "--option", "hop_ms=200"]


def make_sounds(folder: Path) -> Path:
    """Noise under each of ``NAMES``, of growing length."""
    random = np.random.default_rng(0)
    (folder / "sub").mkdir()
    for number, name in enumerate(NAMES):
        soundfile.write(folder / name, random.standard_normal(4000 + 7000 * number) / 10, RATE)
    return folder


def embed_singly(sounds: Path, out: Path) -> dict[str, dict[str, np.ndarray]]:
    """Name to array of scenes and of timestamps, a file for each, as embed has always written them."""
    for kind in ([], ["--timestamps"]):
        assert main(["embed", str(sounds), "--out", str(out), *OPTIONS, *kind]) == 0
    kinds = ("scene", "timestamps")
    return {kind: {name: np.load(out / f"{name}.{kind}.npy") for name in NAMES} for kind in kinds}


def read_shard(path: Path) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
    """Names in order, each with its embeddings and, if there are any, its times."""
    if path.suffix == ".tar":
        samples = webdataset.WebDataset(str(path), shardshuffle=False).decode()
        return [(s["json"]["path"], s["embedding.npy"], s.get("times_ms.npy")) for s in samples]
    if path.suffix == ".arrow":
        frame = pa.ipc.open_file(path).read_all().to_pandas()
    else:
        frame = pd.read_parquet(path)
    found = []
    for name, rows in frame.groupby("path", sort=False):
        embeddings = np.stack(list(rows["embedding"]))
        times = rows["time_ms"].to_numpy() if "time_ms" in frame else None
        found.append((name, embeddings[0] if times is None else embeddings, times))
    return found


def read_all(out: Path) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
    """The same of all shards in a folder."""
    return [sample for path in sorted(out.glob("[st]*-*.*")) for sample in read_shard(path)]


def records(out: Path) -> list[dict[str, Any]]:
    """All lines of all manifests in a folder."""
    return [json.loads(line) for path in out.glob("*.jsonl") for line in path.read_text().splitlines()]
