"""The texts of a leaderboard entry: the row, the pull request, and how to reproduce them."""

from __future__ import annotations

import csv
import io
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval_tasks.report.leaderboard import leaderboard
from eval_tasks.report.text import csv_cell
from eval_tasks.runs.results import ModelFolder

TRAINING_DATA = ("speech", "broad-domain", "music")


@dataclass(frozen=True)
class Entry:
    """What the leaderboard's pull-request template asks for and results do not hold; '' for not given.

    Attributes:
        name: of the model, on the leaderboard.
        url: where the model's code is.
        training_data: of ``TRAINING_DATA``.
        why_partial: why tasks are missing; without it, an entry must have all 19.
    """

    name: str
    url: str = ""
    team: str = ""
    authors: str = ""
    paper: str = ""
    description: str = ""
    training_data: tuple[str, ...] = ()
    why_partial: str = ""

    @property
    def still_to_fill_in(self) -> list[str]:
        """Options of `submit` that were not given and that the template asks for."""
        names = ("url", "team", "authors", "paper", "description", "training_data")
        return [f"--{name.replace('_', '-')}" for name in names if not getattr(self, name)]


def row_csv(entry: Entry, scores: Mapping[str, float]) -> str:
    """The leaderboard's header and the entry's row; blank where there is no score."""
    columns = io.StringIO()
    writer = csv.writer(columns, lineterminator="\n")
    tasks = list(leaderboard().index)
    writer.writerow(["Model", "URL", "Submission Date", *tasks])
    cells = [f"{scores[task]:.9f}" if task in scores else "" for task in tasks]
    writer.writerow([csv_cell(entry.name), csv_cell(entry.url), time.strftime("%Y-%m-%d"), *cells])
    return columns.getvalue()


def pull_request(entry: Entry, model: ModelFolder, problems: Sequence[str]) -> str:
    """The fields of https://github.com/hearbenchmark/hearbenchmark.com's pull-request template, filled in.

    Args:
        problems: what is wrong with the tasks that have no score.
    """
    info = model.info

    def boxes(names: Sequence[str], ticked: Sequence[str]) -> str:
        return "\n".join(f"* [{'x' if name in ticked else ' '}] {name}" for name in names)

    missing = "".join(f"\n* {problem}" for problem in problems)
    return f"""**{entry.team}**

**Team Name:** {entry.team}

**Model Name:** {entry.name}

**Author(s):** {entry.authors}

**Model URL/GitHub:** {entry.url}

**Paper Link:** {entry.paper}

**Model Description:** {entry.description}

**Pre-training Data:**
{boxes(TRAINING_DATA, entry.training_data)}

**Number of Model Trainable Parameters:** {info["parameters"] or ""}

**Scene Embedding Dimensions:** {info["scene_embedding_size"]}

**Timestamp Embedding Dimensions:** {info["timestamp_embedding_size"]}

**Were you able to evaluate your model on all 19 tasks?:**
{boxes(("yes", "no"), ("no",) if problems else ("yes",))}

**If you answered no to the last question, list which tasks you were unable to complete and why:**
{entry.why_partial if problems else ""}{missing}
"""


def run_command(model: ModelFolder, grid: str) -> str:
    info = model.info
    command = ["python", "-m", "eval_tasks", "run", "--module", info["module"]]
    command += ["--model", Path(info["model"]).name] if info["model"] else []
    command += ["--model-options", json.dumps(info["model_options"])] if info["model_options"] else []
    command += ["--tasks", "tasks", "--out", "results", "--name", model.name, "--grid", grid]
    return shlex.join(command)


def reproduce(model: ModelFolder, grid: str, entry: Entry) -> str:
    info = model.info
    weights = (
        f"`{Path(info['model']).name}`, sha256 `{info['model_sha256']}`" if info["model"] else "the default"
    )
    own = ["python", "-m", "eval_tasks", "submit", f"results/{model.name}", "--out", "entry", "--grid", grid]
    own += ["--model-name", entry.name, "--url", entry.url]
    own += ["--partial", entry.why_partial] if entry.why_partial else []
    return f"""# How to reproduce this entry

- module: `{info["module"]}`, sha256 of its files `{info["module_sha256"]}`
- weights: {weights}
- `load_model` options: `{json.dumps(info["model_options"])}`
- packages: `environment.txt`; the harness is heareval {info["versions"].get("heareval")}, unmodified

```
python -m eval_tasks download all --out tasks
python -m eval_tasks resample tasks --sample-rate {info["sample_rate"]}
{run_command(model, grid)}
{shlex.join(own)}
```
"""
