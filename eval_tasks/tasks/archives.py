"""Unpack archives: all or nothing, and nothing outside the target."""

from __future__ import annotations

import glob
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath

import rarfile

from eval_tasks.errors import MACHINE_ERRORS, UserError
from eval_tasks.files import replacing_folder, require_space
from eval_tasks.tasks.split_zip import open_zip

# Unpacked audio against its archive, for the check of free space: more than recordings reach.
EXPANSION = 2.0
# What no archive of recordings reaches, and what a small one may reach all the same.
LARGEST_EXPANSION = 100
SMALL_BYTES = 1_000_000_000
LARGEST_COUNT = 2_000_000
# What tarfile, zipfile and the decompressors raise on damaged, encrypted and unknown archives.
DAMAGE = (
    tarfile.TarError,
    rarfile.Error,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip, rar or tar archive (gz, bz2, xz) into ``folder``, which appears when all is there.

    A zip archive may come in parts (.z01, ..., .zip). A rar archive needs one of the system's tools.

    The archive is read to its very end, where a compressed stream keeps its checksum.

    Raises:
        UserError: not an archive, a damaged one, parts or a tool that are missing, a member that is a link
            or points outside ``folder``, more members or bytes than archives of recordings have, or
            too little space.
        OSError: the disk is full, or not to be written to.
    """
    parts = [archive, *archive.parent.glob(f"{glob.escape(archive.stem)}.z[0-9][0-9]")]
    size_bytes = sum(part.stat().st_size for part in parts)
    require_space(folder, EXPANSION * size_bytes, f"unpacking {archive.name}")
    try:
        with replacing_folder(folder) as temporary:
            if zipfile.is_zipfile(archive):
                unpack_zip(archive, temporary, Allowance(archive, size_bytes))
            elif rarfile.is_rarfile(archive):
                unpack_rar(archive, temporary, Allowance(archive, size_bytes))
            else:
                unpack_tar(archive, temporary, Allowance(archive, size_bytes))
    except UserError:
        raise
    except rarfile.RarCannotExec:
        tools = "unrar, unar, 7z or bsdtar"
        raise UserError(f"{archive}: a rar archive needs {tools}: install one of them") from None
    except OSError as error:
        if error.errno in MACHINE_ERRORS:
            raise
        raise damaged(archive, error) from None
    except DAMAGE as error:
        raise damaged(archive, error) from None


def damaged(archive: Path, error: Exception) -> UserError:
    return UserError(f"{archive}: cannot be unpacked ({error}): it is damaged or no archive; fetch it again")


def unpack_zip(archive: Path, folder: Path, allowance: Allowance) -> None:
    with open_zip(archive) as zipped:
        for entry in zipped.infolist():
            allowance.take(entry.filename, entry.file_size)
        zipped.extractall(folder)  # which compares the checksum of each member


def unpack_rar(archive: Path, folder: Path, allowance: Allowance) -> None:
    with rarfile.RarFile(archive) as packed:
        for entry in packed.infolist():
            allowance.take(entry.filename, entry.file_size)
            if not (entry.is_file() or entry.is_dir()):
                raise UserError(f"{archive}: member {entry.filename!r} is neither a file nor a folder")
        packed.extractall(folder)


def unpack_tar(archive: Path, folder: Path, allowance: Allowance) -> None:
    with tarfile.open(archive) as tar:
        # tarfile's own filter="data" is missing from Python 3.11.2, which Debian 12 has.
        for member in tar:
            allowance.take(member.name, member.size)
            if not (member.isfile() or member.isdir()) or member.issparse():
                raise UserError(f"{archive}: member {member.name!r} is neither a plain file nor a folder")
            tar.extract(member, folder, set_attrs=False)
        # tarfile stops at the last member; the stream's checksum comes after it.
        while tar.fileobj is not None and tar.fileobj.read(1 << 20):
            pass


class Allowance:
    """Counts members and bytes of an archive, and refuses what no archive of recordings has."""

    def __init__(self, archive: Path, size_bytes: int) -> None:
        self.archive = archive
        self.bytes = max(SMALL_BYTES, LARGEST_EXPANSION * size_bytes)
        self.members = LARGEST_COUNT

    def take(self, name: str, size: int) -> None:
        """
        Raises:
            UserError: a name that points outside, one member too many, or too many bytes.
        """
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise UserError(f"{self.archive}: member {name!r} points outside the archive")
        self.members -= 1
        self.bytes -= size
        if self.members < 0:
            raise UserError(f"{self.archive}: more than {LARGEST_COUNT:,} members: unpack it by hand")
        if self.bytes < 0:
            raise UserError(
                f"{self.archive}: would unpack to more than {LARGEST_EXPANSION} times its size, which no "
                "archive of recordings does: if you trust it, unpack it by hand"
            )


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
    try:
        for path in paths:
            folder = path.parent if path.suffix == ".wav" and path.is_file() else path
            if folder.is_dir():
                folders += [folder] if folder not in folders else []
                continue
            target = work / version_of(path)
            if not target.is_dir():
                unpack(path, target)
            folders.append(target)
    finally:
        with suppress(OSError):
            work.rmdir()  # empty where the first archive was refused
    return folders
