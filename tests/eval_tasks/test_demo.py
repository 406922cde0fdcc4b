"""The demo on results that are there already: its table, its messages, its exit status."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from eval_tasks import __main__ as command_line
from eval_tasks.mini import MINI_TASKS, TASKS_DIR, demo
from eval_tasks.runs.run import TaskResult
from eval_tasks.runs.scores import Score
from eval_tasks.tasks.task_folder import find_tasks

SCORES = {
    "mini_keywords-v1-small": {"top1_acc": 0.625},
    "mini_pitch-v1-small": {"pitch_acc": 0.375, "chroma_acc": 0.4375},
    "mini_events-v1-small": {"event_onset_200ms_fms": 0.5, "segment_1s_er": 0.75},
}
TOY = """
import torch

class Model(torch.nn.Module):
    sample_rate, scene_embedding_size, timestamp_embedding_size = 16000, 4, 4

def load_model(model_file_path=""):
    return Model()
"""


def finished(model_dir: Path, factor: float) -> None:
    """Results of all mini tasks as the runners leave them, scores times ``factor``."""
    for task in MINI_TASKS:
        embeddings = model_dir / "embeddings" / "module" / task
        predictions = model_dir / "predictions" / f"{demo.GRID}-{demo.GRID_POINTS}points" / task
        for folder in (embeddings, predictions):
            folder.mkdir(parents=True)
            for name in ("task_metadata.json", "labelvocabulary.csv"):
                shutil.copy(TASKS_DIR / task / name, folder)
        (embeddings / ".done.embeddings").touch()
        (predictions / "prediction-done.json").write_text("{}")
        scores = {f"test_{metric}": value * factor for metric, value in SCORES[task].items()}
        (predictions / "test.predicted-scores.json").write_text(json.dumps({"test": scores}))


@pytest.fixture
def out(tmp_path, monkeypatch):
    """An OUT folder with finished results of ``toy_module`` and the baseline, and a validator of ours."""
    (tmp_path / "toy_module.py").write_text(TOY)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    monkeypatch.setenv("COLUMNS", "120")
    for model, factor in ((demo.BASELINE, 0.5), ("toy_module", 1.0)):
        finished(tmp_path / "out" / model, factor)
    return tmp_path / "out"


def validator_saying(monkeypatch, text: str, status: int) -> None:
    code = f"import sys; print({text!r}); sys.exit({status})"
    monkeypatch.setattr(demo, "validator_command", lambda module, model: [sys.executable, "-c", code])


def test_demo_shows_finished_work_without_doing_it_again(out, monkeypatch, capsys):
    validator_saying(monkeypatch, "x.py:1: UserWarning: toy_module has no weights\nLooks good!", 0)
    assert command_line.main(["demo", "--module", "toy_module", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "validator: toy_module: Looks good!" in shown
    assert "note: toy_module has no weights" in shown
    assert shown.count("was done before") == 6
    rows = [line.replace("│", " ").split() for line in shown.splitlines() if line.startswith("│")]
    assert [row[-3:] for row in rows] == [
        ["0.000", "0.250", "0.500"],  # onset F1: chance, log-mel, module
        ["1.000", "0.375", "0.750"],  # segment error rate
        ["0.100", "0.312", "0.625"],  # words
        ["0.011", "0.188", "0.375"],  # pitch
        ["0.083", "0.219", "0.438"],  # chroma
    ]
    assert f"full results in {out / 'toy_module'}" in shown


@pytest.mark.parametrize(("status", "error"), [(1, ""), (0, "no memory"), (1, "no memory")])
def test_what_fails_is_said_and_is_the_exit_status(out, monkeypatch, capsys, status, error):
    def run_tasks(module, *args, **options):
        scores = {
            task: {metric: Score(value) for metric, value in SCORES[task].items()} for task in MINI_TASKS
        }
        results = [TaskResult(task, module, "done", scores[task]) for task in MINI_TASKS]
        if error:
            results[0] = TaskResult(MINI_TASKS[0], module, "failed", error=error)
        return results

    monkeypatch.setattr(demo, "run_tasks", run_tasks)
    validator_saying(monkeypatch, "Looks good!" if status == 0 else "timestamps go backwards", status)
    assert command_line.main(["demo", "--module", "toy_module", "--out", str(out)]) == 1
    shown = capsys.readouterr().out
    assert ("timestamps go backwards" in shown) == bool(status)
    assert ("mini_keywords-v1-small failed" in shown and error in shown) == bool(error)
    assert "0.375" in shown  # what went well is shown all the same


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--model", "mine.safetensors"], "no such file"), (["--module", "toy_modul"], "no module 'toy_modul'")],
)
def test_what_cannot_be_loaded_is_refused_before_the_baseline_is_computed(
    out, monkeypatch, capsys, arguments, words
):
    monkeypatch.setattr(demo, "validate", lambda *arguments: pytest.fail("validated"))
    monkeypatch.setattr(demo, "run_tasks", lambda *arguments: pytest.fail("computed"))
    assert command_line.main(["demo", "--out", str(out), *arguments]) == 1
    assert words in capsys.readouterr().err


def test_a_validator_that_stops_early_has_not_approved(tmp_path, monkeypatch, capsys):
    from rich.console import Console

    validator_saying(monkeypatch, "Checking load_model", 0)
    assert not demo.validate("toy_module", "", tmp_path / "log", Console())
    monkeypatch.setattr(demo, "validator_command", lambda module, model: [str(tmp_path / "none")])
    assert not demo.validate("toy_module", "", tmp_path / "log", Console())
    assert capsys.readouterr().out.count("Looks good!") == 0


def test_the_validator_is_this_environment_s():
    command = demo.validator_command("some.module", "")
    assert Path(command[0]).parent == Path(sys.executable).parent
    assert demo.validator_command("some.module", "w.pt")[1:] == ["some.module", "--model", "w.pt"]


def test_a_failed_task_stands_in_the_table_as_failed():
    tasks = [task for task in find_tasks([TASKS_DIR]) if task.task_name == "mini_pitch"]
    good = TaskResult(tasks[0].name, "m", "done", {"pitch_acc": Score(0.5), "chroma_acc": Score(0.6)})
    bad = TaskResult(tasks[0].name, "m", "failed", error="no memory")
    table = demo.scores_table(tasks, "m", [bad], [good])
    assert [list(column.cells) for column in table.columns[-2:]] == [["0.500", "0.600"], ["failed", "failed"]]


def test_a_module_behind_the_baseline_is_told_so_by_task():
    tasks = [task for task in find_tasks([TASKS_DIR]) if task.task_name in ("mini_pitch", "mini_keywords")]
    scores = {"mini_pitch": ("pitch_acc", 0.4, 0.5), "mini_keywords": ("top1_acc", 0.6, 0.5)}
    results, floor = [], []
    for task in tasks:
        metric, ours, theirs = scores[task.task_name]
        results.append(TaskResult(task.name, "m", "done", {metric: Score(ours)}))
        floor.append(TaskResult(task.name, "b", "done", {metric: Score(theirs)}))
    (line,) = demo.behind_baseline(tasks, results, floor)
    assert line.startswith("mini_pitch: behind the log-mel baseline")
    assert demo.behind_baseline(tasks, [], floor) == []
