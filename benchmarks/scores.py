"""Scores of the bundled weights: the file docs/results.json, and the tables made from it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from eval_tasks.metrics import LOW_IS_GOOD, METRICS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results.json"

# Name of a model's folder (run --name): how tables call it, in their order. "chance" needs no run.
MODELS = {
    "logmel": "log-mel",
    "random_projection": "random projection",
    "crepe_tiny": "CREPE tiny",
    "untrained_h": "untrained h",
    "msss_h": "msss, plain h",
    "msss": "msss",
    "chance": "chance",
}
MAIN = {  # columns of README's table: task, metric, title
    ("arabic_commands-v1-5h", "top1_acc"): "words (40)",
    ("esc10-v1-5h", "top1_acc"): "environmental sounds (10)",
    ("gm_pitch-v1-5h", "pitch_acc"): "notes (88)",
    ("office_events-v1-5h", "event_onset_200ms_fms"): "events (11)",
}
TABLE = re.compile(r"(<!-- results: (.+?) -->\n)(.*?)(<!-- end of results -->)", re.DOTALL)


@dataclass(frozen=True)
class Row:
    """One score: mean and deviation over ``count`` folds or seeds (deviation 0 where there is one)."""

    protocol: str
    task: str
    metric: str
    model: str
    mean: float
    deviation: float
    count: int

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.protocol, self.task, self.metric, self.model

    @property
    def text(self) -> str:
        return f"{self.mean:.3f}" + (f" ± {self.deviation:.3f}" if self.count > 1 else "")


def read(path: Path = RESULTS) -> tuple[str, list[Row]]:
    """The sha256 of the weights that the file belongs to, and its rows."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return content["weights_sha256"], [Row(**row) for row in content["rows"]]


def write(rows: Sequence[Row], weights_sha256: str, path: Path = RESULTS) -> None:
    """Write the file, one row a line, so that differences are easy to read."""
    lines = ",\n  ".join(json.dumps(asdict(row)) for row in rows)
    path.write_text(f'{{\n "weights_sha256": "{weights_sha256}",\n "rows": [\n  {lines}\n ]\n}}\n')


def merged(old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """New rows in the place of old ones, in the order of the tables; no chance where no model has a score."""
    by_key = {row.key: row for row in [*old, *new]}
    scored = {key[:3] for key in by_key if key[3] != "chance"}
    by_key = {key: row for key, row in by_key.items() if key[:3] in scored}
    models, metrics = list(MODELS), list(METRICS)
    return sorted(
        by_key.values(),
        key=lambda row: (row.protocol, row.task, metrics.index(row.metric), models.index(row.model)),
    )


def table(rows: Sequence[Row], title: str) -> str:
    """The Markdown table that a document asks for: a protocol, or the main scores of one."""
    protocol = title.removeprefix("main scores, ")
    chosen = {row.key: row for row in rows if row.protocol == protocol}
    if not chosen:
        raise ValueError(f"no results by {protocol!r}: expected one of {sorted({r.protocol for r in rows})}")
    models = [model for model in MODELS if any(key[3] == model for key in chosen)]
    if title.startswith("main scores, "):
        return main_table(chosen, protocol, models)
    header = ["task", "score", *(MODELS[model] for model in models)]
    lines = [header, ["---", "---", *["---:"] * len(models)]]
    for task, metric in dict.fromkeys((key[1], key[2]) for key in chosen):
        found = {model: chosen.get((protocol, task, metric, model)) for model in models}
        cells = marked(found, metric)
        lines.append([task.split("-")[0], METRICS[metric], *cells])
    return pipes(lines)


def main_table(chosen: dict[tuple[str, str, str, str], Row], protocol: str, models: list[str]) -> str:
    """A row a model, a column a task, means only."""
    columns = []
    for task, metric in MAIN:
        found = {model: chosen.get((protocol, task, metric, model)) for model in models}
        columns.append(marked(found, metric, means=True))
    lines = [["", *MAIN.values()], ["---", *["---:"] * len(MAIN)]]
    lines += [[MODELS[model], *cells] for model, *cells in zip(models, *columns, strict=True)]
    return pipes(lines)


def marked(found: dict[str, Row | None], metric: str, means: bool = False) -> list[str]:
    """Scores as text, the best ones of several models in bold."""
    texts = [("" if row is None else f"{row.mean:.3f}" if means else row.text) for row in found.values()]
    values = {m: round(row.mean, 3) for m, row in found.items() if row is not None and m != "chance"}
    best = (min if metric in LOW_IS_GOOD else max)(values.values())
    bold = {model for model, value in values.items() if value == best and len(values) > 1}
    return [f"**{text}**" if model in bold else text for model, text in zip(found, texts, strict=True)]


def pipes(lines: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def filled(document: str, rows: Sequence[Row]) -> str:
    """A document with its tables made anew."""
    return TABLE.sub(lambda match: match[1] + "\n" + table(rows, match[2]) + "\n" + match[4], document)
