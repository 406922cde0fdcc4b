"""The linear probe against slow references, scikit-learn and cases with known answers."""

import argparse
import inspect
import json
import pickle
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from made_embeddings import clouds, embeddings_folder, identity
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from eval_tasks.errors import UserError
from eval_tasks.files import write_json
from eval_tasks.probe.linear import Protocol, Scorer, data_splits, load_splits, probe_split, train_layer
from eval_tasks.probe.probe import add_arguments, probe_models, probe_task
from eval_tasks.runs.pickles import read_labels, unpickle
from eval_tasks.runs.results import ModelFolder
from eval_tasks.tasks.task_folder import TaskFolder

QUICK = Protocol(epochs=60, learning_rate=1e-2)


def test_the_command_line_has_the_defaults_of_the_call():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = vars(parser.parse_args(["--out", "o"]))
    call = inspect.signature(probe_models).parameters
    assert {name: options[name] for name in asdict(Protocol())} == asdict(Protocol())
    assert (options["seeds"], options["jobs"]) == (call["seeds"].default, call["jobs"].default)


def scene_task(folder, spread=0.1):
    splits = {split: clouds(count, spread, seed) for seed, (split, count) in
              enumerate((("train", 600), ("valid", 200), ("test", 400)))}  # fmt: skip
    return embeddings_folder(folder, splits, ["c0", "c1", "c2"], ["top1_acc"])


@pytest.fixture
def model(tmp_path):
    """A model folder with one finished task of well separated classes."""
    write_json(tmp_path / "tiny/model.json", {"module": "tiny"})
    scene_task(tmp_path / "tiny/embeddings/tiny/task-v1-full")
    return ModelFolder(tmp_path / "tiny")


