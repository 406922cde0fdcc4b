"""The corpus on disk, and how it survives a kill.

    audio.int16      all clips, one after the other, 16 kHz mono little-endian int16
    journal.jsonl    one line a file: its clips, or why it has none
    index.npy        one record a clip (``INDEX``), what the reader needs
    manifest.csv     one line a clip, for people: source, path, start, duration, hash, levels
    rejects.csv      files and clips left out, with the reason
    warnings.csv     files that are damaged or end too early, with what is wrong
    corpus.json      settings, sources, totals, hash; written last

Audio is appended first, then its journal line. Audio that the journal does not name is cut off when packing
continues. Everything else is made from the journal and renamed into place, so a corpus that is added to stays
readable, as it was, until the new ``corpus.json`` is there.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pretrain.corpus.audio import ClipSettings
from pretrain.files import open_replacing

FORMAT_VERSION = 1
AUDIO, JOURNAL, INDEX_FILE, CORPUS = "audio.int16", "journal.jsonl", "index.npy", "corpus.json"
MANIFEST, REJECTS, WARNINGS = "manifest.csv", "rejects.csv", "warnings.csv"
BYTES_PER_SAMPLE = 2

INDEX = np.dtype(
    [
        ("offset", "<i8"),  # first sample in audio.int16
        ("length", "<i4"),  # samples
        ("source", "<i4"),  # number in corpus.json's sources
        ("file", "<i4"),  # number of the line in the journal
        ("file_hash", "<u8"),  # of source and path: decides who is held out
        ("peak", "<f4"),
        ("rms", "<f4"),
    ]
)


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """The files committed so far; a last line torn by a kill is no line."""
    path = folder / JOURNAL
    if not path.exists():
        return []
    entries = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            break
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: damaged ({error}); pack into a new folder") from error
    return entries


def samples_of(entry: dict[str, Any]) -> int:
    """Samples that a journal entry's file has in the store."""
    return sum(clip[1] for clip in entry["clips"])


class StoreWriter:
    """Appends files to a store; opening it repairs what a kill left behind."""

    def __init__(self, folder: Path) -> None:
        self.entries = read_journal(folder)
        self.samples = sum(map(samples_of, self.entries))
        self.hashes = {
            clip[4]: [entry["source"], entry["name"], clip[0]]
            for entry in self.entries
            for clip in entry["clips"]
        }
        self.audio = self._open(folder / AUDIO, self.samples * BYTES_PER_SAMPLE)
        lines = sum(len(self._line(entry)) for entry in self.entries)
        self.journal = self._open(folder / JOURNAL, lines)
        self.waiting: list[bytes] = []

    @staticmethod
    def _line(entry: dict[str, Any]) -> bytes:
        return json.dumps(entry, separators=(",", ":")).encode() + b"\n"

    @staticmethod
    def _open(path: Path, size: int) -> IO[bytes]:
        file = path.open("r+b" if path.exists() else "w+b")
        present = file.seek(0, os.SEEK_END)
        if present < size:
            file.close()
            raise ValueError(
                f"{path}: {present} bytes, expected {size}: it is damaged; pack into another folder"
            )
        file.truncate(size)
        file.seek(size)
        return file

    def add(self, entry: dict[str, Any], part: Path) -> None:
        """Take over one converted file; clips that are in the store already become ``duplicates``."""
        kept, duplicates = [], []
        with (part if entry["clips"] else Path(os.devnull)).open("rb") as data:
            for clip in entry["clips"]:
                start, length, _, _, digest = clip
                content = data.read(length * BYTES_PER_SAMPLE)
                if digest in self.hashes:
                    duplicates.append([start, length, *self.hashes[digest]])
                    continue
                self.hashes[digest] = [entry["source"], entry["name"], start]
                self.audio.write(content)
                kept.append(clip)
        if entry["clips"] and not kept:
            entry["reason"] = "duplicate of {}/{}".format(*duplicates[0][2:4])
        entry |= {"offset": self.samples, "clips": kept, "duplicates": duplicates}
        self.samples += samples_of(entry)
        self.entries.append(entry)
        self.waiting.append(self._line(entry))

    def commit(self) -> None:
        """Audio to the disk, then the journal lines that name it."""
        for file in (self.audio, self.journal):
            if file is self.journal:
                file.write(b"".join(self.waiting))
                self.waiting.clear()
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        self.commit()
        self.audio.close()
        self.journal.close()


