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
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from eval_tasks.runs.run_task import TaskJob, TaskResult, log_tail, run_task
from eval_tasks.tasks.check import check_tasks, embedding_bytes
from eval_tasks.tasks.task_folder import TaskFolder, task_paths

__all__ = ["TaskResult", "log_tail", "run_tasks"]

CHANGED = ("refuse", "keep", "redo")


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


def run_tasks(
    module: str,
    tasks_dir: str | Path | Iterable[str | Path],
    out_dir: str | Path,
    tasks: Iterable[str] | None = None,
    model: str = "",
    model_options: Mapping[str, Any] | None = None,
    grid: str = "faster",
    grid_points: int | None = None,
    jobs: int = 1,
    threads: int | None = None,
    gpus: Sequence[str] | None = None,
    name: str = "",
    changed: str = "refuse",
    on_start: Callable[[list[TaskJob]], None] | None = None,
    on_result: Callable[[TaskResult], None] | None = None,
) -> list[TaskResult]:
    """Run a HEAR module on tasks; what is done already is skipped.

    Args:
        module: import name of a HEAR module.
        tasks_dir: a task folder, a folder of them, or several of these.
        out_dir: results go to ``out_dir/<name>``.
        tasks: names of task folders; all by default.
        model: weights file; the module's default if empty.
        model_options: keyword arguments of ``load_model``.
        grid: heareval's ``default``, ``fast`` or ``faster``.
        grid_points: models tried of that grid; heareval's 8 by default.
        jobs: tasks at once. A ``joblib.parallel_config`` around the call chooses another backend.
        threads: threads of each process; by default OMP_NUM_THREADS, else the cores divided by ``jobs``.
        gpus: numbers of GPUs, as torch counts them, one for each task in turn; ``["all"]``, or
            ``["none"]`` for the CPU. By default the first one, where there is one.
        name: name of the model's folder; from module, options and weights by default.
        changed: where results come from other weights or code, or another state of a task:
            ``refuse``, ``keep`` or ``redo``.
        on_start, on_result: told what is to be done, and each result as it comes.

    Returns:
        one result for each task, in the order in which they ended; failed tasks among them.

    Raises:
        UserError: the harness is not installed, no such task or GPU, a module that cannot be loaded, too
            little disk, or results of another model in the way.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the processes have ended.
    """
    if grid not in harness.GRIDS or changed not in CHANGED:
        raise UserError(f"grid {grid!r} and changed {changed!r}: expected of {harness.GRIDS} and {CHANGED}")
    require_harness()
    if jobs < 1:
        raise UserError(f"jobs={jobs}: expected 1 or more")
    paths = [tasks_dir] if isinstance(tasks_dir, (str, Path)) else list(tasks_dir)
    chosen = chosen_folders(paths, tasks)
    info = ask(module, model, model_options)
    visible = visible_devices(gpus, info["devices"])
    model_dir = Path(out_dir).absolute() / (name or model_name(module, info))
    claim_model_folder(model_dir, info, changed)

    results: list[TaskResult] = []

    def add(result: TaskResult) -> None:
        results.append(result)
        if on_result:
            on_result(result)

    done = ModelFolder(model_dir).embeddings()
    new = [folder for folder in chosen if folder.name not in done]
    problems = find_problems(new, info)
    sound = [folder for folder in chosen if folder not in problems]
    size = max(info["scene_embedding_size"], info["timestamp_embedding_size"])
    needed_bytes = sum(embedding_bytes(TaskFolder.open(folder), size) for folder in sound if folder in new)
    require_space(model_dir, needed_bytes, f"embeddings of {module}")
    threads = threads or harness.default_threads(jobs)
    todo = [
        TaskJob(
            task_path=folder,
            model_dir=model_dir,
            module=module,
            model=str(Path(model).absolute()) if model else "",
            model_options=dict(model_options or {}),
            grid=grid,
            grid_points=grid_points,
            changed=changed,
            threads=threads,
            gpu=visible[number % len(visible)] if visible else None,
        )
        for number, folder in enumerate(sorted(sound, key=audio_s, reverse=True))
    ]
    start = time.monotonic()
    with harness.children_end_with_us():
        if on_start:
            on_start(todo)
        for folder, problem in problems.items():
            add(TaskResult(folder.name, model_dir.name, "failed", error=problem))
        parallel = joblib.Parallel(n_jobs=jobs, prefer="threads", return_as="generator_unordered")
        for result in parallel(joblib.delayed(run_task)(job) for job in todo):
            add(result)
    if any(result.status == "done" for result in results):
        record_run(model_dir, results, grid=grid, jobs=jobs, threads=threads, wall_s=time.monotonic() - start)
    return results


def record_run(model_dir: Path, results: Iterable[TaskResult], **facts: Any) -> None:
    """Append one line on this run to ``runs.jsonl``."""
    seconds = {
        r.task: [round(r.embeddings_s, 1), round(r.predictions_s, 1)] for r in results if r.status == "done"
    }
    line = {"date": time.strftime("%Y-%m-%d %H:%M:%S"), **facts, "embeddings_and_predictions_s": seconds}
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
    add = parser.add_argument
    add("--module", required=True, help="import name of a HEAR module, such as hear_msss")
    add("--model", default="", help="weights file (default: the module's own default)")
    add("--model-options", type=json_object, default={}, help="JSON object of load_model's keyword arguments")
    add("--tasks", nargs="+", type=Path, required=True, help="task folders, or folders of task folders")
    add("--task", nargs="+", help="only the tasks of these names")
    add("--out", type=Path, required=True, help="results go to OUT/<model>")
    add("--name", default="", help="name of the model's folder (default: module, options and weights)")
    add("--grid", choices=harness.GRIDS, default="default", help="heareval's grid of predictors")
    add("--grid-points", type=int, help="predictors tried of that grid (heareval's default: 8)")
    add("--jobs", type=int, help="tasks at once (default: one for each of --gpus, else 1)")
    add("--threads", type=int, help="threads of each process (default: OMP_NUM_THREADS, else cores / jobs)")
    add("--gpus", type=lambda text: text.split(","), help="such as 0,1, all, or none (default: the first)")
    add("--changed", choices=CHANGED, default="refuse", help="where OUT holds results of another state")
    add("--backend", choices=("threads", "dask", "ray"), default="threads", help="joblib backend")
    add("--address", default="", help="of the Dask scheduler or Ray head (default: start one here)")


def run(args: argparse.Namespace) -> int:
    from eval_tasks.runs.display import RunDisplay

    jobs = len(args.gpus or [""]) if args.jobs is None else args.jobs
    with RunDisplay() as display, cluster(args.backend, args.address, jobs):
        results = run_tasks(
            args.module,
            args.tasks,
            args.out,
            tasks=args.task,
            model=args.model,
            model_options=args.model_options,
            grid=args.grid,
            grid_points=args.grid_points,
            jobs=jobs,
            threads=args.threads,
            gpus=args.gpus,
            name=args.name,
            changed=args.changed,
            on_start=display.start,
            on_result=display.finished,
        )
    display.summary(results, args.out)
    return int(any(result.status != "done" and result.status != "skipped" for result in results))
