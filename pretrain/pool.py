"""``python -m pretrain pool``: free audio for pretraining, out of Debian packages."""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from hear_msss.audio import is_sound
from pretrain.files import open_replacing

KINDS = ("speech", "effects", "music")
TOOLS = ("apt-get", "apt-cache", "dpkg-deb")
TABLE = "SOURCES.csv"
ARCHIVES = (".pk3", ".zip")  # games keep their sounds in zip files


@dataclass(frozen=True)
class Package:
    """A Debian package that holds sounds.

    Attributes:
        name: of the package.
        kind: of most of its sounds, one of ``KINDS``.
        leave_out: a sound in it that is also in an evaluation set, as ``pretrain overlap`` found; or empty.
    """

    name: str
    kind: str
    leave_out: str


@cache
def packages() -> dict[str, Package]:
    """The packages of the pool by name, from ``pool.csv``."""
    text = (resources.files("pretrain") / "pool.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row["package"]: Package(row["package"], row["kind"], row["leave_out"]) for row in rows}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Collect freely licensed sounds from Debian packages, without installing them: downloads each "
        "package with apt-get, keeps its sound files and its copyright note, one folder a package, "
        f"and writes {TABLE}. All packages together are about 11 GB to download, most of it in large games. "
        "Packages that are there already are left as they are. The package names are "
        "those of Debian 12. Afterwards: python -m pretrain pack DEST --source-per-folder --out CORPUS"
    )
    parser.add_argument("dest", type=Path, metavar="DEST", help="folder for the sounds")
    parser.add_argument(
        "--package",
        action="append",
        metavar="NAME",
        help="this package only (repeatable); by default all packages of pretrain/pool.csv",
    )
    parser.add_argument(
        "--kind",
        action="append",
        choices=KINDS,
        help="packages of this kind only (repeatable)",
    )


def require_tools() -> None:
    """Raises FileNotFoundError where the tools of Debian are missing."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise FileNotFoundError(
            f"{', '.join(missing)} not found: pool needs the package tools of Debian or Ubuntu; run it there "
            "(a debian:12 container will do) and copy the folder"
        )


def call(*command: str | Path, cwd: Path | None = None) -> str:
    """Output of a command.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return done.stdout


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


def collect(package: str, dest: Path, rows: dict[str, dict[str, str | int]]) -> None:
    """Bring one package's sounds to ``dest/package``; complete, or not there at all.

    Its row goes into the table before: a row without a folder is a package to fetch.
    """
    fields = package_fields(package)
    check_space(dest, package, fields)
    work = dest / f".{package}.partial"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o755)
    try:
        call("apt-get", "-q", "download", package, cwd=work)
        (archive,) = work.glob("*.deb")
        version = call("dpkg-deb", "-f", archive, "Version").strip()
        unpacked = work / package
        unpacked.mkdir()
        call("dpkg-deb", "-x", archive, unpacked)
        known = packages().get(package, Package(package, "", ""))
        sounds = keep_sounds(unpacked, package, known.leave_out)
        rows[package] = {
            "source": package,
            "kind": known.kind,
            "version": version,
            "files": sounds,
            "licence": f"{package}/copyright" if (unpacked / "copyright").exists() else "",
            "homepage": fields.get("Homepage", ""),
        }
        write_table(dest / TABLE, rows)
        unpacked.replace(dest / package)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def read_table(path: Path) -> dict[str, dict[str, str | int]]:
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as text:
        return {row["source"]: dict(row) for row in csv.DictReader(text)}


def write_table(path: Path, rows: dict[str, dict[str, str | int]]) -> None:
    with open_replacing(path) as text:
        table = csv.DictWriter(text, ["source", "kind", "version", "files", "licence", "homepage"])
        table.writeheader()
        table.writerows(rows[source] for source in sorted(rows))


def pool(dest: Path, names: Sequence[str]) -> dict[str, str]:
    """Collect packages into ``dest``.

    Args:
        dest: folder for the sounds; made if need be.
        names: of the packages.

    Returns:
        The packages that could not be had, and why.

    Raises:
        FileNotFoundError: no Debian tools here.
        FileExistsError: a folder of a package's name that is not from here.
        OSError: the disk is too small.
    """
    require_tools()
    dest.mkdir(parents=True, exist_ok=True)
    dest = dest.resolve()
    rows = read_table(dest / TABLE)
    missing: dict[str, str] = {}
    for package in names:
        if (dest / package).exists():
            if package not in rows:
                raise FileExistsError(f"{dest / package}: not made by pool (not in {TABLE}); move it away")
            print(f"{package}: there already")
            continue
        try:
            collect(package, dest, rows)
        except RuntimeError as error:
            missing[package] = str(error)
            print(f"{package}: not available: {error}", file=sys.stderr)
            continue
        print(f"{package}: {rows[package]['files']} sound files", flush=True)
    return missing


def run(args: argparse.Namespace) -> int:
    kinds = args.kind or KINDS
    names = args.package or [package.name for package in packages().values() if package.kind in kinds]
    missing = pool(args.dest, names)
    if missing:
        print(
            f"{len(missing)} packages not available: {', '.join(missing)}. `apt-get update` may help; the "
            "names are Debian 12's. Run again to fetch what is missing",
            file=sys.stderr,
        )
        return 1
    return 0
