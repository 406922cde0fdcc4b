"""One fully connected layer on a task's embeddings, trained and scored (paper, section 3.2)."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval_tasks.errors import UserError
from eval_tasks.runs.pickles import read_labels
from eval_tasks.runs.scores import as_number
from eval_tasks.tasks.task_folder import TaskFolder

SELECT_EVERY_EPOCHS = 10


@dataclass(frozen=True)
class Protocol:
    """How the layer is trained; the defaults are the paper's.

    Attributes:
        standardize: embeddings to zero mean and unit deviation over the training split.
        select: ``last`` epoch or ``best`` validation score.
        on: what is scored, see ``data_splits``: ``test``; ``valid``, to choose between models or
            options; ``unseen``, to judge what was chosen so.
    """

    epochs: int = 250
    batch_size: int = 1024
    learning_rate: float = 1e-4
    dropout: float = 0.1
    standardize: bool = False
    select: str = "last"
    on: str = "test"

    @property
    def name(self) -> str:
        """``linear``, and what differs from the paper's: ``linear-standardize-select=best``."""
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return "-".join(
            ["linear"] + [key if value is True else f"{key}={value}" for key, value in changed.items()]
        )


@dataclass(frozen=True)
class SplitData:
    """Embeddings of one or several splits.

    Attributes:
        embeddings: ``(examples, size)``; of event tasks, an example is a timestamp.
        targets: ``(examples, classes)``, 1 where the label holds.
        file_names, timestamps_ms: of each example; event tasks only.
        events: file name to its events, the truth; event tasks only.
    """

    embeddings: Tensor
    targets: Tensor
    file_names: list[str]
    timestamps_ms: Tensor
    events: dict[str, list[dict[str, Any]]]


def load_splits(task: TaskFolder, splits: Iterable[str]) -> SplitData:
    """Read what the embeddings runner wrote for these splits.

    Raises:
        UserError: values that are not finite, or a label outside the vocabulary.
    """
    index = {label: number for number, label in enumerate(task.vocabulary)}
    embeddings, targets, names, times, events = [], [], [], [], {}
    for split in splits:
        shape = tuple(json.loads((task.path / f"{split}.embedding-dimensions.json").read_text()))
        file = task.path / f"{split}.embeddings.npy"  # raw float32, in spite of the name
        values = torch.from_numpy(np.fromfile(file, dtype=np.float32).reshape(shape))
        if not values.isfinite().all():
            raise UserError(f"{file} holds values that are not finite: the module returned them")
        target = torch.zeros(shape[0], len(index))
        for row, labels in enumerate(read_labels(task.path / f"{split}.target-labels.pkl")):
            for label in labels:
                if str(label) not in index:
                    raise UserError(f"{task.path}: label {label!r} is not in the vocabulary")
                target[row, index[str(label)]] = 1.0
        embeddings.append(values)
        targets.append(target)
        if task.is_event:
            located = json.loads((task.path / f"{split}.filename-timestamps.json").read_text())
            names += [name for name, _ in located]
            times += [time_ms for _, time_ms in located]
            events.update(task.split(split))
    return SplitData(torch.cat(embeddings), torch.cat(targets), names, torch.tensor(times), events)


def data_splits(task: TaskFolder, on: str = "test") -> list[tuple[list[str], list[str], list[str]]]:
    """(train, valid, scored) splits for each part of a probe.

    With folds, ``test`` scores each of them once, and the next one validates, as in heareval. Every fold
    is then part of the score, so a choice must leave one out: ``valid`` never reads the first fold, and
    scores each of the others after training on the rest. ``unseen`` scores the first fold alone.
    """
    if not task.is_folds:
        return [(["train"], ["valid"], ["valid" if on == "valid" else "test"])]
    folds = sorted(task.splits)
    if on == "valid":
        return [([other for other in folds[1:] if other != fold], [fold], [fold]) for fold in folds[1:]]
    turns = [folds[turn:] + folds[:turn] for turn in range(1 if on == "unseen" else len(folds))]
    return [(turn[2:], [turn[1]], [turn[0]]) for turn in turns]


