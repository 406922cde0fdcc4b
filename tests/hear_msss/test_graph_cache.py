"""Graphs in the cache are the user's own, and right, or they are made anew."""

import copy
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from hear_msss.backend import OnnxEncoder, fold_batch_norm
from hear_msss.config import ModelConfig
from hear_msss.features import Features, Levels, level_sizes
from hear_msss.graphs import WrongGraph, onnx_export
from hear_msss.graphs import cache as graph_cache
from hear_msss.graphs.cache import cached_graph, cached_path, encoder_sha256, read_own, write_own
from hear_msss.graphs.onnx_export import (
    check_graph,
    difference_to,
    example_segments,
    make_graph,
    relative_difference,
    rounding,
)
from hear_msss.weights import untrained_encoder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def encoder():
    return fold_batch_norm(untrained_encoder())


@pytest.fixture(scope="module")
def graph(encoder):
    return cached_graph(encoder)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEAR_MSSS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def exported(graph, monkeypatch):
    """How often a graph was made; the making is short."""
    made = []
    monkeypatch.setattr(graph_cache, "make_graph", lambda encoder: made.append(1) or graph)
    return made


def test_one_private_file_for_each_encoder(encoder, cache, exported, monkeypatch):
    cached_graph(encoder)
    cached_graph(copy.deepcopy(encoder))
    assert len(exported) == 1
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in cache.iterdir()] == [0o600]
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        other.projection.bias[0] += 1e-3
    assert encoder_sha256(other) != encoder_sha256(encoder)
    assert cached_path(other) != cached_path(encoder)


def poisoned(graph: bytes, error: float = 5.0) -> bytes:
    """The same graph with another answer."""
    model = onnx.load_from_string(graph)
    (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == "projection.bias")
    values = onnx.numpy_helper.to_array(bias).copy()
    values[0] += error
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda graph: graph[: len(graph) // 2], "is damaged"),
        (lambda graph: b"", "is damaged"),
        (poisoned, "differs from torch"),
    ],
)
def test_a_damaged_or_poisoned_graph_is_made_anew(encoder, graph, cache, exported, caplog, spoil, said):
    path = cached_path(encoder)
    write_own(path, spoil(graph))
    assert cached_graph(encoder) == graph == path.read_bytes()
    assert len(exported) == 1
    assert said in caplog.text
    cached_graph(encoder)
    assert len(exported) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has access lists instead")
@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_can_write_is_not_used(encoder, graph, cache, exported, caplog, mode):
    path = cached_path(encoder)
    write_own(path, graph)
    path.chmod(mode)
    cached_graph(encoder)
    assert len(exported) == 1 and "another user" in caplog.text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has access lists instead")
def test_a_file_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    path = tmp_path / "graph"
    write_own(path, b"graph")
    owner = path.stat().st_uid
    assert read_own(path) == b"graph"
    monkeypatch.setattr(
        os, "fstat", lambda descriptor: os.stat_result((0o100600, 0, 0, 1, owner + 1, *[0] * 5))
    )
    assert read_own(path) is None
    monkeypatch.undo()
    (tmp_path / "link").symlink_to(path)
    assert read_own(tmp_path / "link") is None


def test_without_a_folder_to_write_in_the_graph_is_in_memory(
    encoder, graph, exported, tmp_path, monkeypatch, caplog
):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HEAR_MSSS_CACHE", str(tmp_path / "file" / "cache"))
    assert cached_graph(encoder) == graph
    assert "HEAR_MSSS_CACHE" in caplog.text


def test_a_graph_with_wrong_answers_is_refused(encoder, cache, monkeypatch):
    monkeypatch.setattr(onnx_export, "difference_to", lambda *_: 2e-4)
    with pytest.raises(RuntimeError, match="differs from torch"):
        cached_graph(encoder)
    assert not cache.exists()


def test_a_graph_is_near_and_a_poisoned_one_is_not(encoder, graph):
    segments = example_segments(encoder.config)
    assert check_graph(encoder, graph, segments) < 1e-4
    for error in (5.0, float("nan")):
        with pytest.raises(WrongGraph, match="differs from torch"):
            check_graph(encoder, poisoned(graph, error), segments)


def test_differences_are_relative_to_the_largest_value_above_one():
    left, right = np.array([[1.0, -3.0]]), np.array([[1.0, -4.0]])
    assert relative_difference([left], [right]) == 0.25
    assert relative_difference([left / 10], [right / 10]) == pytest.approx(0.1)
    assert relative_difference([right, left, right], [right, right, right]) == 0.25


@pytest.mark.parametrize("state", [torch.device("meta"), torch.autocast("cpu", torch.bfloat16)])
def test_a_graph_is_made_and_compared_in_float32_on_the_cpu(state, cache):
    encoder = fold_batch_norm(untrained_encoder(ModelConfig(embedding_dim=8)))
    with state:
        assert check_graph(encoder, make_graph(encoder), example_segments(encoder.config)) < 1e-4


def far_from_zero(offset: float) -> Features:
    """An encoder whose numbers lie around ``offset`` until their mean is subtracted.

    So float32 rounds them coarsely, as components do that divide by a small deviation.
    """
    encoder = untrained_encoder(ModelConfig(normalize_h=False)).eval()
    encoder.projection.bias.data.fill_(offset)
    size = sum(level_sizes(encoder.config).values())
    levels = Levels(torch.full((3, size), offset), torch.ones(size), torch.eye(size)[:, :512])
    return Features(encoder, "components", levels).eval()


def test_a_graph_may_differ_by_as_much_as_torch_rounds():
    features = far_from_zero(20_000.0)  # where neighbouring float32 are 0.002 apart
    segments = example_segments(features.config)
    graph = make_graph(features)
    assert check_graph(features, graph, segments) > 1e-4
    with torch.no_grad():
        features.encoder.projection.bias[0] += 0.02
    with pytest.raises(WrongGraph):
        check_graph(features, graph, segments)


def test_a_graph_may_not_differ_by_a_hundredth_however_torch_rounds():
    features = far_from_zero(20_000_000.0)  # where neighbouring float32 are 2 apart
    segments = example_segments(features.config)
    graph = make_graph(features)
    with torch.no_grad():
        features.encoder.projection.bias[0] += 2.0
    assert 4 * rounding(features, segments) > difference_to(features, graph, segments)
    with pytest.raises(WrongGraph):
        check_graph(features, graph, segments)


FIRST_USE = """
import torch
from hear_msss.backend import OnnxEncoder, fold_batch_norm
from hear_msss.weights import untrained_encoder
torch.set_num_threads(1)
print(float(OnnxEncoder(fold_batch_norm(untrained_encoder()))(torch.zeros(1, 64, 96)).sum()))
"""


def test_two_processes_may_export_at_once(encoder, cache):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen([sys.executable, "-c", FIRST_USE], stdout=subprocess.PIPE, env=environment)
        for _ in range(2)
    ]
    expected = float(OnnxEncoder(encoder)(torch.zeros(1, 64, 96)).sum())
    for process in processes:
        assert float(process.communicate()[0]) == pytest.approx(expected, abs=1e-3)
    assert len(list(cache.iterdir())) == 1
