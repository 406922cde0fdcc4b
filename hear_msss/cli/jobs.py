"""What ``embed`` has to do: jobs, each a sound and its result, and groups of them, each for one process."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from hear_msss.collection.sources import Source, Stamp

GROUP_FILES, GROUP_BYTES = 256, 1 << 26  # where a process is killed, at most this much is done again


@dataclass(frozen=True)
class EmbedSettings:
    """What all files of a run have in common."""

    weights: str
    options: str  # JSON, so that it can be hashed
    timestamps: bool
    format: str
    device: str
    out: Path
    decoders: int = 1
    shard_files: int = 0  # files in each result; 0: a result for each file

    @property
    def kind(self) -> str:
        return "timestamps" if self.timestamps else "scene"


@dataclass(frozen=True, slots=True)
class Job:
    """A sound to embed.

    Attributes:
        output: path of its result below the output folder.
        key: its name within a shard; empty where it has a result of its own.
    """

    source: Source
    output: str
    key: str = ""

    @property
    def place(self) -> tuple[str, str]:
        return self.output, self.key


@dataclass(frozen=True)
class Group:
    """Jobs whose windows go through the encoder together; those of a shard make one result.

    Attributes:
        bad: why some of them, by place, are not to be tried: they killed their process.
        is_trial: only find out whether they kill their process, and write nothing.
    """

    jobs: Sequence[Job]
    settings: EmbedSettings
    bad: Mapping[tuple[str, str], str] = field(default_factory=dict)
    is_trial: bool = False

    def alone(self) -> Iterator[Group]:
        """A group for each job; of a shard for trial only."""
        for job in self.jobs:
            yield replace(self, jobs=[job], is_trial=bool(self.settings.shard_files))


@dataclass(frozen=True)
class Outcome:
    """What became of one job: ``error`` where there is no result; ``source`` as it was when it was read.

    Attributes:
        final: the same source would fail again. A process that was killed may have had bad luck.
        disk_error: no other file can be embedded either.
    """

    job: Job
    error: str = ""
    duration_s: float = 0.0
    rows: int = 0
    source: Stamp | None = None
    warnings: tuple[str, ...] = ()
    final: bool = True
    disk_error: bool = False


def plan(sources: Iterable[tuple[Source, Path]], settings: EmbedSettings, suffix: str) -> list[Job]:
    """Each sound with the path of its result: the same subfolders under the output folder.

    The whole file name stays in the result's, so that ``a.wav`` and ``a.flac`` do not meet.

    Raises:
        ValueError: two sounds would have the same result, or the same name within the shards.
    """
    names: dict[str, Source] = {}
    jobs: list[Job] = []
    for source, relative in sources:
        other = names.setdefault(str(relative), source)
        if other is not source:
            if _is_same(other, source):
                continue
            where = "be named" if settings.shard_files else "be written to"
            raise ValueError(
                f"{other.name} and {source.name} would both {where} {settings.out / relative}: give their "
                "common folder, or embed them into two folders"
            )
        if settings.shard_files:
            number = len(jobs) // settings.shard_files
            jobs.append(Job(source, f"{settings.kind}-{number:06d}.{suffix}", str(relative)))
        else:
            jobs.append(Job(source, str(relative.with_name(f"{relative.name}.{settings.kind}.{suffix}"))))
    return jobs


def surplus_shards(planned: Iterable[Job], settings: EmbedSettings, suffix: str) -> list[Path]:
    """Shards that an earlier run left, of more files or of smaller shards, beyond those that are planned."""
    outputs = {job.output for job in planned}
    pattern = re.compile(rf"{settings.kind}-\d{{6,}}\.{suffix}")
    found = settings.out.glob(f"{settings.kind}-*.{suffix}") if settings.shard_files else ()
    return sorted(path for path in found if pattern.fullmatch(path.name) and path.name not in outputs)


def _is_same(a: Source, b: Source) -> bool:
    return Path(a.name).resolve() == Path(b.name).resolve()


@dataclass(frozen=True)
class Part:
    """One of several equal parts of a collection, such as 3/16: the third, the 19th, the 35th ... result."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Part:
        """
        Raises:
            ValueError: other than ``I/N`` with I from 1 to N.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError(f"--part {text}: expected I/N with I from 1 to N, for example 3/16")
        return cls(int(match[1]), int(match[2]))

    def of(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs of this part. Those of a shard stay together: they have the same output."""
        if self.count == 1:
            return list(jobs)
        outputs: dict[str, int] = {}
        for job in jobs:
            outputs.setdefault(job.output, len(outputs))
        return [job for job in jobs if outputs[job.output] % self.count == self.number - 1]

    def file_name(self, name: str) -> str:
        """``embeddings.jsonl`` of the third of 16 parts is ``embeddings.3-of-16.jsonl``."""
        stem, dot, suffix = name.rpartition(".")
        return name if self.count == 1 else f"{stem}.{self.number}-of-{self.count}{dot}{suffix}"


def shards(jobs: Iterable[Job], settings: EmbedSettings) -> list[Group]:
    """A group for each shard."""
    by_output: dict[str, list[Job]] = {}
    for job in jobs:
        by_output.setdefault(job.output, []).append(job)
    return [Group(members, settings) for members in by_output.values()]


def groups(jobs: Sequence[Job], settings: EmbedSettings, processes: int) -> Iterator[Group]:
    """Groups of about the same size, four for each process where there are few jobs, bounded in bytes."""
    at_most = min(GROUP_FILES, -(-len(jobs) // (4 * processes)))
    members: list[Job] = []
    size_bytes = 0
    for job in jobs:
        members.append(job)
        with suppress(OSError):  # gone: its outcome will say so
            size_bytes += job.source.stamp().size_bytes
        if len(members) >= at_most or size_bytes >= GROUP_BYTES:
            yield Group(members, settings)
            members, size_bytes = [], 0
    if members:
        yield Group(members, settings)
