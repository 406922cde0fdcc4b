"""Judges any HEAR module: task registry, raw data to task folders, runs, linear probe, reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval_tasks.tasks.task_folder import TaskFolder


def prepare(adapter: str, /, **arguments: Any) -> TaskFolder:
    """See ``eval_tasks.adapters.make.prepare``, which is imported only now: other verbs do without it."""
    from eval_tasks.adapters import make

    return make.prepare(adapter, **arguments)
