"""Where a corpus is: a path on this machine, or shards at an address of the web."""

from __future__ import annotations

import re
from pathlib import Path

SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)  # two letters at least: c: is a drive


def is_remote(location: str | Path) -> bool:
    """Whether a location is at an ``http`` or ``https`` address.

    Raises:
        ValueError: the location has another scheme, such as ``pipe:`` or ``s3:``, and is no path either.
    """
    text = str(location)
    if re.match(r"https?://", text, re.IGNORECASE):
        return True
    if SCHEME.match(text) and not Path(text).exists():
        raise ValueError(
            f"{text!r}: expected a path, or shards at an http or https address; copy other shards to this "
            "machine, or mount them"
        )
    return False
