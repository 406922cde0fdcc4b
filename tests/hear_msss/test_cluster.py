"""embed on a cluster of two worker processes on this machine, one of which is killed."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import odd_jobs
import pyarrow as pa
import pytest
import soundfile

from hear_msss.__main__ import main
from hear_msss.cli import cluster, jobs
from hear_msss.collection.sources import FileSource

OPTIONS = ["--model", "untrained"]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for number in range(8):
        soundfile.write(folder / f"{number}.wav", rng.standard_normal(16_000) / 10, 16_000)
    return folder


@pytest.fixture(scope="module")
def expected(sounds, tmp_path_factory):
    out = tmp_path_factory.mktemp("expected")
    assert main(["embed", str(sounds), "--out", str(out), *OPTIONS]) == 0
    return {path.name: np.load(path) for path in out.glob("*.npy")}


def check(out, expected):
    """All files are there once, in the folder and in the manifest."""
    lines = [json.loads(line) for line in (out / "embeddings.jsonl").read_text().splitlines()]
    assert sorted(record["output"] for record in lines) == sorted(expected)
    for name, embedding in expected.items():
        assert np.abs(np.load(out / name) - embedding).max() < 1e-5
    assert not list(out.glob(".*.part"))


@pytest.fixture()
def killing(tmp_path, monkeypatch):
    """The first worker that is given a group is killed."""
    folder = Path(odd_jobs.__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("HEAR_MSSS_KILL_ONCE", str(tmp_path / "killed"))
    monkeypatch.setattr(cluster, "embed_numbered", odd_jobs.embed_numbered_but_die_once)
    monkeypatch.setattr(cluster, "GROUPS", 1)  # four groups
    return tmp_path / "killed"


def test_dask_gives_the_files_of_a_killed_worker_to_another(sounds, expected, tmp_path, killing):
    distributed = pytest.importorskip("distributed")
    options = {
        "n_workers": 2,
        "threads_per_worker": 1,
        "dashboard_address": "127.0.0.1:0",
        "host": "127.0.0.1",
    }
    with distributed.LocalCluster(**options, local_directory=str(tmp_path / "dask")) as local:
        command = ["embed", str(sounds), "--out", str(tmp_path / "out"), *OPTIONS, "--cluster", "dask"]
        assert main([*command, "--address", local.scheduler_address]) == 0
    assert int(killing.read_text()) != os.getpid()
    check(tmp_path / "out", expected)


def test_with_ray_the_files_of_a_killed_worker_are_given_to_another(
    sounds, expected, tmp_path, killing, monkeypatch
):
    ray = pytest.importorskip("ray")
    init = ray.init
    local = {"num_cpus": 2, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")
    monkeypatch.setattr(ray, "init", lambda address=None: init(**local))
    command = ["embed", str(sounds), "--out", str(tmp_path / "out"), *OPTIONS, "--cluster", "ray"]
    assert main(command) == 0
    assert int(killing.read_text()) != os.getpid()
    check(tmp_path / "out", expected)


class Failing:
    """joblib's Parallel on a cluster of which a certain file kills the workers."""

    def __init__(self, **options):
        self.return_as = options["return_as"]

    def __call__(self, calls):
        answers = self.answers(calls)
        return list(answers) if self.return_as == "list" else answers

    def answers(self, calls):
        for function, arguments, _ in calls:
            if any(
                "kill" in Path(j.source.name).name
                for j in arguments[1].jobs
                if j.place not in arguments[1].bad
            ):
                raise RuntimeError("workers died\nin many lines")
            yield function(*arguments)


@pytest.mark.parametrize("kind", ["dask", "ray"])
@pytest.mark.parametrize("shards", [True, False])
def test_a_file_that_kills_workers_again_and_again_costs_no_other(
    sounds, expected, tmp_path, monkeypatch, capsys, kind, shards
):
    source, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(sounds, source)
    shutil.copy(source / "3.wav", source / "3kill.wav")
    monkeypatch.setattr(cluster.Cluster, "check", lambda self: None)
    monkeypatch.setattr(cluster.Cluster, "connected", odd_jobs.nothing)
    monkeypatch.setattr(cluster.joblib, "Parallel", Failing)
    monkeypatch.setattr(cluster, "GROUPS", 1)
    command = ["embed", str(source), "--out", str(out), *OPTIONS, "--cluster", kind]
    assert main([*command, *(["--format", "arrow", "--shard-files", "4"] if shards else [])]) == 1
    said = capsys.readouterr().err
    assert said.count("BAD ") == 1 and f"BAD {source / '3kill.wav'}: the workers" in said
    assert said.splitlines()[-2].endswith("RuntimeError: workers died")
    if shards:
        names = [
            name
            for path in sorted(out.glob("*.arrow"))
            for name in pa.ipc.open_file(path).read_all()["path"].to_pylist()
        ]
        assert names == [f"{number}.wav" for number in range(8)]
    else:
        check(out, expected)


def test_a_round_in_which_a_worker_dies_is_given_again_in_halves(monkeypatch, capsys):
    given = []

    class Counted(Failing):
        def __call__(self, calls):
            calls = list(calls)
            given.append([arguments[0] for _, arguments, _ in calls])
            return super().__call__(calls)

    monkeypatch.setattr(cluster.Cluster, "connected", odd_jobs.nothing)
    monkeypatch.setattr(cluster.joblib, "Parallel", Counted)
    monkeypatch.setattr(cluster.joblib, "effective_n_jobs", lambda: 2)
    monkeypatch.setattr(cluster, "embed_numbered", lambda number, group: (number, []))
    settings = jobs.EmbedSettings("", "{}", False, "npy", "cpu", Path("out"))
    names = ["0.wav", "1.wav", "2kill.wav", *(f"{number}.wav" for number in range(3, 9))]
    groups = [jobs.Group([jobs.Job(FileSource(name), name)], settings) for name in names]
    found = {group.jobs[0].output: answer for group, answer in cluster.Cluster("ray").map_groups(groups)}
    assert given == [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3], [0, 1], [2, 3], [2], [3], [4, 5, 6, 7], [8]]
    assert sorted(found) == names and [name for name in names if found[name] != []] == ["2kill.wav"]
    assert "RuntimeError: workers died" in str(found["2kill.wav"])
    assert "8 groups are tried again in halves" in capsys.readouterr().err


def test_without_its_package_a_cluster_is_one_sentence(sounds, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["embed", str(sounds), "--out", str(tmp_path / "out"), "--cluster", "ray"]) == 2
    assert "--cluster ray needs ray: pip install ray" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
