"""Files that are whole or absent: written under another name, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

PART = ".part"  # ends the name of a file that is not whole yet


@contextmanager
def open_replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """A file to write, which takes the place of ``path`` at the end of the ``with`` block.

    An error in the block, or a kill at any moment, leaves ``path`` as it was. What a kill leaves under
    the other name is overwritten by the next writer. Text is UTF-8, and names of files that are not
    UTF-8 come out as they were.

    Args:
        path: of the whole file.
        mode: ``w`` for text or ``wb`` for bytes.
    """
    part = path.with_name(path.name + PART)
    text = {} if "b" in mode else {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
    try:
        with part.open(mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
