"""What is to be embedded: sound files, folders of them, tar files, tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from hear_msss.audio import SUFFIXES, find_sounds
from hear_msss.collection.archives import find_members
from hear_msss.collection.sources import FileSource, Source
from hear_msss.collection.tables import find_rows, table_files

TABLES = (".arrow", ".parquet")


def find_sources(inputs: Iterable[Path], column: str = "") -> Iterator[tuple[Source, Path]]:
    """Each sound with a path for its result: below the folder that was given, or its own name.

    A tar file, an Arrow or Parquet file and a folder that ``datasets`` has saved stand for the sounds in them
    where they are given by name. In folders that are searched they are passed over: they may be results.

    Args:
        column: of a table; the only one with sounds if empty.

    Raises:
        FileNotFoundError: no such file or folder, or no sound in them.
        ValueError: a table without such a column, or with several that may be meant.
    """
    inputs = list(inputs)
    found = False
    for given in inputs:
        for source, path in _sources_of(given, column):
            yield source, path
            found = True
    if not found:
        raise FileNotFoundError(
            f"no sound files in {', '.join(map(str, inputs))}: looked for {', '.join(sorted(SUFFIXES))}"
        )


def _sources_of(given: Path, column: str) -> Iterator[tuple[Source, Path]]:
    if not given.exists():
        raise FileNotFoundError(f"{given}: no such file or folder")
    if tables := table_files(given):
        for table in tables:
            yield from ((row, Path(given.name, path)) for row, path in find_rows(table, column))
    elif given.is_dir():
        yield from ((FileSource(str(path)), path.relative_to(given)) for path in sorted(find_sounds(given)))
    elif given.suffix in TABLES:
        yield from find_rows(given, column)
    elif given.suffix == ".tar":
        yield from find_members(given)
    else:
        yield FileSource(str(given)), Path(given.name)
