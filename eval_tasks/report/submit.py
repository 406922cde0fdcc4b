"""What an entry on the HEAR leaderboard needs, in one folder.

  row.csv          the scores in the leaderboard's columns
  validator.log    hearvalidator's output, made anew
  model.json       module, options, hashes of weights and code, versions
  environment.txt  every installed package, as `pip freeze` lists them
  REPRODUCE.md     the commands

Refuses, with the list, where one of the 19 tasks has no score or is not the published one, and where
module or weights have changed since the run.

  python -m eval_tasks submit results/hear_msss --out entry/ --model-name "MSSS" --url https://...
"""

from __future__ import annotations

import argparse
import csv
import errno
import importlib.metadata
import io
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from eval_tasks.errors import UserError
from eval_tasks.files import replacing_folder, write_json, write_text
from eval_tasks.report.leaderboard import leaderboard
from eval_tasks.report.standing import published_scores
from eval_tasks.report.text import csv_cell
from eval_tasks.runs.describe import ask
from eval_tasks.runs.harness import GRIDS, environment
from eval_tasks.runs.results import IDENTITY, ModelFolder, find_models


def leaderboard_row(model: ModelFolder, grid: str) -> dict[str, float]:
    """Leaderboard column to score, in the leaderboard's order.

    Raises:
        UserError: tasks are missing or not the published ones; all of them are named.
    """
    scores, problems = published_scores(model, grid)
    if problems:
        raise UserError(
            f"{model.path} cannot be submitted, {len(problems)} of {len(leaderboard())} tasks are missing:\n"
            + "\n".join(f"  {problem}" for problem in problems)
        )
    return scores


def validate(module: str, weights: str) -> tuple[bool, str]:
    """hearvalidator's verdict and output."""
    command = [sys.executable, "-m", "hearvalidator.validate", module]
    command += ["--model", weights] if weights else []
    done = subprocess.run(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.returncode == 0, f"$ {shlex.join(['python', *command[1:]])}\n{done.stdout}"


def run_command(model: ModelFolder, grid: str) -> str:
    info = model.info
    command = ["python", "-m", "eval_tasks", "run", "--module", info["module"]]
    command += ["--model", info["model"]] if info["model"] else []
    command += ["--model-options", json.dumps(info["model_options"])] if info["model_options"] else []
    command += ["--tasks", "tasks", "--out", "results", "--name", model.name, "--grid", grid]
    return shlex.join(command)


def reproduce(model: ModelFolder, grid: str, name: str, url: str) -> str:
    info = model.info
    weights = (
        f"`{Path(info['model']).name}`, sha256 `{info['model_sha256']}`" if info["model"] else "the default"
    )
    own = f"python -m eval_tasks submit results/{model.name} --out entry --grid {grid}"
    own += f" --model-name {shlex.quote(name)} --url {shlex.quote(url)}"
    return f"""# How to reproduce this entry

- module: `{info["module"]}`, sha256 of its files `{info["module_sha256"]}`
- weights: {weights}
- `load_model` options: `{json.dumps(info["model_options"])}`
- packages: `environment.txt`; the harness is heareval {info["versions"].get("heareval")}, unmodified

```
python -m eval_tasks download all --out tasks
python -m eval_tasks resample tasks --sample-rate {info["sample_rate"]}
{run_command(model, grid)}
{own}
```
"""


def submit(model: ModelFolder, out: Path, name: str, url: str, grid: str = "default") -> Path:
    """Write the entry into ``out``, which appears only when it is complete.

    Raises:
        UserError: tasks are missing, module or weights have changed, the validator fails, or ``out``
            is there already.
    """
    if out.exists():
        raise UserError(f"{out} is there already: name a folder that is not")
    row = leaderboard_row(model, grid)
    info = model.info
    now = ask(info["module"], info["model"], info["model_options"])
    differing = [key for key in IDENTITY if now[key] != info[key]]
    if differing:
        raise UserError(f"{', '.join(differing)} changed since {model.path} was made: run the tasks again")
    valid, log = validate(info["module"], info["model"])
    if not valid:
        raise UserError(f"hearvalidator does not accept {info['module']}:\n{log}")

    columns = io.StringIO()
    writer = csv.writer(columns, lineterminator="\n")
    writer.writerow(["Model", "URL", "Submission Date", *row])
    writer.writerow(
        [
            csv_cell(name),
            csv_cell(url),
            time.strftime("%Y-%m-%d"),
            *(f"{score:.9f}" for score in row.values()),
        ]
    )
    packages = {f"{d.metadata['Name']}=={d.version}" for d in importlib.metadata.distributions()}
    try:
        with replacing_folder(out) as partial:
            write_text(partial / "row.csv", columns.getvalue())
            write_text(partial / "validator.log", log)
            write_json(partial / "model.json", info)
            write_text(partial / "environment.txt", "\n".join(sorted(packages, key=str.lower)) + "\n")
            write_text(partial / "REPRODUCE.md", reproduce(model, grid, name, url))
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        raise UserError(f"{out} was made by another process meanwhile: nothing was written") from None
    return out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="one model's folder in the OUT of `run`")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="a new folder for the entry"
    )
    parser.add_argument("--model-name", help="name on the leaderboard (default: the folder's)")
    parser.add_argument("--url", default="", help="where the model's code is")
    parser.add_argument("--grid", choices=GRIDS, default="default", help="the leaderboard's is the default")


def run(args: argparse.Namespace) -> int:
    models = find_models([args.folder])
    if len(models) > 1:
        raise UserError(f"{args.folder} holds {', '.join(m.name for m in models)}: name one of them")
    out = submit(models[0], args.out, args.model_name or models[0].name, args.url, args.grid)
    print(f"wrote {', '.join(sorted(file.name for file in out.iterdir()))} to {out}")
    return 0
