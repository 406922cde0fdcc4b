"""Sounds of Debian packages, without installing them."""

from __future__ import annotations

import csv
import shutil
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from hear_msss.audio import is_sound
from pretrain.pool.programs import call, require
from pretrain.pool.table import Rows, write_table

TOOLS = ("apt-get", "apt-cache", "dpkg-deb")
ARCHIVES = (".pk3", ".zip")  # games keep their sounds in zip files
REMEDY = (
    "sounds of Debian packages need the package tools of Debian or Ubuntu; run pool there (a debian:12 "
    "container will do) and copy the folder"
)


@dataclass(frozen=True)
class Package:
    """A Debian package that holds sounds.

    Attributes:
        name: of the package.
        kind: of most of its sounds, one of ``pretrain.pool.table.KINDS``.
        leave_out: a sound in it that is also in an evaluation set, as ``pretrain overlap`` found; or empty.
    """

    name: str
    kind: str
    leave_out: str


@cache
def packages() -> dict[str, Package]:
    """The packages of the pool by name, from ``packages.csv``."""
    text = (resources.files("pretrain.pool") / "packages.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row["package"]: Package(row["package"], row["kind"], row["leave_out"]) for row in rows}


def package_fields(package: str) -> dict[str, str]:
    """Version, Size (of the download, bytes), Installed-Size (KiB) and more, as apt knows them."""
    text = call("apt-cache", "show", "--no-all-versions", package)
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and line[0] != " ")


def check_space(folder: Path, package: str, fields: dict[str, str]) -> None:
    needed = int(fields.get("Size", 0)) + 1024 * int(fields.get("Installed-Size", 0))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(f"{folder}: {package} needs {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free")


def keep_sounds(folder: Path, package: str, leave_out: str = "") -> int:
    """Delete all but sounds and the copyright note from an unpacked package; the number of sounds.

    Args:
        folder: of the unpacked package.
        package: its name.
        leave_out: path of a sound that is not kept, relative to the folder.
    """
    if leave_out:
        (folder / leave_out).unlink(missing_ok=True)
    note = folder / "usr" / "share" / "doc" / package / "copyright"
    if note.exists():
        shutil.copyfile(note, folder / "copyright")
    for archive in [path for path in folder.rglob("*") if path.suffix in ARCHIVES and path.is_file()]:
        with zipfile.ZipFile(archive) as content:
            names = [name for name in content.namelist() if is_sound(Path(name))]
            content.extractall(archive.with_name(archive.name + ".d"), names)
    sounds = 0
    for path in sorted(folder.rglob("*"), reverse=True):  # what a folder holds comes before the folder
        if path.is_symlink():
            path.unlink()
        elif path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif is_sound(path):
            sounds += 1
        elif path != folder / "copyright":
            path.unlink()
    return sounds


def collect(package: Package, dest: Path, rows: Rows) -> None:
    """Bring one package's sounds to ``dest/NAME``; complete, or not there at all.

    Args:
        package: the package.
        dest: folder of the pool.
        rows: of the pool's table. The row is written before the folder is there.

    Raises:
        RuntimeError: apt does not have the package.
        FileNotFoundError: no Debian tools here.
        OSError: the disk is too small.
    """
    require(*TOOLS, remedy=REMEDY)
    name = package.name
    fields = package_fields(name)
    check_space(dest, name, fields)
    work = dest / f".{name}.partial"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o755)
    try:
        call("apt-get", "-q", "download", name, cwd=work)
        (archive,) = work.glob("*.deb")
        version = call("dpkg-deb", "-f", archive, "Version").strip()
        unpacked = work / name
        unpacked.mkdir()
        call("dpkg-deb", "-x", archive, unpacked)
        sounds = keep_sounds(unpacked, name, package.leave_out)
        rows[name] = {
            "source": name,
            "kind": package.kind,
            "version": version,
            "files": sounds,
            "licence": f"{name}/copyright" if (unpacked / "copyright").exists() else "",
            "homepage": fields.get("Homepage", ""),
        }
        write_table(dest, rows)
        unpacked.replace(dest / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)
