"""A run on disk: its files, who may write there, and what is taken from a file that may be a stranger's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from hear_msss.locks import LOCK, holder, sign, take
from pretrain.config_layers import read_config
from pretrain.corpus.location import is_remote
from pretrain.corpus.source import SegmentSource
from pretrain.distributed import process_rank, wait_for_all
from pretrain.files import open_replacing
from pretrain.settings import Settings

CONFIG = "config.yaml"
CORPUS = "corpus.json"


@contextmanager
def sole_run(folder: Path) -> Iterator[None]:
    """Hold a run's folder while training writes there; every process of the run holds it.

    So a process that is left over from a killed run keeps a new one out until it has ended.

    Raises:
        ValueError: another run holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        if process_rank() == 0:
            refuse_other_run(lock, folder, shared=False)
            sign(lock)
            refuse_other_run(lock, folder, shared=True)
        wait_for_all()
        refuse_other_run(lock, folder, shared=True)
        yield
    finally:
        os.close(lock)


def refuse_other_run(lock: int, folder: Path, shared: bool) -> None:
    """Raises ValueError where another run has the lock, with what it wrote of itself."""
    if not take(lock, shared):
        raise ValueError(
            f"{folder}: {holder(lock)} trains there; wait until it has ended, stop it, or give another --out"
        )


def write_settings(folder: Path, settings: Settings, source: SegmentSource) -> None:
    """Write config.yaml and corpus.json of a run.

    Args:
        folder: of the run.
        settings: as resolved.
        source: the corpus.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open_replacing(folder / CONFIG) as file:
        yaml.safe_dump(settings.to_dict(), file, sort_keys=False)
    with open_replacing(folder / CORPUS) as file:
        json.dump({"location": source.location, "summary": source.summary()}, file, indent=1)


def read_settings(folder: Path) -> Settings:
    """The settings that a run was begun with.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: config.yaml is damaged, or of a version with other settings.
    """
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(f"{folder / CONFIG} does not exist: give the folder of a training run")
    return Settings.from_dict(read_config(folder / CONFIG))


def read_corpus(folder: Path) -> dict[str, Any]:
    """What a run noted of its corpus: location and summary.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: corpus.json is damaged.
    """
    path = folder / CORPUS
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give the folder of a training run")
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error}): the file is damaged") from error
    if (
        not isinstance(noted, dict)
        or not isinstance(noted.get("location"), str)
        or not isinstance(noted.get("summary"), dict)
    ):
        raise ValueError(f"{path}: expected location and summary of a corpus: the file is damaged")
    return noted


def noted_location(folder: Path) -> str:
    """Where a run's corpus is, as the run noted it.

    A run folder may come from someone else, so what it names is not fetched from the network.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: the location is not on this machine.
    """
    location = read_corpus(folder)["location"]
    if is_remote(location):
        raise ValueError(
            f"{folder / CORPUS} names {location}, which is not on this machine: if that is the corpus you "
            "want, give it with --corpus"
        )
    return location


def check_same_corpus(folder: Path, source: SegmentSource) -> None:
    """Raises ValueError where the corpus is not what it was when the run was begun."""
    before, now = read_corpus(folder)["summary"], source.summary()
    if before.get("hash") != now.get("hash"):
        then, since = (f"{of.get('clips')} clips, hash {str(of.get('hash'))[:12]}" for of in (before, now))
        raise ValueError(
            f"the corpus {source.location} has changed since the run in {folder} was begun: {then}; now "
            f"{since}. The run would not go on as it would have without a stop. --changed-corpus resumes it "
            "all the same"
        )
