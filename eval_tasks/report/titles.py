"""Headings for people: protocols and tasks go by keys in folders and in scores.csv, by words in a report."""

from __future__ import annotations

import re

from eval_tasks.report.leaderboard import published_task
from eval_tasks.tasks.task_folder import TaskFolder

# A part of the probe's key, see ``eval_tasks.probe.linear.Protocol``: what it says. {} is its value.
PROBE_PARTS = {
    "standardize": "standardised embeddings",
    "select=best": "epoch of the best validation score",
    "on=valid": "scored on the validation split",
    "on=unseen": "scored on what the choice of options has not seen",
    "epochs": "{} epochs",
    "batch_size": "batch size {}",
    "learning_rate": "learning rate {}",
    "dropout": "dropout {}",
}
PART = re.compile(r"-(?=[a-z_]+(?:=|-|$))")  # 1e-05 holds no parts


def protocol_title(protocol: str) -> str:
    """``probe, linear-standardize-on=valid`` as words; names of heareval's grids are words already."""
    kind, _, key = protocol.partition(", ")
    if kind != "probe":
        grid = re.sub(r"-(\d+)points grid$", r" grid, \1 points", key)
        return f"HEAR harness, {grid}"
    parts = PART.split(key)[1:]
    if not any(part.startswith("on=") for part in parts):
        parts.append("on=test")
    return "Linear probe: " + ", ".join(map(_part, parts))


def _part(part: str) -> str:
    name, _, value = part.partition("=")
    known = PROBE_PARTS.get(part) or PROBE_PARTS.get(name, "scored on the {} split" if name == "on" else part)
    return known.format(value)


def task_title(task: TaskFolder) -> str:
    """The benchmark's title of a published task; otherwise the task's name as words."""
    if entry := published_task(task):
        return entry.title
    return f"{task.task_name.replace('_', ' ')} ({task.metadata['version']}, {task.metadata['mode']})"