def test_training_equals_a_slow_loop(tmp_path):
    """Softmax regression by Adam, one full batch an epoch and no dropout, written out in NumPy."""
    data = load_splits(scene_task(tmp_path / "task", spread=1.0), ["train"])
    protocol = Protocol(epochs=5, batch_size=600, learning_rate=0.01, dropout=0.0)
    torch.manual_seed(3)
    start = torch.nn.Linear(8, 3)
    trained = train_layer(data, multilabel=False, protocol=protocol, seed=3)

    x = np.hstack([data.embeddings.numpy(), np.ones((600, 1))]).astype(np.float64)
    y = data.targets.numpy()
    weight = np.hstack([start.weight.detach().numpy(), start.bias.detach().numpy()[:, None]]).astype(
        np.float64
    )
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for step in range(1, 6):
        exponent = np.exp(x @ weight.T)
        gradient = (exponent / exponent.sum(1, keepdims=True) - y).T @ x / len(x)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        weight -= 0.01 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    np.testing.assert_allclose(trained.weight.detach(), weight[:, :-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(trained.bias.detach(), weight[:, -1], rtol=1e-4, atol=1e-5)


def test_dropout_is_on_the_embeddings_in_training_alone(tmp_path):
    """The same with torch's own layers and Adam, batch by batch in the order that the seed gives."""
    data = load_splits(scene_task(tmp_path / "task", spread=1.0), ["train"])
    protocol = Protocol(epochs=2, batch_size=100, learning_rate=0.01, dropout=0.5)
    trained = train_layer(data, multilabel=False, protocol=protocol, seed=3)
    torch.manual_seed(3)
    layer = torch.nn.Linear(8, 3)
    network = torch.nn.Sequential(torch.nn.Dropout(0.5), layer)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(2):
        order = torch.randperm(600)
        for first in range(0, 600, 100):
            rows = order[first : first + 100]
            optimizer.zero_grad()
            logits = network(data.embeddings[rows])
            torch.nn.CrossEntropyLoss()(logits, data.targets[rows].argmax(1)).backward()
            optimizer.step()
    torch.testing.assert_close(trained.weight, layer.weight)


@pytest.mark.parametrize("standardize", [False, True])
def test_a_probe_learns_and_standardizes_on_the_training_split_alone(tmp_path, standardize):
    """Validation has other labels, and the test split another scale: the score is that of a way by hand."""
    splits = {name: clouds(300, 1.5, seed) for seed, name in enumerate(("train", "valid", "test"))}
    splits["train"] = (splits["train"][0] * 3 - 1, splits["train"][1])
    splits["valid"] = (splits["valid"][0], [["c0"]] * 300)
    splits["test"] = (splits["test"][0] * 2 + 0.5, splits["test"][1])
    task = embeddings_folder(tmp_path / "task", splits, ["c0", "c1", "c2"], ["top1_acc"])
    protocol = Protocol(epochs=3, batch_size=100, learning_rate=0.01, standardize=standardize)
    found = probe_split(task, (["train"], ["valid"], ["test"]), protocol, 0)

    train, test = load_splits(task, ["train"]), load_splits(task, ["test"])
    x, unseen = train.embeddings.double().numpy(), test.embeddings.double().numpy()
    if standardize:
        mean, deviation = x.mean(0), x.std(0, ddof=1)
        x, unseen = (x - mean) / deviation, (unseen - mean) / deviation
    layer = train_layer(replace(train, embeddings=torch.from_numpy(x).float()), False, protocol, 0)
    answers = layer(torch.from_numpy(unseen).float()).argmax(1)
    accuracy = (answers == test.targets.argmax(1)).double().mean()
    assert found["scores"]["top1_acc"] == pytest.approx(float(accuracy), abs=1e-6)


def test_several_labels_of_a_clip_are_scored_one_by_one(tmp_path):
    """mAP as scikit-learn has it, of a sigmoid for each class: what the other classes say does not count."""
    logits = np.random.default_rng(0).normal(0, 3, (60, 3))
    labels = [
        [f"c{n}" for n in range(3) if row[n] + noise > 0]
        for row, noise in zip(logits, logits[:, 0], strict=True)
    ]
    splits = dict.fromkeys(("train", "valid", "test"), (logits, labels))
    task = embeddings_folder(
        tmp_path / "task", splits, ["c0", "c1", "c2"], ["mAP"], prediction_type="multilabel"
    )
    data = load_splits(task, ["test"])
    sigmoid = 1 / (1 + np.exp(-logits))
    expected = average_precision_score(data.targets.numpy(), sigmoid, average="macro")
    assert Scorer(task)(identity(3), data)["mAP"] == pytest.approx(expected)


def test_accuracy_is_near_that_of_logistic_regression(tmp_path):
    task = scene_task(tmp_path / "task", spread=1.2)
    problem = probe_task(task.path, tmp_path / "probe", QUICK, seeds=1)
    own = json.loads((tmp_path / "probe/seed0.json").read_text())["scores"]["top1_acc"]
    training, test = load_splits(task, ["train"]), load_splits(task, ["test"])
    reference = LogisticRegression().fit(training.embeddings, training.targets.argmax(1))
    expected = reference.score(test.embeddings, test.targets.argmax(1))
    assert not problem and 0.5 < expected < 0.95
    assert own == pytest.approx(expected, abs=0.03)


def test_seeds_are_kept_and_only_missing_ones_are_made(model):
    protocol = Protocol(epochs=2)
    [(name, task, scores, problem)] = probe_models([model], protocol, seeds=2)
    files = model.probes()[protocol.name][task]
    times = [file.stat().st_mtime_ns for file in files]
    assert (name, task, problem, len(files)) == ("tiny", "task-v1-full", "", 2)
    values = [json.loads(file.read_text())["scores"]["top1_acc"] for file in files]
    assert scores["top1_acc"].mean == pytest.approx(np.mean(values))
    assert scores["top1_acc"].deviation == pytest.approx(np.std(values, ddof=1))
    probe_models([model], protocol, seeds=3)
    files = model.probes()[protocol.name][task]
    assert len(files) == 3 and [file.stat().st_mtime_ns for file in files[:2]] == times


def test_a_seed_decides_the_result(tmp_path):
    data = load_splits(scene_task(tmp_path / "task", spread=1.0), ["train"])
    first, again, other = (train_layer(data, False, Protocol(epochs=1), seed).weight for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_standardized_scores_do_not_depend_on_scale_and_offset(tmp_path):
    splits = {split: clouds(300, 1.0, seed) for seed, split in enumerate(("train", "valid", "test"))}
    scaled = {split: (1e-3 * values - 7, labels) for split, (values, labels) in splits.items()}
    protocol = Protocol(epochs=20, learning_rate=1e-2, standardize=True)
    scores = []
    for name, content in (("plain", splits), ("scaled", scaled)):
        embeddings_folder(tmp_path / name, content, ["c0", "c1", "c2"], ["top1_acc"])
        assert not probe_task(tmp_path / name, tmp_path / f"probe-{name}", protocol, seeds=1)
        scores.append(json.loads((tmp_path / f"probe-{name}/seed0.json").read_text())["scores"]["top1_acc"])
    assert scores[0] == pytest.approx(scores[1], abs=0.01) and scores[0] > 0.7


def test_best_epoch_is_the_one_with_the_best_validation_score(tmp_path):
    data = load_splits(scene_task(tmp_path / "task"), ["train"])
    seen = []

    def validate(layer):
        seen.append(layer.weight.detach().clone())
        return {1: 0.9}.get(len(seen) - 1, 0.1)

    best = train_layer(data, False, Protocol(epochs=35, select="best"), 0, validate)
    assert len(seen) == 4  # epochs 10, 20, 30 and the last
    assert torch.equal(best.weight, seen[1]) and not torch.equal(best.weight, seen[3])


def test_folds_are_divided_as_heareval_divides_them(tmp_path):
    from heareval.predictions.task_predictions import get_splits_from_metadata

    splits = {f"fold{number:02d}": clouds(20, 0.1, number) for number in (2, 0, 1, 3)}
    task = embeddings_folder(tmp_path / "task", splits, ["c0", "c1", "c2"], ["top1_acc"], "presplit_kfold")
    expected = get_splits_from_metadata(dict(task.metadata))
    for own, theirs in zip(data_splits(task), expected, strict=True):
        assert [sorted(part) for part in own] == [sorted(theirs[key]) for key in ("train", "valid", "test")]
    assert not probe_task(task.path, tmp_path / "probe", Protocol(epochs=1), seeds=1)
    content = json.loads((tmp_path / "probe/seed0.json").read_text())
    assert [part["test"] for part in content["parts"]] == [["fold00"], ["fold01"], ["fold02"], ["fold03"]]
    accuracies = [part["scores"]["top1_acc"] for part in content["parts"]]
    assert content["scores"]["top1_acc"] == pytest.approx(np.mean(accuracies))


def test_chroma_forgives_octaves(tmp_path):
    notes = [str(note) for note in range(21, 46)]
    values = np.eye(25)[[0, 12, 5]]
    splits = {split: (values, [["21"], ["21"], ["21"]]) for split in ("train", "valid", "test")}
    task = embeddings_folder(tmp_path / "task", splits, notes, ["pitch_acc", "chroma_acc"])
    scores = Scorer(task)(identity(25), load_splits(task, ["test"]))
    assert scores == {"pitch_acc": pytest.approx(1 / 3), "chroma_acc": pytest.approx(2 / 3)}


def test_bad_embeddings_are_named(tmp_path):
    task = scene_task(tmp_path / "task")
    values = np.fromfile(task.path / "train.embeddings.npy", dtype=np.float32)
    values[7] = np.nan
    values.tofile(task.path / "train.embeddings.npy")
    assert "train.embeddings.npy holds values that are not finite" in probe_task(
        task.path, tmp_path / "probe", QUICK, seeds=1
    )
    with pytest.raises(UserError, match="not in the vocabulary"):
        (task.path / "valid.target-labels.pkl").write_bytes(pickle.dumps([["c9"]] * 200))
        load_splits(TaskFolder.open(task.path), ["valid"])


def test_nothing_to_probe(tmp_path, model):
    with pytest.raises(UserError, match="no finished embeddings"):
        probe_models([model], tasks=["other"])


def test_pickles_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    (tmp_path / "labels.pkl").write_bytes(pickle.dumps([Evil()]))
    for read in (unpickle, read_labels):
        with pytest.raises(UserError, match=r"labels\.pkl was not read.*builtins\.print"):
            read(tmp_path / "labels.pkl")


def test_the_default_protocol_is_the_papers():
    """Section 3.2: 250 epochs, batches of 1024, Adam at 1e-4, dropout 0.1."""
    assert Protocol() == Protocol(250, 1024, 1e-4, 0.1, False, "last", "test")


def test_the_main_score_is_higher_where_it_is_better(tmp_path):
    for metric, sign in (("segment_1s_er", -1), ("event_onset_200ms_fms", 1)):
        splits = {split: clouds(4, 0.1, 0) for split in ("train", "valid", "test")}
        scorer = Scorer(embeddings_folder(tmp_path / metric, splits, ["c0", "c1", "c2"], [metric]))
        assert scorer.main({metric: 0.3}) == sign * 0.3
        assert scorer.main({metric: float("nan")}) == -float("inf")


def test_protocol_names_tell_what_differs():
    assert Protocol().name == "linear"
    assert Protocol(standardize=True, select="best").name == "linear-standardize-select=best"


def test_choices_on_the_validation_split_never_read_the_test_split(tmp_path):
    task = scene_task(tmp_path / "task")
    rng = np.random.default_rng(9)  # a validation split of pure noise, and no test split at all
    rng.standard_normal((200, 8)).astype(np.float32).tofile(task.path / "valid.embeddings.npy")
    for file in task.path.glob("test.*"):
        if file.name != "test.json":
            file.unlink()
    protocol = Protocol(epochs=20, learning_rate=1e-2, on="valid")
    assert protocol.name.endswith("on=valid")
    assert not probe_task(task.path, tmp_path / "probe", protocol, seeds=1)
    content = json.loads((tmp_path / "probe/seed0.json").read_text())
    assert content["parts"][0]["valid"] == ["valid"] and "test" not in content["parts"][0]
    assert 0.2 < content["scores"]["top1_acc"] < 0.5


def test_choices_on_folds_never_read_the_fold_that_judges_them(tmp_path):
    splits = {f"fold{number:02d}": clouds(60, 0.1, number) for number in range(4)}
    task = embeddings_folder(tmp_path / "task", splits, ["c0", "c1", "c2"], ["top1_acc"], "presplit_kfold")
    judge = (task.path / "fold00.embeddings.npy").read_bytes()
    (task.path / "fold00.embeddings.npy").unlink()
    protocol = Protocol(epochs=1, on="valid")
    assert not probe_task(task.path, tmp_path / "valid", protocol, seeds=1)
    parts = json.loads((tmp_path / "valid/seed0.json").read_text())["parts"]
    assert [part["valid"] for part in parts] == [["fold01"], ["fold02"], ["fold03"]]
    for train_on, validate_on, scored in data_splits(task, "valid"):
        assert validate_on == scored and not {"fold00", *scored} & set(train_on)

    (task.path / "fold00.embeddings.npy").write_bytes(judge)
    assert not probe_task(task.path, tmp_path / "unseen", Protocol(epochs=1, on="unseen"), seeds=1)
    parts = json.loads((tmp_path / "unseen/seed0.json").read_text())["parts"]
    assert [part["unseen"] for part in parts] == [["fold00"]]
    assert data_splits(scene_task(tmp_path / "other"), "unseen") == [(["train"], ["valid"], ["test"])]
