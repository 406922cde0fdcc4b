"""Where results lie, and how they are read. One folder per model:

```
OUT/<model>/model.json                             what was run: module, weights, hashes, versions
OUT/<model>/embeddings/<module and options>/<task> heareval's embeddings, as it writes them
OUT/<model>/predictions/<grid>/<task>              heareval's predictions and scores
OUT/<model>/probe/<protocol>/<task>/seed<N>.json   scores of the linear probe
OUT/<model>/logs/                                  output of every process
OUT/<model>/runs.jsonl                             wall times
```
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_tasks.errors import UserError
from eval_tasks.files import read_json

# What must be equal for two runs to be of the same model.
IDENTITY = ("module", "model_options", "model_sha256", "module_sha256")
INFO_FIELDS: dict[str, type] = {
    **dict.fromkeys(("module", "model", "model_sha256", "module_sha256"), str),
    **dict.fromkeys(("scene_embedding_size", "timestamp_embedding_size", "sample_rate", "parameters"), int),
    **dict.fromkeys(("model_options", "versions"), dict),
}


@dataclass(frozen=True)
class ModelFolder:
    """One model's results."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def info(self) -> dict[str, Any]:
        """What `run` wrote about the model.

        Raises:
            UserError: no JSON object, or a field that is missing or of another kind.
        """
        file = self.path / "model.json"
        info = read_json(file)
        for key, kind in INFO_FIELDS.items():
            if not isinstance(info.get(key, kind()), kind):
                raise UserError(f"{file}: {key} is {info[key]!r}, expected what `eval_tasks run` writes")
        return {**{key: kind() for key, kind in INFO_FIELDS.items()}, **info}

    def embeddings(self) -> dict[str, Path]:
        """Task name to the folder of its finished embeddings."""
        marks = self.path.glob("embeddings/*/*/.done.embeddings")
        return {mark.parent.name: mark.parent for mark in sorted(marks)}

    def predictions(self) -> dict[str, dict[str, Path]]:
        """Grid to task name to the folder of its finished predictions."""
        found: dict[str, dict[str, Path]] = {}
        for mark in sorted(self.path.glob("predictions/*/*/prediction-done.json")):
            found.setdefault(mark.parent.parent.name, {})[mark.parent.name] = mark.parent
        return found

    def probes(self) -> dict[str, dict[str, list[Path]]]:
        """Protocol to task name to the files of the seeds."""
        found: dict[str, dict[str, list[Path]]] = {}
        for file in sorted(self.path.glob("probe/*/*/seed*.json")):
            tasks = found.setdefault(file.parent.parent.name, {})
            tasks.setdefault(file.parent.name, []).append(file)
        return found


def find_models(folders: Iterable[Path]) -> list[ModelFolder]:
    """Every model in the given folders; each may be an OUT folder or one model's folder in it.

    Raises:
        UserError: a folder holds no results.
    """
    models: list[ModelFolder] = []
    for folder in folders:
        marks = sorted(folder.glob("model.json")) or sorted(folder.glob("*/model.json"))
        if not marks:
            raise UserError(f"{folder}: no results here; expected the --out folder of `eval_tasks run`")
        models += [ModelFolder(mark.parent) for mark in marks]
    return list(dict.fromkeys(models))
