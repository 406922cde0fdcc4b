"""``python -m pretrain overlap``: which clips of a corpus are also in an evaluation set?"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hear_msss.audio import find_sounds, read_mono
from pretrain.corpus.audio import FULL_SCALE
from pretrain.corpus.fingerprint import BITS, SAMPLE_RATE, differing_bits, fingerprint
from pretrain.corpus.packed import PackedSource
from pretrain.corpus.store import MANIFEST
from pretrain.files import open_replacing

# Unrelated sounds differ in about half of their bits; the fingerprint's paper takes 0.35 for a match over 3.3
# seconds. A shorter part is compared here, so fewer errors are allowed.
LARGEST_ERROR_RATE = 0.2
COMPARED_FRAMES = 50  # 1 s: the part that must agree
FEWEST_FRAMES = 20  # of clips and files that are shorter, all must agree, at least 0.4 s
MOST_OCCURRENCES = 200  # a hash in more places than this tells nothing (silence, steady hum)
MOST_CANDIDATES = 20  # places that share most hashes with a sound are compared bit by bit


@dataclass(frozen=True)
class Match:
    """A clip of the corpus and a file of the evaluation set that hold the same sound.

    Attributes:
        clip: number of the clip, its row in the manifest.
        file: of the evaluation set.
        error_rate: share of differing bits where they agree best, 0 for a copy.
    """

    clip: int
    file: Path
    error_rate: float


class FingerprintIndex:
    """Fingerprints of all clips of a corpus, to be searched by their hashes.

    Args:
        clips: samples in [-1, 1] at 16 kHz, one array a clip.
    """

    def __init__(self, clips: Iterator[NDArray[np.float32]]) -> None:
        prints = [fingerprint(clip) for clip in clips]
        self.lengths = np.array([len(bits) for bits in prints], dtype=np.int64)
        self.first = np.concatenate([[0], np.cumsum(self.lengths)])
        self.bits = np.concatenate(prints) if prints else np.zeros(0, dtype=np.uint32)
        self.order = np.argsort(self.bits, kind="stable")
        self.sorted = self.bits[self.order]

    def places(self, bits: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Equal hashes: the frame of the sound and the frame of the corpus of each."""
        low = np.searchsorted(self.sorted, bits, "left")
        count = np.searchsorted(self.sorted, bits, "right") - low
        count[count > MOST_OCCURRENCES] = 0
        own = np.repeat(np.arange(len(bits)), count)
        nth = np.arange(len(own)) - np.repeat(np.cumsum(count) - count, count)
        return own, self.order[np.repeat(low, count) + nth]

    def matches(self, bits: NDArray[np.uint32]) -> Iterator[tuple[int, float]]:
        """Clips that hold the same sound: number and error rate."""
        own, frames = self.places(bits)
        if not len(own):
            return
        clips = np.searchsorted(self.first, frames, "right") - 1
        shifts = frames - self.first[clips] - own
        pairs, votes = np.unique(np.stack([clips, shifts]), axis=1, return_counts=True)
        told = set()
        for best in np.argsort(-votes, kind="stable")[:MOST_CANDIDATES]:
            clip, shift = (int(value) for value in pairs[:, best])
            begin, end = max(0, -shift), min(len(bits), int(self.lengths[clip]) - shift)
            if clip in told or end - begin < FEWEST_FRAMES:
                continue
            start = self.first[clip] + shift
            rate = lowest_error_rate(bits[begin:end], self.bits[start + begin : start + end])
            if rate <= LARGEST_ERROR_RATE:
                told.add(clip)
                yield clip, rate


def lowest_error_rate(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> float:
    """Share of differing bits over the ``COMPARED_FRAMES`` frames that agree best, or over all if fewer.

    Frames of digital silence have no bit set. Two of them agree in nothing that is heard, and count as
    chance.
    """
    errors = np.where((a == 0) & (b == 0), BITS // 2, differing_bits(a, b))
    width = min(COMPARED_FRAMES, len(errors))
    sums = np.convolve(errors, np.ones(width), "valid")
    return float(sums.min()) / (width * BITS)


def corpus_clips(source: PackedSource) -> Iterator[NDArray[np.float32]]:
    """All clips, in the order of the manifest, as samples in [-1, 1]."""
    for number in tqdm(range(len(source.lengths)), desc="corpus", unit="clip", disable=None):
        yield source.clip(number).astype(np.float32) / np.float32(FULL_SCALE)


def find_overlap(corpus: Path, folders: list[Path]) -> list[Match]:
    """Compare every sound file below the folders with every clip of the corpus.

    Args:
        corpus: folder that ``pretrain pack`` made.
        folders: with the evaluation audio, in any format and at any rate.

    Raises:
        ValueError: there is no sound file below a folder, or one cannot be read: a file that was not compared
            must not look like one without overlap.
    """
    files = []
    for folder in folders:
        below = list(find_sounds(folder))
        if not below:
            raise ValueError(f"{folder}: no sound files there, so nothing to compare the corpus with")
        files += below
    index = FingerprintIndex(corpus_clips(PackedSource(corpus, validation_fraction=0)))
    found = []
    for file in tqdm(files, desc="evaluation audio", unit="file", disable=None):
        samples, _, warnings = read_mono(file, SAMPLE_RATE)
        for warning in warnings:
            tqdm.write(f"WARNING {file}: {warning}", file=sys.stderr)
        found += [Match(clip, file, rate) for clip, rate in index.matches(fingerprint(samples))]
    return found


def write_exclusions(corpus: Path, matches: list[Match], out: Path) -> int:
    """Write the corpus's files that hold such clips, for ``pack --exclude-list``; returns how many."""
    with (corpus / MANIFEST).open(encoding="utf-8", errors="surrogateescape", newline="") as text:
        clips = list(csv.DictReader(text))
    evaluation: dict[str, Match] = {}
    for match in sorted(matches, key=lambda match: -match.error_rate):
        row = clips[match.clip]
        evaluation[f"{row['source']}/{row['path']}"] = match
    with open_replacing(out) as text:
        for name, match in sorted(evaluation.items()):
            text.write(f"# {100 * match.error_rate:.0f} % of bits differ from {match.file}\n{name}\n")
    return len(evaluation)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Find clips of a corpus that are in evaluation sets, too, by fingerprints that survive codecs, "
        "levels and cuts. Writes a list for `pack --exclude-list`. Sounds under 0.7 s are not compared."
    )
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="folder made by pack")
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER", help="evaluation audio, any format"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="list of files to exclude")


def run(args: argparse.Namespace) -> int:
    matches = find_overlap(args.corpus, args.folders)
    files = write_exclusions(args.corpus, matches, args.out)
    print(f"{args.out}: {files} files of the corpus hold sounds of {', '.join(map(str, args.folders))}")
    return 0
