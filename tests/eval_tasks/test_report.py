"""Reports from hand-made results, whose numbers are known."""

import json
import math
import pickle
import re
from dataclasses import replace
from html.parser import HTMLParser
from statistics import fmean, pstdev

import pandas as pd
import pytest
import torch

from eval_tasks.errors import UserError
from eval_tasks.files import write_json
from eval_tasks.report.html import plain_table, table
from eval_tasks.report.leaderboard import leaderboard
from eval_tasks.report.plots import MAX_BARS, bars, best_of_many
from eval_tasks.report.report import write_report
from eval_tasks.report.table import gather, markdown_table, score_text
from eval_tasks.report.titles import protocol_title
from eval_tasks.runs.results import ModelFolder, find_models
from eval_tasks.runs.scores import Score
from eval_tasks.tasks.registry import hear_tasks
from eval_tasks.tasks.task_folder import write_description

MODELS = {"eval_tasks.baselines.logmel": 0.25, "ours": 0.75}


def describe(folder, name, splits, vocabulary, evaluation, events=False, split_mode="trainvaltest"):
    task_name, version, mode = name.split("-")
    metadata = {
        "task_name": task_name,
        "version": version,
        "mode": mode,
        "embedding_type": "event" if events else "scene",
        "prediction_type": "multilabel" if events else "multiclass",
        "split_mode": split_mode,
        "sample_duration": 4.0,
        "evaluation": evaluation,
        "splits": list(splits),
    }
    return write_description(folder, metadata, splits, vocabulary)


def add_task(model, name, scores, answers=None, **description):
    """Finished embeddings and predictions of one task."""
    embeddings = model / "embeddings" / model.name / name
    predictions = model / "predictions/default" / name
    for folder in (embeddings, predictions):
        describe(folder, name, **description)
    (embeddings / ".done.embeddings").touch()
    write_json(embeddings / "profile.embeddings.json", {"time_elapsed": 12.0})
    write_json(predictions / "test.predicted-scores.json", scores)
    (predictions / "prediction-done.json").touch()
    if answers:
        (predictions / "test.predictions.pkl").write_bytes(pickle.dumps(answers))


@pytest.fixture
def models(tmp_path):
    """Two models on a pitch, an event, a fold task and one that has a published task's name."""
    for name, score in MODELS.items():
        folder = tmp_path / "out" / name
        info = {"module": name, "model": "", "model_sha256": "", "model_options": {"a<b": "&"}}
        info |= {"parameters": 4_700_000, "sample_rate": 16_000}
        write_json(folder / "model.json", {**info, "scene_embedding_size": 8, "timestamp_embedding_size": 8})
        notes = [str(21 + note) for note in range(24)]
        target = torch.eye(24)[[0, 12]]
        add_task(
            folder,
            "notes-v1-full",
            {"test": {"test_pitch_acc": score, "test_chroma_acc": 1.0}},
            {"target": target, "prediction": target.roll(12, 1)},
            splits={"train": {}, "valid": {}, "test": {"a.wav": ["21"], "b.wav": ["33"]}},
            vocabulary=notes,
            evaluation=["pitch_acc", "chroma_acc"],
        )
        scene = {"s.wav": [{"label": "knock", "start": 1000.0, "end": 2000.0}]}
        add_task(
            folder,
            "events-v1-full",
            {"test": {"test_event_onset_200ms_fms": float("nan"), "test_segment_1s_er": 1.5 - score}},
            {"target_events": scene, "predicted_events": scene},
            splits={"train": {}, "valid": {}, "test": scene},
            vocabulary=["cough", "knock"],
            evaluation=["event_onset_200ms_fms", "segment_1s_er"],
            events=True,
        )
        folds = {f"fold{number:02d}": {f"{number}.wav": ["x"]} for number in range(3)}
        tests = {fold: {"test_top1_acc": score + 0.1 * place} for place, fold in enumerate(folds)}
        common = {"vocabulary": list("wxyz"), "evaluation": ["top1_acc"], "split_mode": "presplit_kfold"}
        add_task(folder, "sounds-v1-5h", {**tests, "aggregated_scores": {}}, splits=folds, **common)
        add_task(folder, "beijing_opera-v1.0-full", tests, splits=folds, **common)
        for seed, value in enumerate((score, score + 0.1)):
            file = folder / f"probe/linear-standardize-on=valid/sounds-v1-5h/seed{seed}.json"
            write_json(file, {"scores": {"top1_acc": value}})
        (folder / "runs.jsonl").write_text('{"date": "2026-01-02 03:04:05"}\n')
    return find_models([tmp_path / "out"])


