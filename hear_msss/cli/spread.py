"""Groups of files over this process, over processes of this machine, or over a cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace

from hear_msss.cli import work
from hear_msss.cli.cluster import Cluster, Failed
from hear_msss.cli.jobs import Group, Outcome
from hear_msss.workers import Died, map_unordered

MapGroups = Callable[[Iterable[Group]], Iterator[tuple[Group, list[Outcome] | Died | Failed]]]


def outcomes(groups: Iterable[Group], processes: int, cluster: Cluster | None = None) -> Generator[Outcome]:
    """The outcome of each job, as they are done.

    A process that dies costs the file that it died of and no other: the files of its group are tried again,
    each alone.
    """
    if cluster is not None:
        yield from _mapped(groups, cluster.map_groups)
    elif processes > 1:
        yield from _mapped(groups, lambda some: map_unordered(work.embed_alone, some, processes))
    else:
        for group in groups:
            yield from work.embed_group(group)


def _mapped(groups: Iterable[Group], map_groups: MapGroups) -> Iterator[Outcome]:
    died: list[Group] = []
    for group, answer in map_groups(groups):
        if isinstance(answer, list):
            yield from answer
        elif len(group.jobs) == 1 and not group.settings.shard_files:
            yield _lost(group, answer)[0]
        else:
            died.append(group)
    if died:
        yield from _one_by_one(died, map_groups)


def _one_by_one(groups: list[Group], map_groups: MapGroups) -> Iterator[Outcome]:
    bad: dict[tuple[str, str], str] = {}
    for single, answer in map_groups(single for group in groups for single in group.alone()):
        if not isinstance(answer, list):
            bad[single.jobs[0].place] = str(answer)
            answer = _lost(single, answer)
        if not single.is_trial:
            yield from answer
    shards = [replace(group, bad=bad) for group in groups if group.settings.shard_files]
    for group, answer in map_groups(shards) if shards else ():
        yield from answer if isinstance(answer, list) else _lost(group, answer)


def _lost(group: Group, answer: Died | Failed) -> list[Outcome]:
    return [Outcome(job, error=str(answer), final=False) for job in group.jobs]
