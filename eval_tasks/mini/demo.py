"""A HEAR module at work in a few minutes: the validator, then the mini tasks, then one table.

`hear-validator` checks the module as a process of its own. Then heareval's unmodified runners judge it and
the log-mel baseline on the three mini tasks, which come with the package; they need nothing but this
environment. The table includes chance. Do not compare the scores with
published ones: the tasks are small, and the grid of predictors is heareval's "faster", four points of it.

Results lie in OUT/<model>/ as `run` writes them, and `report` reads them. A second call only validates:
tasks are done again when the module's code or weights have changed.

  python -m eval_tasks demo --out build/demo
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from eval_tasks.install.present import require_harness
from eval_tasks.metrics import METRICS
from eval_tasks.mini import TASKS_DIR
from eval_tasks.report.table import chance
from eval_tasks.runs import harness
from eval_tasks.runs.describe import ask
from eval_tasks.runs.display import RunDisplay
from eval_tasks.runs.run import RunSettings, TaskResult, log_tail, run_tasks
from eval_tasks.tasks.task_folder import TaskFolder, find_tasks

BASELINE = "eval_tasks.baselines.logmel"
GRID, GRID_POINTS = "faster", 4


def validator_command(module: str, model: str) -> list[str]:
    """The console script `hear-validator` of this environment, called on ``module``."""
    command = [str(Path(sys.executable).with_name("hear-validator")), module]
    return [*command, "--model", model] if model else command


def validate(module: str, model: str, log: Path, console: Console) -> bool:
    """Run the validator, say its result and what the module itself warned of."""
    command = validator_command(module, model)
    if not Path(command[0]).exists():
        console.print(f"validator: no {command[0]}: run `python -m eval_tasks install`", soft_wrap=True)
        return False
    env = harness.environment(harness.usable_cores()) | {"PYTHONWARNINGS": "default"}
    # A console script does not look for modules where it is called, as `python -m` does.
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path.cwd()), env.get("PYTHONPATH")]))
    with harness.children_end_with_us():
        status = harness.run_process(command, env, log)
    text = log.read_text(errors="replace")
    package = module.split(".")[0]
    for warning in dict.fromkeys(re.findall(r"Warning: (.+)", text)):
        if package in warning:
            console.print(f"note: {warning}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if status or "Looks good!" not in text:
        console.print(f"validator: {module} failed (status {status}); the end of {log}:", soft_wrap=True)
        console.print(log_tail(log), markup=False, highlight=False, soft_wrap=True)
        return False
    console.print(f"validator: {module}: Looks good!")
    return True


def scores_table(
    tasks: Iterable[TaskFolder], module: str, results: Iterable[TaskResult], baseline: Iterable[TaskResult]
) -> Table:
    """One row for each score of each task: chance, the log-mel baseline, the module."""
    scores = {result.task: result.scores for result in results}
    floor = {result.task: result.scores for result in baseline}
    table = Table("task", "score")
    for column in ("chance", "log-mel", module):
        table.add_column(column, justify="right")
    for task in tasks:
        for number, metric in enumerate(task.evaluation):
            cells = [
                f"{found[task.name][metric].mean_text}" if metric in found.get(task.name, {}) else "failed"
                for found in (floor, scores)
            ]
            name = task.task_name if number == 0 else ""
            table.add_row(name, METRICS.get(metric, metric), f"{chance(task, metric):.3f}", *cells)
        table.add_section()
    return table


def behind_baseline(
    tasks: Iterable[TaskFolder], results: Iterable[TaskResult], baseline: Iterable[TaskResult]
) -> list[str]:
    """A line for each task whose main score is below that of the log-mel baseline, which learnt nothing."""
    scores = {result.task: result.scores for result in results}
    floor = {result.task: result.scores for result in baseline}
    lines = []
    for task in tasks:
        metric = task.evaluation[0]
        found = [of.get(task.name, {}).get(metric) for of in (scores, floor)]
        if all(found) and found[0].mean < found[1].mean:  # type: ignore[union-attr]
            lines.append(
                f"{task.task_name}: behind the log-mel baseline; if these are weights of yours, train on"
            )
    return lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--module", default="hear_msss", help="import name of a HEAR module (default: hear_msss)")
    add("--model", default="", help="weights file (default: the module's own default)")
    add(
        "--out", type=Path, default=Path("build/demo"), help="results go to OUT/<model> (default: build/demo)"
    )
    add("--jobs", type=int, default=min(3, harness.usable_cores()), help="tasks at once (default: the cores)")


def run(args: argparse.Namespace) -> int:
    require_harness()
    start = time.monotonic()
    console = Console()
    tasks = find_tasks([TASKS_DIR])
    ask(args.module, args.model)  # a module that cannot be loaded is refused before anything is computed
    valid = validate(args.module, args.model, args.out / "validator.log", console)
    by_module: dict[str, list[TaskResult]] = {}
    for module, model in ((BASELINE, ""), (args.module, args.model)):
        console.print(f"{module} on the mini tasks:")
        settings = RunSettings(
            model=model, grid=GRID, grid_points=GRID_POINTS, jobs=args.jobs, changed="redo"
        )
        with RunDisplay(console) as display:
            by_module[module] = run_tasks(
                module, TASKS_DIR, args.out, settings, display.start, display.finished
            )
    results, baseline = by_module[args.module], by_module[BASELINE]
    name = f"{args.module} {Path(args.model).name}".strip()
    console.print(scores_table(tasks, name, results, baseline))
    for line in behind_baseline(tasks, results, baseline):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    failed = [result for found in by_module.values() for result in found if result.error]
    for result in failed:
        console.rule(f"{result.model}: {result.task} failed", align="left")
        console.print(result.error, markup=False, highlight=False, soft_wrap=True)
    folder = args.out.absolute() / results[0].model
    console.print(f"took {time.monotonic() - start:.0f} s; full results in {folder}", soft_wrap=True)
    return int(not valid or bool(failed))
