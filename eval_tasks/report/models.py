"""What a report says of each model: where it comes from, its sizes, its speed, when it was run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from eval_tasks.errors import UserError
from eval_tasks.files import read_json
from eval_tasks.runs.results import ModelFolder
from eval_tasks.runs.scores import as_number
from eval_tasks.tasks.task_folder import TaskFolder

HEADER = [
    "model",
    "module",
    "options",
    "weights",
    "parameters",
    "sample rate, Hz",
    "scene size",
    "timestamp size",
    "embeddings, s without start-up",
    "times real time",
    "last run",
]


def model_rows(
    folders: Mapping[str, ModelFolder], models: list[str], tasks: Mapping[str, TaskFolder]
) -> list[list[str]]:
    """A row of texts for each model, in the order of ``HEADER``; '' for what is not known."""
    lengths_s = {name: audio_s(task) for name, task in tasks.items()}
    return [model_row(name, folders[name], lengths_s) for name in models]


def model_row(name: str, model: ModelFolder, lengths_s: Mapping[str, float | None]) -> list[str]:
    info = model.info
    elapsed = {
        task: elapsed_s(folder / "profile.embeddings.json") for task, folder in model.embeddings().items()
    }
    known = {task: seconds for task, seconds in elapsed.items() if seconds and lengths_s[task]}
    rate = sum(lengths_s[task] or 0.0 for task in known) / sum(known.values()) if known else 0.0
    weights = f"{Path(info['model']).name} {info['model_sha256'][:8]}" if info["model"] else "default"
    return [
        name,
        info["module"],
        json.dumps(info["model_options"]) if info["model_options"] else "",
        weights,
        f"{info['parameters']:,}" if info["parameters"] else "",
        str(info["sample_rate"] or ""),
        str(info["scene_embedding_size"] or ""),
        str(info["timestamp_embedding_size"] or ""),
        f"{sum(elapsed.values()):.0f}",
        f"{rate:.0f}" if rate else "",
        last_run(model),
    ]


def audio_s(task: TaskFolder) -> float | None:
    """Seconds of audio in a task; None where clips vary in length."""
    if task.sample_duration_s is None:
        return None
    return task.sample_duration_s * sum(len(task.split(split)) for split in task.splits)


def elapsed_s(profile: Path) -> float:
    """Seconds that the embeddings of a task took, from heareval's own profile; 0 where there is none."""
    value = read_json(profile).get("time_elapsed", 0.0) if profile.is_file() else 0.0
    return as_number("time_elapsed", value)


def last_run(model: ModelFolder) -> str:
    """Date of the last run, such as 2026-11-26; '' where none was recorded.

    Raises:
        UserError: a record that `eval_tasks run` does not write.
    """
    file = model.path / "runs.jsonl"
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n") if file.is_file() else []
    filled = [line for line in lines if line.strip()]
    if not filled:
        return ""
    try:
        return str(json.loads(filled[-1])["date"])[:10]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file}: expected what `eval_tasks run` writes ({error!r})") from None
