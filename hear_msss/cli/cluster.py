"""Groups of files over the machines of a Dask or Ray cluster, through joblib.

All machines see the same files and the same output folder. A worker that dies is no loss: its group is done
by another, and since results are whole or absent, none is there twice.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import joblib

from hear_msss.cli import work
from hear_msss.cli.jobs import Group, Outcome

PACKAGES = {"dask": "distributed", "ray": "ray"}
GROUPS = 64  # as for so many processes: how many workers there are may change
ROUND = 4  # groups for each worker that are given at once where the cluster tells of no single one


@dataclass(frozen=True)
class Failed:
    """What stands for the answer of workers that died."""

    reason: str

    def __str__(self) -> str:
        return f"the workers of the cluster that had it died: {self.reason}"


@dataclass(frozen=True)
class Cluster:
    """``dask`` or ``ray``, at an address; without one, the workers are started on this machine."""

    kind: str
    address: str = ""

    def check(self) -> None:
        """
        Raises:
            ImportError: its package is not installed.
        """
        package = PACKAGES[self.kind]
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError(f"--cluster {self.kind} needs {package}: pip install {package}") from error

    @contextmanager
    def connected(self) -> Iterator[None]:
        """What joblib computes in the ``with`` block, the cluster computes."""
        if self.kind == "dask":
            from distributed import Client

            with Client(self.address or None), joblib.parallel_config(backend="dask", n_jobs=-1):
                yield
            return
        import ray
        from ray.util.joblib import register_ray

        ray.init(address=self.address or None)
        try:
            register_ray()
            with joblib.parallel_config(backend="ray", n_jobs=-1):
                yield
        finally:
            ray.shutdown()

    def map_groups(self, groups: Iterable[Group]) -> Iterator[tuple[Group, list[Outcome] | Failed]]:
        """Each group with its outcomes, as they are done; ``Failed`` where its workers died.

        Dask gives a dead worker's group to another, up to four times. With Ray, and where Dask has given up,
        groups are given in rounds. A round that failed is given again in halves, down to single groups.
        """
        left = dict(enumerate(groups))
        with self.connected():
            if self.kind == "dask":
                try:
                    for number, answer in _parallel("generator_unordered", left):
                        yield left.pop(number), answer
                except Exception as error:  # of the cluster, which has many kinds
                    print(f"{len(left)} groups are tried again: {_short(error)}", file=sys.stderr)
            size = ROUND * joblib.effective_n_jobs()
            while left:
                chosen = {number: left.pop(number) for number in list(left)[:size]}
                yield from self._round(chosen)

    def _round(self, groups: dict[int, Group]) -> Iterator[tuple[Group, list[Outcome] | Failed]]:
        try:
            answers = list(_parallel("list", groups))
        except Exception as error:
            if len(groups) == 1:
                yield from ((group, Failed(_short(error))) for group in groups.values())
                return
            print(f"{len(groups)} groups are tried again in halves: {_short(error)}", file=sys.stderr)
            numbers, middle = list(groups), len(groups) // 2
            for half in (numbers[:middle], numbers[middle:]):
                yield from self._round({number: groups[number] for number in half})
            return
        yield from ((groups[number], answer) for number, answer in answers)


def _parallel(return_as: str, groups: dict[int, Group]) -> Iterable[tuple[int, list[Outcome]]]:
    answers: Iterable[tuple[int, list[Outcome]]] = joblib.Parallel(batch_size=1, return_as=return_as)(
        joblib.delayed(embed_numbered)(number, group) for number, group in list(groups.items())
    )
    return answers


def embed_numbered(number: int, group: Group) -> tuple[int, list[Outcome]]:
    return number, work.embed_alone(group)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
