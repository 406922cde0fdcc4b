"""Embeddings and scores of a HEAR module on tasks, by the unmodified heareval.

Each task is a process of `heareval.embeddings.runner`, then one of `heareval.predictions.runner`,
several tasks at once (--jobs), one thread each. Work that is done is skipped, so the same command
continues an interrupted run; Ctrl-C ends the processes. A task that fails is reported at the end with
the last lines of its log, and the others go on. Results lie in OUT/<model>/ (see eval_tasks/runs/results.py).

More than one machine: joblib hands tasks to a Dask or Ray cluster, on a file system that all machines
share, with `--backend dask --address tcp://host:8786` (pip install distributed) or
`--backend ray --address auto` (pip install ray). There Ctrl-C ends this command, and tasks that the
cluster has begun run to their end.

Where torch sees a CUDA GPU, both runners use the first; `--gpus 0,1` (or all) gives each task one of them, in
turn, as many tasks at once as GPUs unless --jobs says more; `--gpus none` computes on the CPU.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib

from eval_tasks.errors import UserError
from eval_tasks.files import require_space
from eval_tasks.install.present import require_harness
from eval_tasks.runs import harness
from eval_tasks.runs.claim import claim_model_folder, model_name
from eval_tasks.runs.describe import ask
from eval_tasks.runs.gpus import visible_devices
from eval_tasks.runs.results import ModelFolder
from eval_tasks.runs.run_settings import CHANGED, RunSettings
from eval_tasks.runs.run_task import TaskJob, TaskResult, log_tail, run_task
from eval_tasks.tasks.check import check_tasks, embedding_bytes
from eval_tasks.tasks.task_folder import TaskFolder, task_paths
from eval_tasks.workers import at_once

__all__ = ["RunSettings", "TaskResult", "log_tail", "run_tasks"]


def chosen_folders(paths: Iterable[str | Path], names: Iterable[str] | None) -> list[Path]:
    """Task folders under ``paths``, or those of them that ``names`` names.

    Raises:
        UserError: a name that is not there, or two folders of one name.
    """
    by_name: dict[str, Path] = {}
    for folder in (path.resolve() for path in task_paths(paths)):
        if by_name.setdefault(folder.name, folder) != folder:
            raise UserError(f"{folder} has the name of {by_name[folder.name]}: rename one, or run them apart")
    missing = sorted(set(names or ()) - set(by_name))
    if missing:
        raise UserError(f"no task {', '.join(missing)}: there are {', '.join(sorted(by_name))}")
    return [by_name[name] for name in dict.fromkeys(names or by_name)]


def audio_s(folder: Path) -> float:
    """Seconds of audio in a sound task folder, about: the longest task begins first."""
    task = TaskFolder.open(folder)
    return (task.sample_duration_s or 10.0) * sum(len(task.split(split)) for split in task.splits)


def find_problems(folders: Iterable[Path], info: Mapping[str, Any]) -> dict[Path, str]:
    """Folders that would break a run, and why, told file by file (the first few)."""
    found = {}
    for folder in folders:
        problems = list(map(str, check_tasks([folder], info["sample_rate"], quick=True)))
        if problems:
            more = [f"and {len(problems) - 5} more; see `python -m eval_tasks check {folder}`"]
            found[folder] = "\n".join(problems[:5] + (more if len(problems) > 5 else []))
    return found


def task_jobs(
    module: str,
    folders: Iterable[Path],
    model_dir: Path,
    settings: RunSettings,
    visible: Sequence[str] | None,
) -> list[TaskJob]:
    """A job for each task folder, the longest first; each on the next of the ``visible`` GPUs."""
    return [
        TaskJob(
            task_path=folder,
            model_dir=model_dir,
            module=module,
            model=settings.model,
            model_options=dict(settings.model_options),
            grid=settings.grid,
            grid_points=settings.grid_points,
            changed=settings.changed,
            threads=settings.threads or harness.default_threads(settings.jobs),
            gpu=visible[number % len(visible)] if visible else None,
        )
        for number, folder in enumerate(sorted(folders, key=audio_s, reverse=True))
    ]


def finished_jobs(jobs: Sequence[TaskJob], number: int) -> Iterator[TaskResult]:
    """The result of each job, as it comes; all at the end where the backend (Ray's) cannot say before."""
    number = at_once(number, len(jobs))
    backend, _ = joblib.parallel.get_active_backend(prefer="threads")
    return_as = "generator_unordered" if backend.supports_return_generator else "list"
    parallel = joblib.Parallel(n_jobs=number, prefer="threads", return_as=return_as)
    return iter(parallel(joblib.delayed(run_task)(job) for job in jobs))


def run_tasks(
    module: str,
    tasks_dir: str | Path | Iterable[str | Path],
    out_dir: str | Path,
    settings: RunSettings | None = None,
    on_start: Callable[[list[TaskJob]], None] = lambda jobs: None,
    on_result: Callable[[TaskResult], None] = lambda result: None,
) -> list[TaskResult]:
    """Run a HEAR module on tasks; what is done already is skipped.

    Args:
        module: import name of a HEAR module.
        tasks_dir: a task folder, a folder of them, or several of these.
        out_dir: results go to ``out_dir/<name>``.
        settings: which tasks, which weights, which predictors, how many at once.
        on_start, on_result: told what is to be done, and each result as it comes.

    Returns:
        one result for each task, in the order in which they ended; failed tasks among them.

    Raises:
        UserError: the harness is not installed, no such task or GPU, a module that cannot be loaded, too
            little disk, or results of another model in the way.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the processes have ended.
    """
    settings = settings or RunSettings()
    require_harness()
    paths = [tasks_dir] if isinstance(tasks_dir, (str, Path)) else list(tasks_dir)
    chosen = chosen_folders(paths, settings.tasks)
    if settings.model:  # results name the weights wherever they are read
        settings = replace(settings, model=str(Path(settings.model).absolute()))
    info = ask(module, settings.model, settings.model_options)
    visible = visible_devices(settings.gpus, info["devices"])
    model_dir = Path(out_dir).absolute() / (settings.name or model_name(module, info))
    claim_model_folder(model_dir, info, settings.changed)

    done = ModelFolder(model_dir).embeddings()
    new = [folder for folder in chosen if folder.name not in done]
    problems = find_problems(new, info)
    sound = [folder for folder in chosen if folder not in problems]
    size = max(info["scene_embedding_size"], info["timestamp_embedding_size"])
    needed_bytes = sum(embedding_bytes(TaskFolder.open(folder), size) for folder in sound if folder in new)
    require_space(model_dir, needed_bytes, f"embeddings of {module}")

    jobs = task_jobs(module, sound, model_dir, settings, visible)
    failed = [TaskResult(path.name, model_dir.name, "failed", error=why) for path, why in problems.items()]
    results = []
    start = time.monotonic()
    with harness.children_end_with_us():
        on_start(jobs)
        for result in itertools.chain(failed, finished_jobs(jobs, settings.jobs)):
            results.append(result)
            on_result(result)
    if any(result.status == "done" for result in results):
        record_run(model_dir, results, settings, wall_s=time.monotonic() - start)
    return results


def record_run(model_dir: Path, results: Iterable[TaskResult], settings: RunSettings, wall_s: float) -> None:
    """Append one line on this run to ``runs.jsonl``."""
    seconds = {
        r.task: [round(r.embeddings_s, 1), round(r.predictions_s, 1)] for r in results if r.status == "done"
    }
    line = {
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "grid": settings.grid,
        "jobs": settings.jobs,
        "threads": settings.threads or harness.default_threads(settings.jobs),
        "wall_s": wall_s,
        "embeddings_and_predictions_s": seconds,
    }
    with (model_dir / "runs.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


@contextmanager
def cluster(backend: str, address: str, jobs: int) -> Iterator[None]:
    """joblib's Dask or Ray backend for what runs inside; nothing for ``threads``."""
    if backend == "threads":
        yield
        return
    if backend == "dask":
        from dask.distributed import Client

        with Client(address or None), joblib.parallel_config(backend="dask", n_jobs=jobs):
            yield
        return
    import ray
    from ray.util.joblib import register_ray

    ray.init(address=address or None)
    register_ray()
    with joblib.parallel_config(backend="ray", n_jobs=jobs):
        yield


def json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text}: expected a JSON object such as '{{\"hop_ms\": 50}}'")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add, usual = parser.add_argument, RunSettings()
    add("--module", required=True, help="import name of a HEAR module, such as hear_msss")
    add("--model", default="", help="weights file (default: the module's own default)")
    add("--model-options", type=json_object, default={}, help="JSON object of load_model's keyword arguments")
    add("--tasks", nargs="+", type=Path, required=True, help="task folders, or folders of task folders")
    add("--task", nargs="+", help="only the tasks of these names")
    add("--out", type=Path, required=True, help="results go to OUT/<model>")
    add("--name", default="", help="name of the model's folder (default: module, options and weights)")
    add("--grid", choices=harness.GRIDS, default=usual.grid, help="heareval's grid (default: %(default)s)")
    add("--grid-points", type=int, help="predictors tried of that grid (heareval's default: 8)")
    add("--jobs", type=int, help="tasks at once (default: one for each of --gpus, else 1)")
    add("--threads", type=int, help="threads of each process (default: OMP_NUM_THREADS, else cores / jobs)")
    add("--gpus", type=lambda text: text.split(","), help="such as 0,1, all, or none (default: the first)")
    add("--changed", choices=CHANGED, default=usual.changed, help="where OUT holds results of another state")
    add("--backend", choices=("threads", "dask", "ray"), default="threads", help="joblib backend")
    add("--address", default="", help="of the Dask scheduler or Ray head (default: start one here)")


def run(args: argparse.Namespace) -> int:
    from eval_tasks.runs.display import RunDisplay

    settings = RunSettings(
        tasks=args.task,
        model=args.model,
        model_options=args.model_options,
        grid=args.grid,
        grid_points=args.grid_points,
        jobs=len(args.gpus or [""]) if args.jobs is None else args.jobs,
        threads=args.threads,
        gpus=args.gpus,
        name=args.name,
        changed=args.changed,
    )
    with RunDisplay() as display, cluster(args.backend, args.address, settings.jobs):
        results = run_tasks(args.module, args.tasks, args.out, settings, display.start, display.finished)
    display.summary(results, args.out)
    return int(any(result.status != "done" and result.status != "skipped" for result in results))
