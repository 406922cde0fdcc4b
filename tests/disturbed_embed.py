"""``hear-msss embed``, alone and in parts, with a result for each file and in shards, to be disturbed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from disturb import Verb

from hear_msss.__main__ import main as hear_msss
from hear_msss.cli.jobs import Part
from hear_msss.cli.manifest import MANIFEST, Records, read_manifest

RATE = 8000
FORMATS = ("parquet", "arrow", "webdataset")


def sound(seed: int, seconds: float = 0.4) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(RATE * seconds))


def make_sounds(folder: Path) -> None:
    (folder / "audio").mkdir()
    for number in range(6):
        soundfile.write(folder / f"audio/{number}.wav", sound(number, 1.0), RATE)


def embed(folder: Path, jobs: str = "1") -> int:
    command = ["embed", str(folder / "audio"), "--out", str(folder / "out"), "--model", "untrained"]
    return hear_msss([*command, "--jobs", jobs])


def make_collection(folder: Path) -> None:
    (folder / "audio").mkdir()
    for number in range(14):
        soundfile.write(folder / f"audio/{number:02d}.wav", sound(number, 2.0), RATE)


def embed_shards(folder: Path, format: str, more: tuple[str, ...] = (), part: str = "1/1") -> int:
    """Timestamps in five shards. What the manifest says of them in the end is a part of the result."""
    command = ["embed", str(folder / "audio"), "--out", str(folder / "out"), "--model", "untrained"]
    command += ["--timestamps", "--option", "encode_every=1", "--format", format, "--shard-files", "3"]
    status = hear_msss([*command, "--part", part, *more])
    if not status:
        path = folder / "out" / Part.parse(part).file_name(MANIFEST)
        records: Records = {}
        read_manifest(path, records)
        whole = sorted((place, record) for place, record in records.items() if record.identity)
        lines = [f"{output} {key} {record.identity} {record.error}" for (output, key), record in whole]
        (folder / "out" / f"{path.stem}.txt").write_text("\n".join(lines))
    return status


IGNORED = (b"mtime",)  # of the manifest all lines
VERBS = (
    Verb("embed", make_sounds, embed, ignore=IGNORED),
    Verb("embed --jobs 2", make_sounds, partial(embed, jobs="2"), ignore=IGNORED),
    *(
        Verb(f"embed {format}", make_collection, partial(embed_shards, format=format), ignore=IGNORED)
        for format in FORMATS
    ),
    *(
        Verb(
            f"embed {format} in parts",
            make_collection,
            partial(embed_shards, format=format, part="1/2"),
            ignore=IGNORED,
            others=(partial(embed_shards, format=format, part="2/2"),),
        )
        for format in FORMATS
    ),
    Verb(
        "embed parquet --jobs 2",
        make_collection,
        partial(embed_shards, format="parquet", more=("--jobs", "2")),
        ignore=IGNORED,
    ),
)
