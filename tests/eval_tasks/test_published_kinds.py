"""A task of each published kind, with its published list of scores and classes perfectly told apart.

Each goes from `run` (heareval's own predictions runner) over `probe` and `report` to `submit`.
"""

import csv
import json
import math
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_embeddings import embeddings_folder

from eval_tasks.errors import UserError
from eval_tasks.files import write_json
from eval_tasks.probe.linear import Protocol
from eval_tasks.probe.probe import probe_models
from eval_tasks.report import entry as entry_texts
from eval_tasks.report import leaderboard, standing, submit, validator
from eval_tasks.report.entry import Entry
from eval_tasks.report.report import write_report
from eval_tasks.runs import harness
from eval_tasks.runs.results import ModelFolder
from eval_tasks.runs.run_task import TaskJob, run_task
from eval_tasks.runs.scores import Score, heareval_scores
from eval_tasks.tasks.registry import hear_tasks

FOUR = ["top1_acc", "mAP", "d_prime", "aucroc"]
MAP_FIRST = ["mAP", "d_prime", "aucroc", "top1_acc"]
# Folder of a published task of each kind: its scores as hear-preprocess 2021.1.1 lists them.
SCENES = {
    "speech_commands-v0.0.2-5h": ["top1_acc"],
    "nsynth_pitch-v2.2.3-5h": ["pitch_acc", "chroma_acc"],
    "beehive_states_fold0-v2-full": ["aucroc", "mAP", "d_prime", "top1_acc"],
    "esc50-v2.0.0-full": FOUR,
    "fsd50k-v1.0-full": MAP_FIRST,
    "vocal_imitation-v1.1.3-full": MAP_FIRST,
}
EVENTS = {
    "dcase2016_task2-hear2021-full": ["event_onset_200ms_fms", "segment_1s_er"],
    "maestro-v3.0.0-5h": ["event_onset_50ms_fms", "event_onset_offset_50ms_20perc_fms"],
}
FOLDS = ("esc50", "vocal_imitation", "maestro")
TRAIN, VALID, TEST = "train", "valid", "test"
EPOCHS = {"task_specific_param_grid": {"max_epochs": [12], "check_val_every_n_epoch": [3], "lr": [1e-2]}}


def split_names(name):
    return [f"fold{fold:02d}" for fold in range(3)] if name.startswith(FOLDS) else [TRAIN, VALID, TEST]


def scenes(name, seed):
    """Forty clips of four classes, one-hot and a little noise."""
    classes = np.arange(40) % 4
    values = 4 * np.eye(4)[classes] + 0.1 * np.random.default_rng(seed).standard_normal((40, 4))
    labels = [[str(60 + label)] for label in classes]
    if name.startswith("fsd50k"):  # clips with two labels, too
        values += 4 * np.eye(4)[(classes + 1) % 4] * (np.arange(40) < 20)[:, None]
        labels = [row + [str(60 + (label + 1) % 4)] * (place < 20) for place, (row, label) in
                  enumerate(zip(labels, classes, strict=True))]  # fmt: skip
    return values, labels


def events(split):
    """Two files of 10 s, in each two events of each of two labels; a frame each 50 ms."""
    times_ms = np.arange(0, 10_000, 50.0)
    values, labels, located, truth = [], [], [], {}
    for number in range(2):
        name = f"{split}{number}.wav"
        truth[name] = [
            {"label": str(60 + place % 2), "start": 500.0 + 2400 * place, "end": 1500.0 + 2400 * place}
            for place in range(4)
        ]
        for time_ms in times_ms:
            active = [e["label"] for e in truth[name] if e["start"] <= time_ms <= e["end"]]
            values.append([4.0 * (str(60 + column) in active) for column in range(2)])
            labels.append(active)
            located.append((name, time_ms))
    return np.array(values), labels, located, truth


def add_embeddings(model, name, evaluation):
    task_name, rest = name.split("-", 1)
    version, mode = rest.rsplit("-", 1)
    more = {"task_name": task_name, "version": version, "mode": mode, "evaluation_params": EPOCHS}
    more["prediction_type"] = "multilabel" if name in EVENTS or "fsd50k" in name else "multiclass"
    names = split_names(name)
    if name.startswith(FOLDS):
        more |= {"split_mode": "new_split_kfold", "nfolds": 3}
    parts = {s: events(s) if name in EVENTS else scenes(name, seed) for seed, s in enumerate(names)}
    vocabulary = ["60", "61"] if name in EVENTS else ["60", "61", "62", "63"]
    folder = model / "embeddings/module" / name
    embeddings_folder(folder, parts, vocabulary, evaluation, **more)
    write_json(folder / "profile.embeddings.json", {"time_elapsed": 1.0})


