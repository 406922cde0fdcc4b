"""Which files a corpus is made of: folders, file lists, names of sources, exclusions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from hear_msss.audio import SUFFIXES, find_sounds, is_sound


@dataclass(frozen=True, order=True)
class SourceFile:
    """One sound file: ``name`` is its path relative to the SRC given, and stays in the manifest."""

    source: str
    name: str
    path: Path


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without its byte-order mark; empty ones and comments (``#``) left out.

    Raises:
        OSError: no such file.
        ValueError: a pipe or a device.
    """
    if path.exists() and not path.is_file() and not path.is_dir():  # reading could wait for ever
        raise ValueError(f"{path} is a pipe or a device: expected a text file; write its content into one")
    lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def split_name(spec: str) -> tuple[str | None, Path]:
    """``name=PATH`` or ``PATH``; a path that exists as written is never split."""
    name, equals, path = spec.partition("=")
    if equals and name and "/" not in name and not Path(spec).exists():
        return name, Path(path).expanduser()
    return None, Path(spec).expanduser()


def source_files(spec: str, source_per_folder: bool = False) -> list[SourceFile]:
    """The files of one SRC argument.

    Args:
        spec: a folder, a text file with one path a line (relative to that file), or a sound file;
            ``name=PATH`` names the source, otherwise it is called as the folder or the list is.
        source_per_folder: each direct subfolder is a source of its own, named after it.

    Raises:
        FileNotFoundError: there is no such path.
        ValueError: nothing to pack there, or a binary file given as a list.
    """
    name, path = split_name(spec)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder or file list (given as {spec!r})")
    label = name or (path.stem if path.is_file() else path.resolve().name)
    if path.is_dir():
        files = [SourceFile(label, str(file.relative_to(path)), file) for file in find_sounds(path)]
        if source_per_folder:
            if name:
                raise ValueError(
                    f"{spec!r}: a name for the source and --source-per-folder exclude each other"
                )
            files = [
                SourceFile(Path(file.name).parts[0], str(Path(*Path(file.name).parts[1:])), file.path)
                if len(Path(file.name).parts) > 1
                else file
                for file in files
            ]
    elif is_sound(path):
        files = [SourceFile(label, path.name, path)]
    else:
        try:
            lines = read_lines(path)
        except OSError as error:
            raise ValueError(f"{path}: not a readable file list: {error}") from error
        if any("\0" in line for line in lines):
            raise ValueError(f"{path}: neither a sound file by its name nor a text list with one path a line")
        files = [SourceFile(label, line, path.parent / Path(line).expanduser()) for line in lines]
    if not files:
        raise ValueError(f"{path}: no sound files there (looked for {' '.join(sorted(SUFFIXES))})")
    return sorted(set(files))


def exclude(
    files: Iterable[SourceFile], patterns: Iterable[str] = (), listed: Iterable[str] = ()
) -> tuple[list[SourceFile], list[str]]:
    """Leave files out.

    Args:
        files: candidates.
        patterns: globs, matched against ``source/name``, ``name`` and the bare file name.
        listed: paths as in the manifest (``name`` or ``source/name``), or absolute.

    Returns:
        The files that stay, and the patterns and listed paths that matched none: a typing error
        there would let files in that were meant to stay out.
    """
    unused = dict.fromkeys([*patterns, *listed])
    globs, exact = list(patterns), set(listed)
    kept = []
    for file in files:
        names = (f"{file.source}/{file.name}", file.name, Path(file.name).name)
        hits = [glob for glob in globs if any(fnmatch(name, glob) for name in names)]
        hits += exact.intersection((*names[:2], str(file.path.absolute())))
        for hit in hits:
            unused.pop(hit, None)
        if not hits:
            kept.append(file)
    return kept, list(unused)
