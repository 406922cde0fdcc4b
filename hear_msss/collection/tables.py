"""Sounds in Arrow and Parquet files, as the package ``datasets`` of Hugging Face writes them.

An audio column holds, for each row, the bytes of a sound file and its path (``struct<bytes, path>``), or only
the bytes. Where there are no bytes, the file at the path is read.
"""

from __future__ import annotations

import importlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from hear_msss.collection.sources import BrokenSource, Stamp

_lock = threading.Lock()  # several threads decode at a time


@dataclass(frozen=True)
class RowSource:
    """The sound in a row of a table."""

    table: Path
    column: str
    row: int

    @property
    def name(self) -> str:
        return f"{self.table}/{self.row}"

    def stamp(self) -> Stamp:
        return Stamp.of(self.table)

    def open(self) -> Path | BinaryIO:
        """
        Raises:
            ValueError: the row has neither bytes nor the path of a file that is there.
        """
        stamp = self.stamp()
        with _lock:
            value = _table(self.table, stamp).value(self.column, self.row)
        data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if data is not None:
            return io.BytesIO(data)
        file = self.table.parent / str(path)
        if path and file.is_file():
            return file
        raise ValueError(f"holds no sound: neither bytes nor a file that is there (path {path!r})")


class UnreadableTable(ValueError):
    """No Arrow or Parquet file, or a damaged one."""


class Table:
    """A Parquet file, of which one row group at a time is in memory, or an Arrow file, mapped into it."""

    def __init__(self, path: Path) -> None:
        self.pa = need_pyarrow()
        try:
            if path.suffix == ".parquet":
                self.parquet = importlib.import_module("pyarrow.parquet").ParquetFile(path)
                metadata = self.parquet.metadata
                self.starts = [0]
                for group in range(metadata.num_row_groups):
                    self.starts.append(self.starts[-1] + metadata.row_group(group).num_rows)
                self.schema, self.rows = self.parquet.schema_arrow, metadata.num_rows
            else:
                self.parquet = None
                self.whole = self._read_arrow(path)
                self.schema, self.rows = self.whole.schema, self.whole.num_rows
        except (self.pa.ArrowException, OSError) as error:
            raise UnreadableTable(f"cannot be read as an Arrow or Parquet file ({error})") from error
        self._group: tuple[int, str, Any] = (-1, "", None)

    def _read_arrow(self, path: Path) -> Any:
        """datasets writes the stream format, others the file format."""
        try:
            return self.pa.ipc.open_stream(self.pa.memory_map(str(path))).read_all()
        except self.pa.ArrowInvalid:
            return self.pa.ipc.open_file(self.pa.memory_map(str(path))).read_all()

    def value(self, column: str, row: int) -> Any:
        if self.parquet is None:
            return self.whole[column][row].as_py()
        group = next(n for n, start in enumerate(self.starts) if start > row) - 1
        if self._group[:2] != (group, column):
            self._group = (-1, "", None)  # let go of one before the next is read
            self._group = (group, column, self.parquet.read_row_group(group, [column])[column])
        return self._group[2][row - self.starts[group]].as_py()

    def paths(self, column: str) -> list[str | None]:
        """The path of each row, as far as there are any."""
        kind = self.schema.field(column).type
        if not self.pa.types.is_struct(kind) or kind.get_field_index("path") < 0:
            return [None] * self.rows
        if self.parquet is None:
            return [path for chunk in self.whole[column].chunks for path in chunk.field("path").to_pylist()]
        read = self.parquet.read([f"{column}.path"])[column]
        return [value["path"] if value else None for value in read.to_pylist()]

    def audio_column(self, wanted: str, path: Path) -> str:
        """The column that is wanted, or the only one that holds sounds by its type.

        Raises:
            ValueError: there is none, or several.
        """
        found: list[str] = [field.name for field in self.schema if self._holds_sounds(field.type)]
        if wanted and wanted in found:
            return wanted
        if not wanted and len(found) == 1:
            return found[0]
        raise ValueError(
            f"{path}: of its columns {self.schema.names}, {found} hold sounds (struct<bytes, path> or "
            f"binary): expected {wanted or 'one'}; choose one by --column NAME"
        )

    def _holds_sounds(self, kind: Any) -> bool:
        types = self.pa.types
        if types.is_struct(kind):
            at = kind.get_field_index("bytes")
            kind = kind.field(at).type if at >= 0 else None
        return kind is not None and (types.is_binary(kind) or types.is_large_binary(kind))


@lru_cache(maxsize=4)
def _table(path: Path, stamp: Stamp) -> Table:
    return Table(path)


def need_pyarrow() -> Any:
    try:
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise ImportError("Arrow and Parquet files need pyarrow: pip install pyarrow") from error


def table_files(path: Path) -> list[Path]:
    """The files of a folder that ``save_to_disk`` of datasets wrote; of anything else nothing."""
    if path.is_dir() and (path / "dataset_info.json").is_file() and (path / "state.json").is_file():
        return sorted(path.glob("*.arrow"))
    return []


def find_rows(path: Path, column: str = "") -> Iterator[tuple[RowSource | BrokenSource, Path]]:
    """The sounds of a table, each with a path below the table's name: its row and the name of its file.

    A file that is no table is a :class:`BrokenSource`.

    Raises:
        ValueError: no such column, or several that may be meant.
        ImportError: pyarrow is not installed.
    """
    try:
        table = _table(path, Stamp.of(path))
    except UnreadableTable as error:
        yield BrokenSource(path, str(error)), Path(path.name)
        return
    column = table.audio_column(column, path)
    for row, file in enumerate(table.paths(column)):
        name = PurePosixPath(file).name if file else ""
        yield RowSource(path, column, row), Path(path.name, f"{row:06d}{'-' if name else ''}{name}")
