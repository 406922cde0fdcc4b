"""Unpack archives: all or nothing, and nothing outside the target."""

from __future__ import annotations

import glob
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import rarfile

from eval_tasks.errors import UserError
from eval_tasks.files import require_space
from eval_tasks.tasks.split_zip import open_zip

# Unpacked audio against its archive, for the check of free space: more than recordings reach.
EXPANSION = 2.0


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """A new folder that takes ``path``'s place when the block ends without an error.

    What killed processes left of earlier ones is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        shutil.rmtree(leftover)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip, rar or tar archive (gz, bz2, xz) into ``folder``, which appears when all is there.

    A zip archive may come in parts (.z01, ..., .zip). A rar archive needs one of the system's tools.

    Raises:
        UserError: not an archive, a broken one, parts or a tool that are missing, a member that points
            outside ``folder``, or too little space.
    """
    parts = [archive, *archive.parent.glob(f"{glob.escape(archive.stem)}.z[0-9][0-9]")]
    size_bytes = sum(part.stat().st_size for part in parts)
    require_space(folder, EXPANSION * size_bytes, f"unpacking {archive.name}")
    try:
        with folder_beside(folder) as temporary:
            if zipfile.is_zipfile(archive):
                with open_zip(archive) as zipped:
                    for name in zipped.namelist():
                        _refuse_outside(archive, name)
                    zipped.extractall(temporary)
            elif rarfile.is_rarfile(archive):
                with rarfile.RarFile(archive) as packed:
                    for name in packed.namelist():
                        _refuse_outside(archive, name)
                    packed.extractall(temporary)
            else:
                with tarfile.open(archive) as tar:
                    # tarfile's own filter="data" is missing from Python 3.11.2, which Debian 12 has.
                    for member in tar:
                        _refuse_outside(archive, member.name)
                        if not (member.isfile() or member.isdir()):
                            raise UserError(f"{archive}: member {member.name!r} is neither file nor folder")
                        tar.extract(member, temporary, set_attrs=False)
    except rarfile.RarCannotExec:
        tools = "unrar, unar, 7z or bsdtar"
        raise UserError(f"{archive}: a rar archive needs {tools}: install one of them") from None
    except (tarfile.TarError, zipfile.BadZipFile, rarfile.Error, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the machine's, not the archive's
        raise UserError(f"{archive}: cannot be unpacked ({error}): fetch it again") from None


def _refuse_outside(archive: Path, name: str) -> None:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise UserError(f"{archive}: member {name!r} points outside the archive")


def version_of(archive: Path) -> str:
    """A name that another file of the same name does not get.

    Raises:
        UserError: no such file.
    """
    if not archive.is_file():
        raise UserError(f"{archive}: no such file, expected a folder, or a zip, rar or tar archive")
    stat = archive.stat()
    return f"{archive.name}-{stat.st_size}-{stat.st_mtime_ns}"


def as_folders(paths: Iterable[Path], work: Path) -> list[Path]:
    """Folders as they are, archives unpacked into ``work`` (once: a second call finds them there).

    Sound files stand for the folders that they lie in.
    """
    folders: list[Path] = []
    for path in paths:
        folder = path.parent if path.suffix == ".wav" and path.is_file() else path
        if folder.is_dir():
            folders += [folder] if folder not in folders else []
            continue
        target = work / version_of(path)
        if not target.is_dir():
            unpack(path, target)
        folders.append(target)
    return folders
