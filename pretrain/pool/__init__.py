"""``python -m pretrain pool``: free audio for pretraining, from Debian packages and public repositories."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pretrain.pool import debian, repositories
from pretrain.pool.debian import Package, packages
from pretrain.pool.repositories import Repository
from pretrain.pool.table import KINDS, TABLE, read_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Collect freely licensed sounds from Debian packages, without installing them, and from public "
        "repositories: fetches each with apt-get or git, keeps its sound files and the note on its licence, "
        f"one folder a source, and writes {TABLE}. All sources together are about 15 GB to download, most of "
        "it in large games. Sources that are there already are left as they are. The package names are "
        "those of Debian 12. Afterwards: python -m pretrain pack DEST --source-per-folder --out CORPUS"
    )
    parser.add_argument("dest", type=Path, metavar="DEST", help="folder for the sounds")
    parser.add_argument(
        "--source",
        action="append",
        metavar="NAME",
        help="this source only (repeatable): one of pretrain/pool/packages.csv or repositories.csv, or any "
        "Debian package; by default all of the two tables",
    )
    parser.add_argument(
        "--kind",
        action="append",
        choices=KINDS,
        help="sources of this kind only (repeatable)",
    )


def sources() -> dict[str, Package | Repository]:
    """All sources of the pool by name."""
    return {**packages(), **repositories.repositories()}


def pool(dest: Path, names: Sequence[str]) -> dict[str, str]:
    """Collect sources into ``dest``.

    Args:
        dest: folder for the sounds; made if need be.
        names: of the sources. A name that no table has is taken for a Debian package.

    Returns:
        The sources that could not be had, and why.

    Raises:
        FileNotFoundError: no Debian tools here, or no git.
        FileExistsError: a folder of a source's name that is not from here.
        OSError: the disk is too small.
    """
    dest.mkdir(parents=True, exist_ok=True)
    dest = dest.resolve()
    rows = read_table(dest)
    missing: dict[str, str] = {}
    for name in names:
        if (dest / name).exists():
            if name not in rows:
                raise FileExistsError(f"{dest / name}: not made by pool (not in {TABLE}); move it away")
            print(f"{name}: there already")
            continue
        source = sources().get(name, Package(name, "", ""))
        try:
            if isinstance(source, Repository):
                repositories.collect(source, dest, rows)
            else:
                debian.collect(source, dest, rows)
        except RuntimeError as error:
            missing[name] = str(error)
            print(f"{name}: not available: {error}", file=sys.stderr)
            continue
        print(f"{name}: {rows[name]['files']} sound files", flush=True)
    return missing


def run(args: argparse.Namespace) -> int:
    kinds = args.kind or KINDS
    names = args.source or [name for name, source in sources().items() if source.kind in kinds]
    missing = pool(args.dest, names)
    if missing:
        print(
            f"{len(missing)} sources not available: {', '.join(missing)}. For packages, `apt-get update` may "
            "help; the names are Debian 12's. Run again to fetch what is missing",
            file=sys.stderr,
        )
        return 1
    return 0
