"""Sounds of public GitHub repositories, each at one commit, so that everyone gets the same files."""

from __future__ import annotations

import csv
import random
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from hear_msss.audio import is_sound
from pretrain.pool.programs import call, require
from pretrain.pool.table import Rows, write_table

HOST = "https://github.com/"
LICENCE = re.compile(r"(?i)(licen[cs]e|copying|legal|credits|readme)[^/]*")  # in the repository's top folder
LFS_POINTER = b"version https://git-lfs"  # a file of text in place of the sound


@dataclass(frozen=True)
class Repository:
    """A repository that holds sounds.

    Attributes:
        source: name of its folder in the pool.
        repository: ``owner/name`` on GitHub.
        commit: 40 hex digits.
        kind: of most of its sounds, one of ``pretrain.pool.table.KINDS``.
        take: regular expression, searched in the paths of its sounds.
        most: number of files, drawn at random, where it has more that are much alike; 0 takes all.
        licence: of the sounds.
    """

    source: str
    repository: str
    commit: str
    kind: str
    take: str
    most: int
    licence: str


@cache
def repositories() -> dict[str, Repository]:
    """The repositories of the pool by source, from ``repositories.csv``."""
    text = (resources.files("pretrain.pool") / "repositories.csv").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = list(csv.DictReader(text.splitlines()))
    return {row["source"]: Repository(**{**row, "most": int(row["most"] or 0)}) for row in rows}


def chosen(paths: Sequence[str], take: str, most: int) -> list[str]:
    """The sounds to take out of a repository; the same for the same list.

    Args:
        paths: of all files of the repository, in git's order.
        take, most: as in ``Repository``.
    """
    sounds = [path for path in paths if is_sound(Path(path)) and re.search(take, path)]
    random.Random(0).shuffle(sounds)
    return sounds[: most or None]


def collect(source: Repository, dest: Path, rows: Rows) -> None:
    """Bring one repository's sounds to ``dest/SOURCE``; complete, or not there at all.

    Args:
        source: the repository.
        dest: folder of the pool.
        rows: of the pool's table. The row is written before the folder is there.

    Raises:
        RuntimeError: git failed, or the commit has none of the sounds.
        FileNotFoundError: no git here.
    """
    require("git", remedy="install it to collect sounds from repositories")
    work = dest / f".{source.source}.partial"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o755)
    try:
        call("git", "init", "-q", cwd=work)
        call("git", "config", "gc.auto", "0", cwd=work)  # in the background, it would bring .git back
        call("git", "remote", "add", "origin", f"{HOST}{source.repository}", cwd=work)
        # Names first, contents only of what is taken: some repositories are many times larger.
        call("git", "fetch", "-q", "--depth", "1", "--filter=blob:none", "origin", source.commit, cwd=work)
        listed = call("git", "ls-tree", "-r", "-z", source.commit, cwd=work).split("\0")
        objects = {
            path: fields.split()[2] for fields, _, path in (line.partition("\t") for line in listed) if path
        }
        sounds = chosen(list(objects), source.take, source.most)
        wanted = sounds + [path for path in objects if LICENCE.fullmatch(path)]
        names = "\n".join(sorted({objects[path] for path in wanted}))
        call("git", "fetch", "-q", "--no-tags", "--stdin", "origin", cwd=work, given=names)  # all at once
        options = ("--pathspec-from-file=-", "--pathspec-file-nul")
        checkout = ("git", "--literal-pathspecs", "checkout", "-q", source.commit, *options)
        call(*checkout, cwd=work, given="\0".join(wanted))
        shutil.rmtree(work / ".git")
        number = sum(keep_real(work / path) for path in sounds)
        if not number:
            raise RuntimeError(f"{source.repository} at {source.commit[:7]} has none of the sounds")
        rows[source.source] = {
            "source": source.source,
            "kind": source.kind,
            "version": source.commit,
            "files": number,
            "licence": source.licence,
            "homepage": f"{HOST}{source.repository}",
        }
        write_table(dest, rows)
        work.replace(dest / source.source)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def keep_real(path: Path) -> bool:
    """Whether a file is a sound; a link, or a pointer to where the sound is stored, is deleted."""
    if path.is_symlink() or path.read_bytes()[: len(LFS_POINTER)] == LFS_POINTER:
        path.unlink()
        return False
    return True
