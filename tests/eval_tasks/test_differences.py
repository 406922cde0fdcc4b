"""The paired bootstrap: resampled scores against heareval's own functions, intervals, and what is in bold."""

import pickle

import numpy as np
import pytest
import torch

from eval_tasks.errors import UserError
from eval_tasks.files import write_json
from eval_tasks.report.differences import Difference, clearly_best, differences, interval
from eval_tasks.report.resampled import answers_of
from eval_tasks.report.table import gather, ranked
from eval_tasks.runs.results import find_models
from eval_tasks.runs.scores import Score
from eval_tasks.tasks.task_folder import write_description

LABELS = [str(note) for note in range(26)]
EVENTS = ["cough", "knock"]


def clip_answers(clips=60, right=0.6, seed=0, classes=26, multilabel=False):
    random = np.random.default_rng(seed)
    target = (
        np.random.default_rng(9).random((clips, classes)) < 0.3
        if multilabel
        else np.eye(classes)[np.random.default_rng(9).integers(classes, size=clips)]
    )
    prediction = (np.round(random.random((clips, classes)), 1) + right * target).astype(np.float32)  # ties
    return {"target": torch.tensor(target).float(), "prediction": torch.tensor(prediction)}


def event_answers(files=8, off_ms=0.0, seed=0, more=0):
    random, truth, heard = np.random.default_rng(seed), {}, {}
    for file in range(files):
        starts = np.sort(np.random.default_rng(file).choice(np.arange(0, 20_000, 1000), 5, replace=False))
        truth[f"{file}.wav"] = [
            {"label": EVENTS[int(start) // 1000 % 2], "start": float(start), "end": float(start) + 500}
            for start in starts
        ]
        moved = [start + off_ms * (random.random() < 0.5) for start in starts]
        heard[f"{file}.wav"] = [
            {**event, "start": start, "end": start + 500.0}
            for event, start in zip(truth[f"{file}.wav"], moved, strict=True)
        ]
        heard[f"{file}.wav"] += [
            {"label": "cough", "start": 30_000.0 + 2000 * n, "end": 30_500.0 + 2000 * n} for n in range(more)
        ]
    return {"target_events": truth, "predicted_events": heard}


def add_answers(folder, answers, metric, vocabulary, score=0.5, name="t-v1-full"):
    """A model's finished predictions of a task of one or several test splits."""
    model = folder.name
    write_json(folder / "model.json", {"module": model})
    folds = len(answers) > 1
    names = [f"fold{number:02d}" for number in range(len(answers))] if folds else ["train", "valid", "test"]
    events = "target_events" in answers[0]
    metadata = {
        "task_name": "t",
        "version": "v1",
        "mode": "full",
        "embedding_type": "event" if events else "scene",
        "prediction_type": "multilabel" if events or metric in ("mAP", "aucroc") else "multiclass",
        "split_mode": "presplit_kfold" if folds else "trainvaltest",
        "sample_duration": 1.0,
        "evaluation": [metric],
        "splits": names,
    }
    splits = {split: {} for split in names}
    for split, part in zip(names if folds else ["test"], answers, strict=True):
        clips = len(part["target"]) if not events else 0
        splits[split] = part["target_events"] if events else {f"{split}{n}.wav": ["0"] for n in range(clips)}
    embeddings = folder / "embeddings" / model / name
    predictions = folder / "predictions/default" / name
    for place in (embeddings, predictions):
        write_description(place, metadata, splits, vocabulary)
    (embeddings / ".done.embeddings").touch()
    for split, part in zip(names if folds else ["test"], answers, strict=True):
        (predictions / f"{split}.predictions.pkl").write_bytes(pickle.dumps(part))
    tests = {split: {f"test_{metric}": score} for split in (names if folds else ["test"])}
    write_json(predictions / "test.predicted-scores.json", tests)
    (predictions / "prediction-done.json").touch()
    return predictions


@pytest.mark.parametrize("metric", ["top1_acc", "pitch_acc", "chroma_acc", "mAP", "aucroc"])
def test_resampled_scores_are_heareval_s_of_the_drawn_clips(tmp_path, metric):
    from heareval.score import available_scores

    answers = clip_answers(multilabel=metric in ("mAP", "aucroc"))
    answers["prediction"][:20] = answers["prediction"][:20].roll(12, 1)  # some are an octave off
    file = tmp_path / "test.predictions.pkl"
    file.write_bytes(pickle.dumps(answers))
    weights = np.random.default_rng(1).multinomial(60, np.full(60, 1 / 60), 5).astype(float)
    found = answers_of(file, metric, LABELS).scores(weights)
    score = available_scores[metric](label_to_idx={label: n for n, label in enumerate(LABELS)})
    for row, value in zip(weights.astype(int), found, strict=True):
        drawn = np.repeat(np.arange(60), row)
        expected = score(answers["prediction"].numpy()[drawn], answers["target"].numpy()[drawn])
        assert value == pytest.approx(float(expected), abs=1e-9)


@pytest.mark.parametrize("metric", ["event_onset_200ms_fms", "segment_1s_er"])
def test_resampled_events_are_heareval_s_of_the_drawn_files(tmp_path, metric):
    from heareval.score import available_scores

    answers = event_answers(off_ms=700.0, more=1)
    for events in answers["predicted_events"].values():
        events[0] = {**events[0], "label": "cough" if events[0]["label"] == "knock" else "knock"}
    file = tmp_path / "test.predictions.pkl"
    file.write_bytes(pickle.dumps(answers))
    weights = np.random.default_rng(1).multinomial(8, np.full(8, 1 / 8), 3).astype(float)
    found = answers_of(file, metric, EVENTS).scores(weights)
    score = available_scores[metric](label_to_idx={label: n for n, label in enumerate(EVENTS)})
    for row, value in zip(weights.astype(int), found, strict=True):
        drawn = [(f"{n}.wav", f"{copy}-{n}.wav") for n, times in enumerate(row) for copy in range(times)]
        copies = [
            {new: answers[key][old] for old, new in drawn} for key in ("predicted_events", "target_events")
        ]
        ((_, expected), *_) = score(*copies)
        assert value == pytest.approx(expected, abs=1e-9)


def test_the_interval_is_that_of_a_slow_loop(tmp_path):
    """Over two folds, clips drawn within each one."""
    models = [
        [clip_answers(20, right, seed + fold) for fold in (0, 1)] for right, seed in ((0.7, 1), (0.3, 5))
    ]
    folders = [
        add_answers(tmp_path / name, answers, "top1_acc", LABELS)
        for name, answers in zip("ab", models, strict=True)
    ]
    low, high = interval(*folders, "top1_acc", LABELS)
    right = [
        [(part["target"].argmax(1) == part["prediction"].argmax(1)).numpy() for part in m] for m in models
    ]
    random, slow = np.random.default_rng(123), []
    for _ in range(4000):
        drawn = [random.integers(20, size=20) for _ in range(2)]
        means = [np.mean([part[d].mean() for part, d in zip(m, drawn, strict=True)]) for m in right]
        slow.append(means[0] - means[1])
    assert (low, high) == pytest.approx(tuple(np.percentile(slow, [2.5, 97.5])), abs=0.03)
    assert high - low > 0.1


def two_models(tmp_path, answers, metric, vocabulary, scores):
    for name, answer, score in zip(("first", "second"), answers, scores, strict=True):
        add_answers(tmp_path / "out" / name, [answer], metric, vocabulary, score)
    return gather(find_models([tmp_path / "out"]))


def bold(scores):
    return list(clearly_best(scores, differences(scores)).values())


def test_only_a_clear_difference_is_bold(tmp_path):
    good, other = clip_answers(right=0.8), clip_answers(right=0.1, seed=2)
    scores = two_models(tmp_path, (other, good), "top1_acc", LABELS, (0.2, 0.8))
    ((_, found),) = differences(scores).items()
    assert (found.first, found.second) == ("second", "first") and found.low > 0
    assert found.value == pytest.approx(0.6) and bold(scores) == ["second"]
    turned = differences(scores, ("first", "second"))["heareval, default grid", "t-v1-full", "top1_acc"]
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_a_small_difference_and_a_tie_are_not_bold(tmp_path):
    close = clip_answers(right=0.4), clip_answers(right=0.42, seed=3)
    assert bold(two_models(tmp_path / "close", close, "top1_acc", LABELS, (0.5, 0.51))) == []
    same = clip_answers(), clip_answers()
    assert bold(two_models(tmp_path / "tie", same, "top1_acc", LABELS, (0.0, 0.0))) == []


def test_an_error_rate_worse_than_chance_is_not_bold(tmp_path):
    answers = event_answers(more=3), event_answers(more=9)
    assert bold(two_models(tmp_path / "good", answers, "segment_1s_er", EVENTS, (0.6, 1.8))) == ["first"]
    assert bold(two_models(tmp_path / "bad", answers, "segment_1s_er", EVENTS, (1.6, 2.8))) == []


def test_other_clips_have_no_interval(tmp_path):
    few = clip_answers(clips=30)
    scores = two_models(tmp_path / "few", (clip_answers(), few), "top1_acc", LABELS, (0.5, 0.4))
    (found,) = differences(scores).values()
    assert found.why_none == "the test clips are not the same" and not found.clear and bold(scores) == []
    moved = {**clip_answers(), "target": clip_answers()["target"].roll(1, 0)}
    scores = two_models(tmp_path / "moved", (clip_answers(), moved), "top1_acc", LABELS, (0.5, 0.4))
    assert [d.why_none for d in differences(scores).values()] == ["the test clips are not the same"]
    folder = add_answers(tmp_path / "x", [clip_answers()], "d_prime", LABELS)
    with pytest.raises(UserError, match="no interval for this score"):
        interval(folder, folder, "d_prime", LABELS)
    (folder / "test.predictions.pkl").unlink()
    with pytest.raises(UserError, match="no answers of single clips"):
        interval(folder, folder, "top1_acc", LABELS)


def test_ranked_and_clear():
    scores = {"a": Score(0.3), "b": Score(float("nan")), "c": Score(0.5)}
    assert ranked("top1_acc", scores) == ["c", "a"] and ranked("segment_1s_er", scores) == ["a", "c"]
    assert Difference("a", "b", 1.0, 0.1, 2.0).clear and Difference("a", "b", -1.0, -2.0, -0.1).clear
    assert not Difference("a", "b", 1.0, -0.1, 2.0).clear and not Difference("a", "b", 1.0).clear
