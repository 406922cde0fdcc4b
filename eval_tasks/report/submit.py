"""What an entry on the HEAR leaderboard needs, in one folder.

  row.csv          the scores in the leaderboard's columns, to append to its table
  PULL_REQUEST.md  the fields that the leaderboard's pull-request template asks for
  validator.log    hearvalidator's output, made anew with the options that were scored
  model.json       module, options, hashes of weights and code, sizes, versions
  environment.txt  every installed package, as `pip freeze` lists them
  REPRODUCE.md     the commands

Refuses where module or weights have changed since the run, and, with the list, where one of the 19 tasks has
no score or is not the published one. The leaderboard takes entries that lack tasks: --partial with the reason
leaves their columns blank and says so in the pull request.

  python -m eval_tasks submit results/hear_msss --out entry/ --model-name "MSSS" --url https://... \\
      --team "..." --authors "..." --paper https://... --description "..." --training-data speech music \\
      --partial "no GPU for the largest tasks"
"""

from __future__ import annotations

import argparse
import errno
import importlib.metadata
from pathlib import Path

from eval_tasks.errors import UserError
from eval_tasks.files import replacing_folder, write_json, write_text
from eval_tasks.report.entry import TRAINING_DATA, Entry, pull_request, reproduce, row_csv
from eval_tasks.report.standing import published_scores
from eval_tasks.report.validator import validate
from eval_tasks.runs.describe import ask
from eval_tasks.runs.harness import GRIDS
from eval_tasks.runs.results import IDENTITY, ModelFolder, find_models
from eval_tasks.tasks.registry import hear_tasks


def entry_scores(model: ModelFolder, grid: str, why_partial: str) -> tuple[dict[str, float], list[str]]:
    """Leaderboard column to score, and what is wrong with the tasks that have none.

    Raises:
        UserError: no published task has a score, or some have none and no reason was given.
    """
    scores, problems = published_scores(model, grid)
    if problems and not (why_partial and scores):
        listed = "\n".join(f"  {problem}" for problem in problems)
        hint = "\nto submit the others, give the reason: --partial TEXT" if scores else ""
        raise UserError(
            f"{model.path} cannot be submitted, {len(problems)} of {len(hear_tasks())} tasks are missing:\n"
            f"{listed}{hint}"
        )
    return scores, problems


def find_weights(model: ModelFolder, given: str) -> str:
    """The weights file of a model's run, wherever the command is called; '' for the module's default.

    Args:
        given: where the weights are now; '' for where they were.

    Raises:
        UserError: they are not there.
    """
    recorded = given or model.info["model"]
    if not recorded:
        return ""
    above = [] if given else list(model.path.absolute().parents)
    for folder in (Path.cwd(), *above):  # older runs recorded the path as it was typed
        if (folder / recorded).exists():
            return str((folder / recorded).absolute())
    raise UserError(f"weights {recorded} are not there: say where they are now, --model FILE")


def submit(model: ModelFolder, out: Path, entry: Entry, grid: str = "default", weights: str = "") -> Path:
    """Write the entry into ``out``, which appears only when it is complete.

    Args:
        entry: what results do not hold.
        weights: where the weights are, if they were moved since the run.

    Raises:
        UserError: tasks are missing, weights are not found, module or weights have changed, the validator
            fails, or ``out`` is there already.
    """
    if out.exists():
        raise UserError(f"{out} is there already: name a folder that is not")
    scores, problems = entry_scores(model, grid, entry.why_partial)
    info = model.info
    weights = find_weights(model, weights)
    now = ask(info["module"], weights, info["model_options"])
    differing = [key for key in IDENTITY if now[key] != info[key]]
    if differing:
        raise UserError(f"{', '.join(differing)} changed since {model.path} was made: run the tasks again")
    valid, log = validate(info["module"], weights, info["model_options"])
    if not valid:
        raise UserError(f"hearvalidator does not accept {info['module']}:\n{log}")

    packages = {f"{d.metadata['Name']}=={d.version}" for d in importlib.metadata.distributions()}
    try:
        with replacing_folder(out) as partial:
            write_text(partial / "row.csv", row_csv(entry, scores))
            write_text(partial / "PULL_REQUEST.md", pull_request(entry, model, problems))
            write_text(partial / "validator.log", log)
            write_json(partial / "model.json", {**info, "model": Path(info["model"]).name})
            write_text(partial / "environment.txt", "\n".join(sorted(packages, key=str.lower)) + "\n")
            write_text(partial / "REPRODUCE.md", reproduce(model, grid, entry))
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        raise UserError(f"{out} was made by another process meanwhile: nothing was written") from None
    return out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="one model's folder in the OUT of `run`")
    add("--out", type=Path, required=True, metavar="FOLDER", help="a new folder for the entry")
    add("--model-name", help="name on the leaderboard (default: the folder's)")
    add("--url", default="", help="where the model's code is")
    add("--team", default="", help="name of the team")
    add("--authors", default="", help="names of the authors")
    add("--paper", default="", help="address of the paper")
    add("--description", default="", help="the model in a few sentences")
    add("--training-data", nargs="+", choices=TRAINING_DATA, default=(), help="what the model was trained on")
    add("--partial", default="", metavar="WHY", help="submit without the missing tasks; why they are missing")
    add("--model", default="", metavar="FILE", help="where the weights are now (default: where they were)")
    add("--grid", choices=GRIDS, default="default", help="the leaderboard's is the default")


def run(args: argparse.Namespace) -> int:
    models = find_models([args.folder])
    if len(models) > 1:
        raise UserError(f"{args.folder} holds {', '.join(m.name for m in models)}: name one of them")
    entry = Entry(
        name=args.model_name or models[0].name,
        url=args.url,
        team=args.team,
        authors=args.authors,
        paper=args.paper,
        description=args.description,
        training_data=tuple(args.training_data),
        why_partial=args.partial,
    )
    out = submit(models[0], args.out, entry, args.grid, args.model)
    print(f"wrote {', '.join(sorted(file.name for file in out.iterdir()))} to {out}")
    if entry.still_to_fill_in:
        print(f"fill in PULL_REQUEST.md what was not given: {', '.join(entry.still_to_fill_in)}")
    return 0
