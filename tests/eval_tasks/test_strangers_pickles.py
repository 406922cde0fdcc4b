"""Pickles of strangers run no code, and hold nothing but what heareval writes."""

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from beeps import METADATA
from made_embeddings import embeddings_folder

from eval_tasks.errors import UserError
from eval_tasks.runs import harness
from eval_tasks.runs.pickles import read_labels, unpickle
from eval_tasks.runs.run_task import TaskJob, run_task


class RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class HidesIt:
    """torch's own loader of storages, which unpickles what it is given."""

    def __init__(self, inner):
        self.inner = inner

    def __reduce__(self):
        from torch.storage import _load_from_bytes

        return _load_from_bytes, (pickle.dumps(self.inner),)


@pytest.mark.parametrize("wrap", [RunsCode, lambda path: HidesIt(RunsCode(path))])
def test_received_embeddings_run_no_code(tmp_path, monkeypatch, wrap):
    started = []
    monkeypatch.setattr(harness, "run_process", lambda *args: started.append(args) or 1)
    values = np.eye(2)
    parts = {split: (values, [["a"], ["b"]]) for split in METADATA["splits"]}
    folder = tmp_path / "model/embeddings/module/beeps-v1-full"
    embeddings_folder(folder, parts, ["a", "b"], ["top1_acc"])
    job = TaskJob(folder, tmp_path / "model", "module", "", {}, "faster", 1, "keep", 1, None)
    assert "predictions ended with status 1" in run_task(job).error and len(started) == 1

    (folder / "valid.target-labels.pkl").write_bytes(pickle.dumps([["a"], [wrap(tmp_path / "ran")]]))
    result = run_task(job)
    assert result.status == "failed" and "valid.target-labels.pkl was not read" in result.error
    assert len(started) == 1 and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("wrap", [RunsCode, lambda path: HidesIt(RunsCode(path))])
def test_received_predictions_run_no_code(tmp_path, wrap):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"target": wrap(tmp_path / "ran")}))
    with pytest.raises(UserError, match=r"x\.pkl was not read"):
        unpickle(tmp_path / "x.pkl")
    assert not (tmp_path / "ran").exists()


class Reduces:
    """Pickled as a call of a function."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


@pytest.mark.parametrize("kind", ["O", "V8", "U3", "M8[s]"])
def test_numbers_in_predictions_are_plain(tmp_path, kind):
    """NumPy itself would take any eight bytes for the address of an object."""
    scalar = np.float64(1).__reduce__()[0]
    number = Reduces(scalar, (Reduces(np.dtype, (kind, False, True)), bytes(12)))
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"score": number}))
    with pytest.raises(UserError, match="has no place in heareval's results"):
        unpickle(tmp_path / "x.pkl")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"score": np.float64(0.5)}))
    assert unpickle(tmp_path / "x.pkl") == {"score": 0.5}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(np.dtype(">f8")))
    with pytest.raises(UserError, match="byte order"):
        unpickle(tmp_path / "x.pkl")


@pytest.mark.parametrize("label", [np.float64(1), OrderedDict(), torch.ones(1), {"a": 1}, ["a"], b"a"])
def test_labels_are_strings_and_plain_numbers(tmp_path, label):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([["a"], [label]]))
    with pytest.raises(UserError, match=r"not read|expected a list of labels"):
        read_labels(tmp_path / "x.pkl")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([["a"], ["b", 1, 0.5, True, None]]))
    assert read_labels(tmp_path / "x.pkl") == [["a"], ["b", 1, 0.5, True, None]]
