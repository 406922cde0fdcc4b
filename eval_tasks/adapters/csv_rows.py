"""Rows of a CSV file as spreadsheets write it, or one sentence on where it is not one."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from eval_tasks.errors import UserError
from eval_tasks.files import refuse_pipe

UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte-order mark.

    Raises:
        UserError: no such file, a pipe, or another encoding; names the line.
    """
    refuse_pipe(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if content.startswith(UTF_16_MARKS):
        raise UserError(f"{path}, line 1: this is UTF-16, expected UTF-8: save it as 'CSV UTF-8'")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8: save it as 'CSV UTF-8', "
            f"or convert it, for example with iconv -f cp1252 -t utf-8 {path.name}"
        ) from None


def read_table(path: Path, wanted: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of each row; a cell that a row lacks is ''.

    Empty cells after the last column, and empty rows, are what spreadsheets leave, and count as nothing.

    Raises:
        UserError: no CSV in UTF-8, a wanted column that is missing or there twice, or no rows.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}: is a quotation mark not closed?") from None
    header = [name.strip() for name in rows[0][1]] if rows else []
    absent = [name for name in wanted if header.count(name) != 1]
    if absent or len(rows) < 2:
        raise UserError(
            f"{path}: columns {header}, {max(0, len(rows) - 1)} rows: expected {list(wanted)}, each once, "
            "and rows"
        )
    surplus = [
        f"line {line}: {len(cells)} cells for {len(header)} columns"
        for line, cells in rows[1:]
        if any(cells[len(header) :])
    ]
    if surplus:
        raise UserError(f"{path}: {len(surplus)} rows are too long:\n  " + "\n  ".join(surplus[:20]))
    filled = [(line, cells + [""] * (len(header) - len(cells))) for line, cells in rows[1:]]
    return [(line, dict(zip(header, cells, strict=False))) for line, cells in filled]