def file_hash(source: str, name: str) -> int:
    """64 bits of the file's identity, the same on every machine."""
    digest = hashlib.sha256(f"{source}\0{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "little")


def build_index(entries: list[dict[str, Any]], sources: list[str]) -> NDArray[Any]:
    """One ``INDEX`` record a clip, in the order of the store."""
    numbers = {source: number for number, source in enumerate(sources)}
    rows = []
    for line, entry in enumerate(entries):
        offset, identity = entry["offset"], file_hash(entry["source"], entry["name"])
        for _, length, peak, rms, _ in entry["clips"]:
            rows.append((offset, length, numbers[entry["source"]], line, identity, peak, rms))
            offset += length
    return np.array(rows, dtype=INDEX)


def write_tables(folder: Path, entries: list[dict[str, Any]], rate: int) -> None:
    """``manifest.csv``, ``rejects.csv`` and ``warnings.csv``."""
    with open_replacing(folder / MANIFEST) as out:
        table = csv.writer(out)
        table.writerow(("clip", "source", "path", "start_s", "duration_s", "sha256", "peak", "rms"))
        clip = 0
        for entry in entries:
            for start, length, peak, rms, digest in entry["clips"]:
                place = (entry["source"], entry["name"], start / rate, length / rate)
                table.writerow((clip, *place, digest, peak, rms))
                clip += 1
    files = latest(entries)
    with open_replacing(folder / REJECTS) as out:
        table = csv.writer(out)
        table.writerow(("source", "path", "start_s", "duration_s", "reason"))
        for entry in files:
            file = (entry["source"], entry["name"])
            if entry["reason"]:
                table.writerow((*file, "", "", entry["reason"]))
                continue
            dropped = [(start, length, reason) for start, length, reason in entry["dropped"]]
            for start, length, source, name, first in entry["duplicates"]:
                dropped.append((start, length, f"duplicate of {source}/{name} at {first / rate} s"))
            for start, length, reason in sorted(dropped):
                table.writerow((*file, start / rate, length / rate, reason))
    with open_replacing(folder / WARNINGS) as out:
        table = csv.writer(out)
        table.writerow(("source", "path", "warning"))
        for entry in files:
            warnings = entry.get("warnings", [])  # corpora of version 0.1 have none
            table.writerows((entry["source"], entry["name"], warning) for warning in warnings)


def latest(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last entry of each file: one that was rejected, changed and tried again has several."""
    return list({(entry["source"], entry["name"]): entry for entry in entries}.values())


def known_kinds(folder: Path) -> dict[str, str]:
    """The kinds of sources that an earlier ``pack`` wrote down, by source; empty for a new corpus."""
    path = folder / CORPUS
    return json.loads(path.read_text(encoding="utf-8")).get("kinds", {}) if path.exists() else {}


def finish(
    folder: Path,
    entries: list[dict[str, Any]],
    settings: ClipSettings,
    kinds: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Make index, tables and ``corpus.json`` from the journal; returns what ``corpus.json`` says.

    Args:
        folder: of the corpus.
        entries: of the journal.
        settings: how files became clips.
        kinds: kind of sources, by source; those that the corpus has already stay unless they are named.
    """
    all_kinds = known_kinds(folder) | dict(kinds or {})
    sources = list(dict.fromkeys(entry["source"] for entry in entries if entry["clips"]))
    index = build_index(entries, sources)
    write_tables(folder, entries, settings.sample_rate)
    content = hashlib.sha256(json.dumps(asdict(settings)).encode())
    for entry in entries:
        for clip in entry["clips"]:
            content.update(clip[4].encode())
    corpus = {
        "format_version": FORMAT_VERSION,
        "settings": asdict(settings),
        "sources": sources,
        "kinds": {source: all_kinds[source] for source in sources if all_kinds.get(source)},
        "clips": len(index),
        "samples": int(index["length"].sum()),
        "hash": content.hexdigest(),
    }
    with open_replacing(folder / INDEX_FILE, "wb") as out:
        np.save(out, index)
    with open_replacing(folder / CORPUS) as text:
        json.dump(corpus, text, indent=1)
        text.write("\n")
    return corpus


def read_corpus(folder: Path) -> tuple[dict[str, Any], NDArray[Any]]:
    """``corpus.json`` and the index of a packed corpus.

    Raises:
        FileNotFoundError: no packed corpus there, or one that was never finished.
        ValueError: its files do not fit each other.
    """
    if not (folder / CORPUS).exists():
        hint = (
            "packing did not finish: run the same pack command again" if (folder / JOURNAL).exists() else ""
        )
        raise FileNotFoundError(
            f"{folder}: no packed corpus ({CORPUS} is missing); "
            + (hint or f"make one with: python -m pretrain pack SRC --out {folder}")
        )
    corpus = json.loads((folder / CORPUS).read_text(encoding="utf-8"))
    if corpus["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{folder}: corpus of format {corpus['format_version']}, this program reads "
            f"{FORMAT_VERSION}: pack into another folder"
        )
    index = np.load(folder / INDEX_FILE, allow_pickle=False)[: corpus["clips"]]
    size = (folder / AUDIO).stat().st_size
    if int(index["length"].sum()) != corpus["samples"] or size < corpus["samples"] * BYTES_PER_SAMPLE:
        raise ValueError(f"{folder}: index, audio and {CORPUS} do not fit each other: run pack again")
    return corpus, index
