"""Embeddings of many sounds in one file: Parquet, Arrow or a WebDataset tar, written as they come."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from hear_msss.cli.writers import Block, need
from hear_msss.files import replacing

ROWS_AT_ONCE = 1024  # of a table: held in memory, and a row group of Parquet


class Shard(Protocol):
    """A file that takes the embeddings of one sound after the other."""

    def add(self, key: str, duration_s: float, rows: int, blocks: Iterable[Block]) -> None:
        """
        Args:
            key: name of the sound.
            rows: how many embeddings there are in all blocks.
        """

    def close(self) -> None: ...


class TableShard:
    """Parquet or Arrow (the IPC file format).

    Columns of scenes, a row for each sound: ``path``, ``duration_s``, ``embedding``. Of timestamps, a row for
    each of them: ``path``, ``time_ms``, ``embedding``. Embeddings are fixed-size lists of float32.
    """

    def __init__(self, file: IO[bytes], format: str, size: int, timestamps: bool) -> None:
        pa = self.pa = need("pyarrow")
        number = "time_ms" if timestamps else "duration_s"
        embedding = pa.list_(pa.float32(), size)
        self.schema = pa.schema([("path", pa.string()), (number, pa.float64()), ("embedding", embedding)])
        self.size, self.timestamps = size, timestamps
        self.paths: list[str] = []
        self.numbers: list[np.ndarray] = []
        self.embeddings: list[np.ndarray] = []
        if format == "parquet":
            # Floats of an embedding neither repeat nor compress.
            self.writer = need("pyarrow.parquet").ParquetWriter(
                file, self.schema, use_dictionary=["path"], compression="none"
            )
        else:
            self.writer = pa.ipc.new_file(file, self.schema)

    def add(self, key: str, duration_s: float, rows: int, blocks: Iterable[Block]) -> None:
        key = key.encode("utf-8", "backslashreplace").decode()  # a name need not be UTF-8, a column must
        for embeddings, times_ms in blocks:
            self.paths += [key] * len(embeddings)
            self.numbers.append(times_ms if self.timestamps else np.full(len(embeddings), duration_s))
            self.embeddings.append(embeddings)
            if len(self.paths) >= ROWS_AT_ONCE:
                self._write()

    def _write(self) -> None:
        if not self.paths:
            return
        flat = self.pa.array(np.concatenate(self.embeddings).astype(np.float32, copy=False).reshape(-1))
        columns = [
            self.pa.array(self.paths, self.pa.string()),
            self.pa.array(np.concatenate(self.numbers)),
            self.pa.FixedSizeListArray.from_arrays(flat, self.size),
        ]
        self.writer.write_table(self.pa.table(columns, schema=self.schema))
        self.paths, self.numbers, self.embeddings = [], [], []

    def close(self) -> None:
        self._write()
        self.writer.close()


class TarShard:
    """WebDataset: for each sound a sample ``00000012`` with ``.json`` and ``.embedding.npy``.

    The JSON holds ``path`` and ``duration_s``. Of timestamps, ``.times_ms.npy`` comes behind. Nothing in the
    file tells when it was made.
    """

    def __init__(self, file: IO[bytes], format: str, size: int, timestamps: bool) -> None:
        self.file, self.size, self.timestamps, self.count = file, size, timestamps, 0

    def add(self, key: str, duration_s: float, rows: int, blocks: Iterable[Block]) -> None:
        about = json.dumps({"path": key, "duration_s": duration_s}).encode()
        self._begin("json", len(about))
        self._end(self.file.write(about))
        shape = (rows, self.size) if self.timestamps else (self.size,)
        head = _npy_head(shape, "<f4")
        self._begin("embedding.npy", len(head) + 4 * rows * self.size)
        written, times = self.file.write(head), []
        for embeddings, times_ms in blocks:
            written += self.file.write(np.ascontiguousarray(embeddings, "<f4").tobytes())
            times.append(times_ms)
        self._end(written)
        if self.timestamps:
            head = _npy_head((rows,), "<f8")
            self._begin("times_ms.npy", len(head) + 8 * rows)
            self._end(self.file.write(head + np.concatenate(times).astype("<f8").tobytes()))
        self.count += 1

    def _begin(self, extension: str, size: int) -> None:
        member = tarfile.TarInfo(f"{self.count:08d}.{extension}")
        member.size = size
        self.file.write(member.tobuf(tarfile.PAX_FORMAT))

    def _end(self, written: int) -> None:
        self.file.write(bytes(-written % tarfile.BLOCKSIZE))

    def close(self) -> None:
        self.file.write(bytes(2 * tarfile.BLOCKSIZE))


def _npy_head(shape: tuple[int, ...], dtype: str) -> bytes:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": dtype, "fortran_order": False, "shape": shape})
    return head.getvalue()


# Format: its class, the end of its files' names, the package that it needs.
SHARDS: dict[str, tuple[Any, str, str]] = {
    "parquet": (TableShard, "parquet", "pyarrow.parquet"),
    "arrow": (TableShard, "arrow", "pyarrow"),
    "webdataset": (TarShard, "tar", ""),
}


@contextmanager
def open_shard(path: Path, format: str, size: int, timestamps: bool) -> Iterator[Shard]:
    """A new shard of one of the formats; ``path`` appears when it is whole, without an error in the block.

    Args:
        size: numbers in an embedding.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        shard: Shard = SHARDS[format][0](file, format, size, timestamps)
        yield shard
        shard.close()
