"""Groups of files over this process, over processes of this machine, or over a cluster."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace

from hear_msss.cli import work
from hear_msss.cli.jobs import Group, Outcome
from hear_msss.workers import Died, map_unordered


def outcomes(groups: Iterable[Group], processes: int) -> Generator[Outcome]:
    """The outcome of each job, as they are done.

    A process that dies costs the file that it died of and no other: the files of its group are tried again,
    each in a process of its own.
    """
    if processes == 1:
        for group in groups:
            yield from work.embed_group(group)
        return
    died: list[Group] = []
    for group, answer in map_unordered(work.embed_alone, groups, processes):
        if isinstance(answer, Died) and len(group.jobs) == 1 and not group.settings.shard_files:
            yield Outcome(group.jobs[0], error=str(answer), final=False)
        elif isinstance(answer, Died):
            died.append(group)
        else:
            yield from answer
    if died:
        yield from _one_by_one(died, processes)


def _one_by_one(groups: list[Group], processes: int) -> Generator[Outcome]:
    bad: dict[tuple[str, str], str] = {}
    alone = (single for group in groups for single in group.alone())
    for single, answer in map_unordered(work.embed_alone, alone, processes):
        (job,) = single.jobs
        if isinstance(answer, Died):
            bad[job.place] = str(answer)
            if not single.is_trial:
                yield Outcome(job, error=str(answer), final=False)
        elif not single.is_trial:
            yield from answer
    shards = [replace(group, bad=bad) for group in groups if group.settings.shard_files]
    for group, answer in map_unordered(work.embed_alone, shards, processes):
        if isinstance(answer, Died):  # of what no file alone dies of
            yield from (Outcome(job, error=str(answer), final=False) for job in group.jobs)
        else:
            yield from answer