def run_here(command, env, log, lock_fd=-1):
    """heareval's predictions runner in this process, which has imported it once for all tasks."""
    from heareval.predictions.runner import runner

    runner.main(command[3:], standalone_mode=False)
    return 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A model with all eight tasks, embeddings made up, predictions by heareval: results by task."""
    model = tmp_path_factory.mktemp("out") / "ours"
    info = {"module": "a_module", "model": "", "model_options": {}, "model_sha256": "", "module_sha256": "1"}
    write_json(model / "model.json", info)
    results = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness, "run_process", run_here)
        for key, value in harness.environment().items():
            patch.setenv(key, value)
        for name, evaluation in (SCENES | EVENTS).items():
            add_embeddings(model, name, evaluation)
            job = TaskJob(model / name, model, "a_module", "", {}, "faster", None, "keep", 1, None)
            results[name] = run_task(replace(job, grid_points=1))
    return ModelFolder(model), results


def test_run_reads_every_published_score(finished):
    _, results = finished
    assert {name: result.error for name, result in results.items() if result.status != "done"} == {}
    for name, evaluation in (SCENES | EVENTS).items():
        assert list(results[name].scores) == evaluation
        for metric in {"d_prime"} & set(evaluation):
            assert results[name].scores[metric].mean == math.inf
        for metric in {"aucroc", "mAP"} & set(evaluation):
            assert results[name].scores[metric].mean == 1.0
        assert all(
            score.count == (3 if name.startswith(FOLDS) else 1) for score in results[name].scores.values()
        )


def test_probe_and_report_show_them(finished, tmp_path):
    model, _ = finished
    protocol = Protocol(epochs=10, batch_size=400, learning_rate=0.5, dropout=0.0)
    for _, task, scores, problem in probe_models([model], protocol, seeds=1):
        assert not problem and list(scores) == (SCENES | EVENTS)[task]
        assert scores.get("d_prime", Score(math.inf)).mean == math.inf
    page = write_report([model], tmp_path / "report")
    table = pd.read_csv(tmp_path / "report/scores.csv")
    assert len(table) == 2 * sum(map(len, (SCENES | EVENTS).values()))
    assert np.isinf(table["mean"][table["metric"] == "d_prime"]).all()
    assert "<td>inf</td>" in page.read_text() and "| inf |" in (tmp_path / "report/report.md").read_text()


@pytest.fixture
def entries(finished, monkeypatch):
    """The benchmark, cut down to these eight tasks and to their sizes."""
    clips = {name: 120 if name in SCENES else 6 for name in SCENES | EVENTS}
    cut = tuple(
        replace(entry, folders=(folder,), clips=clips[folder])
        for entry in hear_tasks()
        for folder in entry.folders
        if folder in clips
    )
    columns = leaderboard.leaderboard().loc[[entry.leaderboard for entry in cut]]
    for module in (standing, leaderboard):
        monkeypatch.setattr(module, "hear_tasks", lambda: cut)
    for module in (standing, entry_texts):
        monkeypatch.setattr(module, "leaderboard", lambda: columns)
    monkeypatch.setattr(submit, "ask", lambda *args: finished[0].info)
    good = subprocess.CompletedProcess([], 0, stdout="Looks good!\n")
    monkeypatch.setattr(validator.subprocess, "run", lambda *args, **kwargs: good)
    return cut


def test_submit_takes_the_main_scores(finished, entries, tmp_path):
    model, results = finished
    out = submit.submit(model, tmp_path / "entry", Entry("Ours"), "faster-1points")
    header, row = csv.reader((out / "row.csv").open())
    for entry in entries:
        score = results[entry.folders[0]].scores[entry.score].mean
        assert float(row[header.index(entry.leaderboard)]) == pytest.approx(score)


def test_submit_refuses_a_main_score_that_is_undefined_in_a_fold(finished, entries, tmp_path, monkeypatch):
    broken = Score.of([0.5, math.nan, 0.7])
    monkeypatch.setattr(standing, "heareval_scores", lambda folder: {e.score: broken for e in entries})
    with pytest.raises(UserError, match=r"top1_acc of esc50\S+ is 0\.600 ± 0\.141 \(1 of 3 undefined\)"):
        submit.submit(finished[0], tmp_path / "entry", Entry("Ours"), "faster-1points")


def test_scores_over_folds_by_hand():
    assert Score.of([1.0, 2.0, 3.0]) == Score(2.0, 1.0, 3)
    infinite = Score.of([1.0, math.inf])
    assert infinite.mean == math.inf and str(infinite) == "inf"
    assert str(Score.of([math.nan, math.nan])) == "undefined"
    assert str(Score.of([math.inf, -math.inf])) == "undefined"


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"test": {"test_aucroc": math.nan}}, "undefined"),  # a class that no test clip has
        ({"test": {}}, "undefined"),
        ({"test": {"test_aucroc": "0.9"}}, "expected a number"),
        ({"test": 3}, "expected heareval's scores"),
        ({"aggregated_scores": {}}, "expected scores of the test split"),
    ],
)
def test_missing_and_odd_scores_are_told(tmp_path, scores, expected):
    write_json(tmp_path / "task_metadata.json", {"splits": [TRAIN, VALID, TEST], "evaluation": ["aucroc"]})
    (tmp_path / "test.predicted-scores.json").write_text(json.dumps(scores))
    if expected == "undefined":
        assert str(heareval_scores(tmp_path)["aucroc"]) == expected
    else:
        with pytest.raises(UserError, match=expected):
            heareval_scores(tmp_path)