class Page(HTMLParser):
    """Tags that stay open, addresses, and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        self.text += data


def test_infinite_scores_of_some_folds():
    """d_prime is infinite in a fold whose classes are told apart perfectly, or perfectly wrong."""
    one = Score.of([math.inf, 1.0, 0.5])
    assert (one.mean, one.count) == (math.inf, 3) and score_text(one) == "inf"
    both = Score.of([math.inf, -math.inf])
    assert math.isnan(both.mean) and score_text(both) == "undefined"
    assert score_text(Score.of([1.0, 3.0])) == "2.000 ± 1.414"


def test_scores_are_those_of_the_files(models):
    table = gather(models).table.set_index(["protocol", "task", "metric", "model"])
    folds = table.loc["heareval, default grid", "sounds-v1-5h", "top1_acc", "ours"]
    assert (folds["mean"], folds["deviation"], folds["count"]) == pytest.approx((0.85, 0.1, 3))
    seeds = table.loc["probe, linear-standardize-on=valid", "sounds-v1-5h", "top1_acc", "logmel"]
    assert (seeds["mean"], seeds["count"]) == pytest.approx((0.3, 2))
    silent = table.loc["heareval, default grid", "events-v1-full", "event_onset_200ms_fms", "ours"]
    assert silent["mean"] == 0.0  # no prediction: heareval writes NaN


def test_markdown_marks_what_is_to_be_bold(models):
    scores = gather(models)
    protocol = "heareval, default grid"
    bold = {
        (protocol, "notes-v1-full", "pitch_acc"): "ours",
        (protocol, "events-v1-full", "segment_1s_er"): "ours",
    }
    lines = markdown_table(scores, protocol, bold).splitlines()
    assert lines[0].split(" | ")[2:] == ["logmel", "ours", "chance |"]
    notes = next(line for line in lines if "pitch accuracy" in line)
    assert notes == "| notes-v1-full | pitch accuracy | 0.250 | **0.750** | 0.042 |"
    error_rate = next(line for line in lines if "error rate" in line)
    assert "| 1.250 | **0.750** | 1.000 |" in error_rate
    assert "**" not in markdown_table(scores, protocol, {})


def test_a_model_without_scores_has_no_column(models):
    (models[0].path / "predictions/default").rename(models[0].path / "predictions/fast")
    scores = gather(models)
    for grid, model in (("fast", "logmel"), ("default", "ours")):
        protocol = f"heareval, {grid} grid"
        assert scores.models_of(protocol) == [model]
        head = markdown_table(scores, protocol, {}).splitlines()[0]
        assert head == f"| task | score | {model} | chance |"
        assert f"<th>{model}</th>" in table(scores, protocol, {})
        labels = bars(scores, protocol).axes[0].get_legend().texts
        assert labels[0].get_text() == model


def test_page_is_whole_and_needs_nothing_beside_it(models, tmp_path):
    page = write_report(models, tmp_path / "report", title="Two <models>")
    parsed = Page(page.read_text())
    assert parsed.open == []
    assert all(address.startswith(("#", "data:")) for address in parsed.addresses)
    assert "Two <models>" in parsed.text and '{"a<b": "&"}' in parsed.text
    assert "right 0.0%, octave off 100.0%" in parsed.text  # every answer was an octave off
    assert page.read_text().count("<svg") == 1 + 1 + 2  # bars, bars, pitch and scene
    assert "2 models on 4 tasks, run 2026-01-02." in parsed.text and "4,700,000" in parsed.text
    headings = re.findall("<h2>(.*?)</h2>", page.read_text())
    assert headings == [
        "HEAR harness, default grid",
        "Linear probe: standardised embeddings, scored on the validation split",
        "Differences",
        "One scene: events (v1, full)",
        "Pitches: notes (v1, full)",
        "Models",
    ]
    csv = pd.read_csv(tmp_path / "report/scores.csv")
    assert len(csv) == len(gather(models).table)
    for line in (tmp_path / "report/report.md").read_text().splitlines():
        if line.startswith("!["):
            assert (tmp_path / "report" / line.split("(")[-1].rstrip(")")).stat().st_size > 1000


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("heareval, faster grid", "HEAR harness, faster grid"),
        ("heareval, faster-4points grid", "HEAR harness, faster grid, 4 points"),
        ("probe, linear", "Linear probe: scored on the test split"),
        (
            "probe, linear-learning_rate=1e-05-select=best-on=valid",
            "Linear probe: learning rate 1e-05, epoch of the best validation score, "
            "scored on the validation split",
        ),
        (
            "probe, linear-epochs=5-on=unseen",
            "Linear probe: 5 epochs, scored on what the choice of options has not seen",
        ),
    ],
)
def test_protocols_in_words(protocol, expected):
    assert protocol_title(protocol) == expected


def test_wide_tables_say_that_they_scroll():
    narrow, wide = (plain_table(["x"] * columns, []) for columns in (8, 9))
    assert "scroll it sideways" in wide and "scroll it sideways" not in narrow
    assert 'role="region" tabindex="0"' in narrow


def test_of_many_models_the_best_are_drawn():
    models = [f"m{number}" for number in range(30)]
    rows = {("t", "top1_acc"): {model: Score(number / 30) for number, model in enumerate(models)}}
    assert best_of_many(models, rows) == models[-MAX_BARS:]
    low = {("t", "segment_1s_er"): rows["t", "top1_acc"]}
    assert best_of_many(models, low) == models[:MAX_BARS]


def test_compare_names_two_models(models, tmp_path):
    with pytest.raises(UserError, match="expected two of logmel, ours"):
        write_report(models, tmp_path / "report", compare=["ours", "theirs"])
    page = write_report(models, tmp_path / "report", compare=["logmel", "ours"]).read_text()
    assert "<td>logmel</td><td>ours</td><td>-0.500</td>" in page


def test_rank_on_the_leaderboard(models, tmp_path, monkeypatch):
    folder = "beijing_opera-v1.0-full"
    tasks = [
        replace(entry, folders=(folder,)) if entry.leaderboard == "Beijing Opera" else entry
        for entry in hear_tasks()
    ]
    opera = next(entry for entry in tasks if entry.folders == (folder,))
    monkeypatch.setattr("eval_tasks.report.standing.hear_tasks", lambda: tasks)
    monkeypatch.setattr("eval_tasks.report.standing.published_task", lambda task: opera)
    page = write_report(models[1:], tmp_path / "report").read_text()
    known = leaderboard().loc["Beijing Opera"].tolist()
    score = max(-1, (0.85 - fmean(known)) / pstdev(known))
    rank = 1 + sum(max(-1, (value - fmean(known)) / pstdev(known)) > score for value in known)
    assert f"<td>ours</td><td>1: Beijing Opera</td><td>{score:+.3f}</td><td>{rank} of 35</td>" in page
    assert f"ours: normalised score {score:+.3f} over 1 of the 19 published tasks, rank {rank} of 35" in page


def test_a_published_name_alone_gets_no_numbers_of_the_leaderboard(models):
    assert gather(models).reference_names == ["chance"]


def test_reference_numbers_of_a_published_task(models, monkeypatch):
    entry = next(entry for entry in hear_tasks() if entry.leaderboard == "Beijing Opera")
    monkeypatch.setattr(
        "eval_tasks.report.table.published_task",
        lambda task: entry if task.task_name == "beijing_opera" else None,
    )
    scores = gather(models)
    lines = markdown_table(scores, "heareval, default grid", {}).splitlines()
    assert "leaderboard best" in lines[0] and "CREPE" in lines[0]
    opera = next(line for line in lines if line.startswith("| beijing_opera"))
    assert f"{leaderboard().loc['Beijing Opera'].max():.3f}" in opera
    assert next(line for line in lines if line.startswith("| sounds")).count("0.975") == 0
    assert "leaderboard" not in markdown_table(
        scores, "probe, linear-standardize-on=valid", {}
    )  # which heareval did not make


def test_folders_without_results(tmp_path):
    with pytest.raises(UserError, match="no results here"):
        find_models([tmp_path])
    write_json(tmp_path / "empty/model.json", {"module": "m"})
    with pytest.raises(UserError, match="no finished predictions"):
        write_report([ModelFolder(tmp_path / "empty")], tmp_path / "report")
    assert json.loads((tmp_path / "empty/model.json").read_text()) == {"module": "m"}
