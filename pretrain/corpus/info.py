"""``python -m pretrain info``: what is in a packed corpus."""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.corpus.store import REJECTS, read_corpus

PERCENTILES = (1, 10, 50, 90, 99)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Hours, clips, levels, sources and what was left out of a packed corpus."
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="folder made by pack")


def decibels(levels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Linear levels, full scale = 1, to dBFS."""
    return 20 * np.log10(np.maximum(levels.astype(np.float64), 1e-6))


def describe(folder: Path) -> str:
    """The report on the corpus at ``folder``, as text."""
    corpus, index = read_corpus(folder)
    rate = corpus["settings"]["sample_rate"]
    seconds = index["length"] / rate
    total_s = max(float(seconds.sum()), 1e-9)
    lines = [
        f"{folder}: {total_s / 3600:.2f} h, {len(index)} clips of {seconds.min():.2f} to "
        f"{seconds.max():.2f} s (mean {seconds.mean():.2f} s) from {len(np.unique(index['file']))} files"
        if len(index)
        else f"{folder}: empty",
        f"hash {corpus['hash']}",
    ]
    if len(index):
        lines += ["", "level, dBFS   " + "".join(f"{p:>7} %" for p in PERCENTILES)]
        for name in ("peak", "rms"):
            values = np.percentile(decibels(index[name]), PERCENTILES)
            lines.append(f"  {name:<12}" + "".join(f"{value:9.1f}" for value in values))
    lines += ["", f"{'source':<36}{'kind':<10}{'hours':>8}{'share':>9}{'clips':>8}{'rms dBFS':>10}"]
    kinds = corpus.get("kinds", {})
    hours = np.bincount(index["source"], seconds, len(corpus["sources"])) / 3600
    for number in np.argsort(-hours, kind="stable"):
        name = corpus["sources"][number]
        mine = index["source"] == number
        rms = np.median(decibels(index["rms"][mine]))
        share = 100 * hours[number] * 3600 / total_s
        lines.append(
            f"{name:<36}{kinds.get(name, ''):<10}{hours[number]:8.3f}{share:8.1f} %{mine.sum():8}{rms:10.1f}"
        )
    lines += ["", *left_out(folder)]
    return "\n".join(lines)


def left_out(folder: Path) -> list[str]:
    """Files and clips in ``rejects.csv``, counted by reason."""
    files: Counter[str] = Counter()
    clips: Counter[str] = Counter()
    with (folder / REJECTS).open(encoding="utf-8", errors="surrogateescape", newline="") as text:
        row: dict[str, Any]
        for row in csv.DictReader(text):
            kind = row["reason"].split(":")[0].split(" of ")[0]
            (clips if row["start_s"] else files)[kind] += 1
    lines = [f"left out ({REJECTS}):"]
    for what, counts in (("files", files), ("clips of files kept", clips)):
        listed = ", ".join(f"{count} {kind}" for kind, count in counts.most_common()) or "none"
        lines.append(f"  {what}: {listed}")
    return lines


def run(args: argparse.Namespace) -> int:
    print(describe(args.corpus))
    return 0
