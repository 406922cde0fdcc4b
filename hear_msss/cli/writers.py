"""Embeddings into files, as they come: no format here needs them all in memory at once."""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from hear_msss.files import replacing

Block = tuple[np.ndarray, np.ndarray]  # embeddings (n, size) float32, times (n,) float64 in ms


def counted(blocks: Iterable[Block], rows: int) -> Iterator[Block]:
    """The blocks, which must have as many rows together as the file's head says."""
    left = rows
    for block in blocks:
        left -= len(block[0])
        yield block
    if left:
        raise RuntimeError(f"{rows - left} embeddings were made where {rows} were expected")


def _write_rows(file: IO[bytes], shape: tuple[int, ...], dtype: str, parts: Iterable[np.ndarray]) -> None:
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for part in parts:
        file.write(np.ascontiguousarray(part, dtype=dtype).tobytes())


def write_npy(path: Path, blocks: Iterable[Block], rows: int, size: int, timestamps: bool) -> None:
    """``.npy``: ``(rows, size)``, or ``(size,)`` for a scene. Times are not in it: row i is at i * hop."""
    shape = (rows, size) if timestamps else (size,)
    with path.open("wb") as file:
        _write_rows(file, shape, "<f4", (embeddings for embeddings, _ in blocks))


def write_npz(path: Path, blocks: Iterable[Block], rows: int, size: int, timestamps: bool) -> None:
    """``.npz`` with ``embeddings`` ``(rows, size)`` and ``times_ms``, or ``embedding`` ``(size,)``."""
    times: list[np.ndarray] = []

    def embeddings() -> Iterable[np.ndarray]:
        for block, block_times in blocks:
            times.append(block_times)
            yield block

    name, shape = ("embeddings", (rows, size)) if timestamps else ("embedding", (size,))
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
            _write_rows(file, shape, "<f4", embeddings())
        if timestamps:
            with archive.open("times_ms.npy", "w") as file:
                _write_rows(file, (rows,), "<f8", times)


def write_parquet(path: Path, blocks: Iterable[Block], rows: int, size: int, timestamps: bool) -> None:
    """``.parquet``: a column ``embedding`` of fixed-size lists and, for timestamps, ``time_ms``."""
    pa, pq = need("pyarrow"), need("pyarrow.parquet")
    fields = [("embedding", pa.list_(pa.float32(), size))]
    if timestamps:
        fields.insert(0, ("time_ms", pa.float64()))
    schema = pa.schema(fields)
    # Floats of an embedding neither repeat nor compress: a dictionary of them would only cost.
    # An open file: pyarrow takes no name that is not UTF-8.
    with (
        path.open("wb") as out,
        pq.ParquetWriter(out, schema, use_dictionary=False, compression="none") as file,
    ):
        for embeddings, times in blocks:
            flat = pa.array(np.ascontiguousarray(embeddings, dtype=np.float32).reshape(-1))
            columns = [pa.FixedSizeListArray.from_arrays(flat, size)]
            if timestamps:
                columns.insert(0, pa.array(times))
            file.write_table(pa.table(columns, schema=schema))


def write_h5(path: Path, blocks: Iterable[Block], rows: int, size: int, timestamps: bool) -> None:
    """``.h5`` with ``embeddings`` ``(rows, size)`` and ``times_ms``, or ``embedding`` ``(size,)``."""
    h5py = need("h5py")
    with h5py.File(path, "w") as file:
        if not timestamps:
            file["embedding"] = next(iter(blocks))[0][0]
            return
        data = file.create_dataset("embeddings", (rows, size), "f4")
        times = file.create_dataset("times_ms", (rows,), "f8")
        row = 0
        for embeddings, block_times in blocks:
            data[row : row + len(embeddings)] = embeddings
            times[row : row + len(embeddings)] = block_times
            row += len(embeddings)


WRITERS: dict[str, Callable[[Path, Iterable[Block], int, int, bool], None]] = {
    "npy": write_npy,
    "npz": write_npz,
    "parquet": write_parquet,
    "h5": write_h5,
}


def need(module: str) -> Any:
    """A module of an optional package.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ImportError(
            f"this format needs {package}: pip install {package}, or use --format npy or npz"
        ) from error


PACKAGES = {"parquet": "pyarrow.parquet", "h5": "h5py"}


def write_file(
    path: Path, kind: str, blocks: Iterable[Block], rows: int, size: int, timestamps: bool
) -> None:
    """Write the embeddings of one clip; ``path`` appears when it is whole."""
    with replacing(path, tidy=False) as temporary:
        WRITERS[kind](temporary, blocks, rows, size, timestamps)
