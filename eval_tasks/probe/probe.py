"""The paper's own downstream protocol, on the embeddings that `run` has made.

One fully connected layer on frozen embeddings, dropout 0.1 on its input, 250 epochs, batch 1024, Adam with
rate 1e-4 (paper, section 3.2), several seeds, mean and deviation. Scores are heareval's: accuracy, pitch and
chroma accuracy, onset F-measure at 200 ms by sed_eval. Event tasks are a sigmoid for each frame and class,
then heareval's own postprocessing: a median filter of 250 ms, the minimum duration chosen on the
validation split. Tasks with folds: the mean over folds. Seeds that are done are skipped.

Where the paper is silent: embeddings are taken as they are (--standardize: zero mean and unit deviation
over the training split) and the layer of the last epoch counts (--select best: of the best validation
score, looked at every 10 epochs).

To choose between options or weights: --on valid scores the validation split and never reads the test
split. Of a task with folds it never reads the first fold, and scores each of the others after training on
the rest; as `--on test` scores every fold, it holds clips that the choice has seen, and --on unseen
scores the first fold alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from eval_tasks.errors import UserError
from eval_tasks.files import refuse_links_outside, write_json
from eval_tasks.locks import locked
from eval_tasks.probe.linear import Protocol, data_splits, probe_split
from eval_tasks.runs.harness import default_threads
from eval_tasks.runs.results import ModelFolder, find_models
from eval_tasks.runs.scores import Score, probe_scores
from eval_tasks.tasks.task_folder import TaskFolder
from eval_tasks.workers import in_processes


def probe_task(folder: Path, out: Path, protocol: Protocol, seeds: int, threads: int = 1) -> str:
    """Probe one task with seeds 0 to ``seeds - 1``, each into ``out/seed<N>.json``; '' or what went wrong."""
    torch.set_num_threads(threads)
    try:
        task = TaskFolder.open(folder)
        with locked(out / ".lock"):
            for seed in range(seeds):
                file = out / f"seed{seed}.json"
                if not file.exists():
                    write_json(file, probe_seed(task, protocol, seed))
    except UserError as error:
        return str(error)
    except Exception as error:  # reported with the other tasks' results, which it must not cost
        return f"{type(error).__name__}: {error}"
    return ""


def probe_seed(task: TaskFolder, protocol: Protocol, seed: int) -> dict[str, Any]:
    """The content of a seed's file: scores over all parts, and each part by itself."""
    start = time.monotonic()
    parts = [probe_split(task, splits, protocol, seed) for splits in data_splits(task, protocol.on)]
    scores = {name: Score.of([part["scores"][name] for part in parts]).mean for name in parts[0]["scores"]}
    seconds = round(time.monotonic() - start, 1)
    content = {"scores": scores, "parts": parts, "seed": seed, "seconds": seconds}
    return {**content, "protocol": asdict(protocol)}


def probe_models(
    models: Iterable[ModelFolder],
    protocol: Protocol | None = None,
    seeds: int = 3,
    tasks: Iterable[str] | None = None,
    jobs: int = 1,
    on_result: Callable[[str, str, dict[str, Score], str], None] | None = None,
) -> list[tuple[str, str, dict[str, Score], str]]:
    """Probe every finished task of the models.

    Args:
        models: see ``eval_tasks.runs.results.find_models``.
        protocol: the paper's by default.
        seeds: number of repetitions.
        tasks: names of tasks; all with finished embeddings by default.
        jobs: tasks at once, each a process.
        on_result: told each result as it comes.

    Returns:
        (model, task, metric to mean and deviation over seeds, '' or what went wrong) for each.

    Raises:
        UserError: nothing to probe.
    """
    protocol = protocol or Protocol()
    wanted = None if tasks is None else set(tasks)
    todo = [
        (model, task, folder, model.path / "probe" / protocol.name / task)
        for model in models
        for task, folder in model.embeddings().items()
        if wanted is None or task in wanted
    ]
    if not todo:
        raise UserError("no finished embeddings to probe: make them with `python -m eval_tasks run`")

    for model, _, _, out in todo:
        refuse_links_outside(model.path, [out.parent.parent, out.parent, out])

    def work(number: int) -> tuple[int, str]:
        _, _, folder, out = todo[number]
        return number, probe_task(folder, out, protocol, seeds, default_threads(jobs))

    def name(number: int) -> str:
        return f"{todo[number][1]} of {todo[number][0].name}"

    results = []
    for number, problem in in_processes(work, ((number,) for number in range(len(todo))), jobs, name):
        model, task, _, out = todo[number]
        scores = {} if problem else probe_scores(sorted(out.glob("seed*.json")))
        results.append((model.name, task, scores, problem))
        if on_result:
            on_result(*results[-1])
    return results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add, paper = parser.add_argument, Protocol()
    add(
        "--out", nargs="+", type=Path, required=True, help="the OUT of `run`, or single models' folders in it"
    )
    add("--task", nargs="+", help="only the tasks of these names")
    add("--seeds", type=int, default=3, help="repetitions (default: %(default)s)")
    add("--epochs", type=int, default=paper.epochs, help="default: %(default)s")
    add("--batch-size", type=int, default=paper.batch_size, help="default: %(default)s")
    add("--learning-rate", type=float, default=paper.learning_rate, help="default: %(default)s")
    add("--dropout", type=float, default=paper.dropout, help="default: %(default)s")
    add("--standardize", action="store_true", help="standardize embeddings over the training split")
    add("--select", choices=("last", "best"), default=paper.select, help="epoch that counts")
    add(
        "--on",
        choices=("test", "valid", "unseen"),
        default=paper.on,
        help="what to score (default: %(default)s)",
    )
    add("--jobs", type=int, default=1, help="tasks at once")


def run(args: argparse.Namespace) -> int:
    if args.seeds < 1 or args.jobs < 1:
        raise UserError(f"--seeds {args.seeds} --jobs {args.jobs}: expected 1 or more of each")
    protocol = Protocol(**{field.name: getattr(args, field.name) for field in fields(Protocol)})

    def show(model: str, task: str, scores: dict[str, Score], problem: str) -> None:
        shown = ", ".join(f"{name} {score}" for name, score in scores.items())
        print(f"{model} {task}: {f'failed: {problem}' if problem else shown}", flush=True)

    results = probe_models(find_models(args.out), protocol, args.seeds, args.task, args.jobs, show)
    return int(any(problem for *_, problem in results))