def train_layer(
    data: SplitData,
    multilabel: bool,
    protocol: Protocol,
    seed: int,
    validate: Callable[[nn.Linear], float] | None = None,
) -> nn.Linear:
    """Train one layer on embeddings ``(examples, size)`` and targets ``(examples, classes)``.

    Args:
        data: the training split.
        multilabel: sigmoid and binary cross-entropy; else softmax and cross-entropy.
        seed: of initialization, order and dropout.
        validate: a score, the higher the better; with it, the layer of the best epoch is returned.
    """
    targets = data.targets if multilabel else data.targets.argmax(dim=1)
    loss = F.binary_cross_entropy_with_logits if multilabel else F.cross_entropy
    best_score, best_state = -math.inf, None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = nn.Linear(data.embeddings.shape[1], data.targets.shape[1])
        optimizer = torch.optim.Adam(layer.parameters(), lr=protocol.learning_rate)
        for epoch in range(1, protocol.epochs + 1):
            for batch in torch.randperm(len(targets)).split(protocol.batch_size):
                dropped = F.dropout(data.embeddings[batch], protocol.dropout)
                optimizer.zero_grad()
                loss(layer(dropped), targets[batch]).backward()
                optimizer.step()
            if validate and (epoch % SELECT_EVERY_EPOCHS == 0 or epoch == protocol.epochs):
                score = validate(layer)
                if score > best_score:
                    best_score = score
                    best_state = {key: value.clone() for key, value in layer.state_dict().items()}
    if best_state:
        layer.load_state_dict(best_state)
    return layer


class Scorer:
    """A task's scores, by heareval's own functions, the main one first."""

    def __init__(self, task: TaskFolder) -> None:
        with warnings.catch_warnings():  # of packages that heareval imports
            warnings.simplefilter("ignore")
            from heareval.score import available_scores

        self.task = task
        label_to_idx = {label: number for number, label in enumerate(task.vocabulary)}
        self.functions = {name: available_scores[name](label_to_idx=label_to_idx) for name in task.evaluation}

    def postprocessings(self) -> list[dict[str, float]]:
        """Every way of turning frames into events that may be chosen on the validation split."""
        from heareval.predictions.task_predictions import EVENT_POSTPROCESSING_GRID

        grid = self.task.metadata.get("evaluation_params", {}).get(
            "event_postprocessing_grid", EVENT_POSTPROCESSING_GRID
        )
        return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]

    def __call__(
        self, layer: nn.Linear, data: SplitData, postprocessing: dict[str, float] | None = None
    ) -> dict[str, float]:
        """Metric to score. ``postprocessing`` is needed for event tasks, and only there."""
        with torch.no_grad():
            logits = layer(data.embeddings)
        if postprocessing is None:
            predicted = (logits.sigmoid() if self.task.is_multilabel else logits.softmax(1)).numpy()
            return {
                name: _plain(name, score(predicted, data.targets.numpy()))
                for name, score in self.functions.items()
            }
        from heareval.predictions.task_predictions import get_events_for_all_files

        chosen = tuple(postprocessing.items())
        labels = dict(enumerate(self.task.vocabulary))
        events = get_events_for_all_files(
            logits.sigmoid(), data.file_names, data.timestamps_ms, labels, {}, chosen
        )[chosen]
        return {name: _plain(name, score(events, data.events)) for name, score in self.functions.items()}

    def main(self, scores: dict[str, float]) -> float:
        """The main score, turned so that higher is better; an undefined one is the worst."""
        name, function = next(iter(self.functions.items()))
        if math.isnan(scores[name]):
            return -math.inf
        return scores[name] if function.maximize else -scores[name]


def _plain(metric: str, score: Any) -> float:
    return as_number(metric, float(score[0][1] if isinstance(score, tuple) else score))


def probe_split(
    task: TaskFolder, splits: tuple[list[str], list[str], list[str]], protocol: Protocol, seed: int
) -> dict[str, Any]:
    """Train on one division into train, valid and test; the scores of ``protocol.on`` and what was chosen."""
    loaded = [load_splits(task, names) for names in splits]
    if protocol.standardize:
        deviation, mean = torch.std_mean(loaded[0].embeddings, dim=0)
        for data in loaded:
            data.embeddings.sub_(mean).div_(deviation.clamp(min=1e-6))
    training, validation, test = loaded
    scorer = Scorer(task)
    choices: list[dict[str, float] | None] = [*scorer.postprocessings()] if task.is_event else [None]

    def on_validation(layer: nn.Linear, choice: dict[str, float] | None) -> float:
        return scorer.main(scorer(layer, validation, choice))

    def validate(layer: nn.Linear) -> float:
        return max(on_validation(layer, choice) for choice in choices)

    layer = train_layer(
        training, task.is_multilabel, protocol, seed, validate if protocol.select == "best" else None
    )
    choice = choices[0] if len(choices) == 1 else max(choices, key=lambda each: on_validation(layer, each))
    return {protocol.on: splits[2], "scores": scorer(layer, test, choice), "postprocessing": choice}
