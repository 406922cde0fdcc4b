"""`run` on two tiny tasks, through the real heareval, and everything around it."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_tasks import RATE, SECONDS_TO_START, tiny

from eval_tasks.errors import UserError
from eval_tasks.runs import harness, run
from eval_tasks.runs.claim import model_name
from eval_tasks.runs.describe import ask
from eval_tasks.runs.results import ModelFolder
from eval_tasks.runs.run_settings import RunSettings


@pytest.fixture(autouse=True)
def importable(module_dir, monkeypatch):
    """The processes find the module, the repository, and one thread each."""
    paths = [str(module_dir), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def finished(tasks, module_dir, tmp_path_factory):
    """Both tasks, run once, two at a time."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(module_dir), str(Path(__file__).parents[2])]))
        results = run.run_tasks("tiny_hear", tasks, out, RunSettings(grid="faster", grid_points=1, jobs=2))
    return out, {result.task: result for result in results}


@pytest.fixture
def copied(finished, tmp_path, monkeypatch):
    """A copy of the finished results, and no question to the module again."""
    shutil.copytree(finished[0], tmp_path / "out", symlinks=True)
    info = ModelFolder(finished[0] / "tiny_hear").info
    monkeypatch.setattr(run, "ask", lambda *args: dict(info))
    return tmp_path / "out"


def test_scores_of_a_separable_task(finished):
    _, results = finished
    assert {result.status for result in results.values()} == {"done"}
    assert results["beeps-v1-full"].scores["top1_acc"].mean == 1.0
    assert set(results["chirps-v1-full"].scores) == {"event_onset_200ms_fms", "segment_1s_er"}
    assert all(result.embeddings_s > 0 and result.predictions_s > 0 for result in results.values())


def test_results_lie_where_the_readers_look(finished):
    out, _ = finished
    model = ModelFolder(out / "tiny_hear")
    assert set(model.embeddings()) == set(model.predictions()["faster-1points"]) == set(finished[1])
    assert model.info["sample_rate"] == RATE and len(model.info["module_sha256"]) == 64
    assert not list(out.rglob("*.ckpt"))
    line = json.loads((out / "tiny_hear/runs.jsonl").read_text())
    assert line["jobs"] == 2 and set(line["embeddings_and_predictions_s"]) == set(finished[1])


def test_finished_work_is_skipped(tasks, copied, finished, started):
    results = tiny(tasks, copied)
    assert not started
    assert {result.status for result in results.values()} == {"skipped"}
    assert {t: r.scores for t, r in results.items()} == {t: r.scores for t, r in finished[1].items()}


def test_another_grid_uses_the_same_embeddings(tasks, copied, started):
    tiny(tasks, copied, grid="fast", tasks=["beeps-v1-full"])
    assert [command[2] for command in started] == ["heareval.predictions.runner"]
    assert started[0][-4:] == ["--grid", "fast", "--grid-points", "1"]


def test_a_failed_task_is_reported_and_not_fatal(tasks, copied, started):
    shutil.rmtree(copied / "tiny_hear/embeddings/tiny_hear/chirps-v1-full")
    results = tiny(tasks, copied)
    assert results["beeps-v1-full"].status == "skipped"
    failed = results["chirps-v1-full"]
    assert failed.status == "failed" and failed.error.endswith("last state\nValueError: no luck")


def test_results_of_other_code_are_not_taken_for_this(tasks, copied, started, monkeypatch):
    info = ModelFolder(copied / "tiny_hear").info
    monkeypatch.setattr(run, "ask", lambda *args: {**info, "module_sha256": "other"})
    with pytest.raises(UserError, match=r"module_sha256 differ.*--changed"):
        tiny(tasks, copied)
    assert {r.status for r in tiny(tasks, copied, changed="keep").values()} == {"skipped"}
    assert not started
    tiny(tasks, copied, changed="redo")
    assert {command[2] for command in started} == {"heareval.embeddings.runner"}


def test_a_task_that_changed_is_not_scored_by_old_embeddings(tasks, copied, started, tmp_path):
    changed = shutil.copytree(tasks, tmp_path / "tasks")
    (changed / "beeps-v1-full/test.json").write_text((tasks / "beeps-v1-full/valid.json").read_text())
    results = tiny(changed, copied)
    assert results["chirps-v1-full"].status == "skipped"
    assert "test.json" in results["beeps-v1-full"].error and not started
    tiny(changed, copied, changed="redo", tasks=["beeps-v1-full"])
    assert started and not (copied / "tiny_hear/predictions/faster-1points/beeps-v1-full").exists()


def test_missing_rate_names_the_command_that_makes_it(tasks, copied, started, tmp_path):
    other = shutil.copytree(tasks / "beeps-v1-full", tmp_path / "tasks/other-v1-full")
    (other / "16000").rename(other / "48000")
    results = tiny([tasks, other], copied)
    assert results["beeps-v1-full"].status == "skipped" and not started
    assert f"eval_tasks resample {other} --sample-rate 16000" in results["other-v1-full"].error


def test_bad_requests(tasks, copied, tmp_path):
    with pytest.raises(UserError, match=r"no task nothing: there are beeps-v1-full, chirps-v1-full"):
        tiny(tasks, copied, tasks=["nothing"])
    twin = shutil.copytree(tasks / "beeps-v1-full", tmp_path / "twin/beeps-v1-full")
    with pytest.raises(UserError, match="has the name of"):
        tiny([tasks, twin], copied)
    with pytest.raises(UserError, match="faster"):
        tiny(tasks, copied, grid="fastest")


def test_the_command_line_has_the_defaults_of_the_call():
    parser, usual = argparse.ArgumentParser(), RunSettings()
    run.add_arguments(parser)
    options = vars(parser.parse_args(["--module", "m", "--tasks", "t", "--out", "o"]))
    for name in ("model", "model_options", "grid", "grid_points", "threads", "gpus", "name", "changed"):
        assert options[name] == getattr(usual, name), name
    assert options["task"] is usual.tasks is None and usual.grid == "default"


def test_a_module_that_does_not_load_is_told_at_once(tasks, tmp_path):
    with pytest.raises(UserError, match=r"no module 'not_a_hear_module' on Python's path.*PYTHONPATH"):
        run.run_tasks("not_a_hear_module", tasks, tmp_path / "out")
    with pytest.raises(UserError, match=r"nowhere\.pt: no such file"):
        run.run_tasks("hear_msss", tasks, tmp_path / "out", RunSettings(model=str(tmp_path / "nowhere.pt")))
    assert not (tmp_path / "out").exists()


def test_a_module_that_lacks_what_librosa_needs_is_told_how_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "with_librosa.py").write_text(
        "import sys\nsys.modules['numba'] = None\nimport librosa\nlibrosa.load\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
    with pytest.raises(UserError, match=r"(?s)numba.*\n`pip install librosa` adds what librosa needs"):
        ask("with_librosa")


def test_environment_of_the_runners(monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    env = harness.environment(threads=3, gpu="1")
    assert env["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1" and "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in env
    assert env["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8" and env["CUDA_VISIBLE_DEVICES"] == "1"
    assert env["OMP_NUM_THREADS"] == env["TF_NUM_INTRAOP_THREADS"] == "3"


def test_model_names_tell_options_and_weights_apart():
    info = {"model_options": {}, "model": "", "model_sha256": ""}
    weights = {**info, "model": "/a/best.safetensors", "model_sha256": "0123456789"}
    options = {**info, "model_options": {"hop_ms": 20, "pool": "mean max"}}
    names = [model_name("hear_msss", each) for each in (info, weights, options)]
    assert names == ["hear_msss", "hear_msss-best-01234567", "hear_msss-hop_ms=20-pool=mean_max"]


def begin(tasks, out):
    """The command line on the scene task, once its embeddings have begun; and the runner's process id."""
    command = [sys.executable, "-m", "eval_tasks", "run", "--module", "tiny_hear", "--tasks", tasks]
    command += ["--task", "beeps-v1-full", "--out", out, "--grid", "faster", "--grid-points", "1"]
    environment = {**os.environ, "TINY_SLEEP_S": "1000"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    log = out / "tiny_hear/logs/beeps-v1-full.embeddings.log"
    deadline = time.monotonic() + SECONDS_TO_START
    while not (log.exists() and "Estimated batch size" in log.read_text()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    log.unlink()
    runners = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = status.read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if (
            b"heareval.embeddings.runner" in arguments
            and str(out / "tiny_hear/embeddings").encode() in arguments
        ):
            runners.append(int(status.parent.name))
    assert len(runners) == 1
    return process, runners[0]


def wait_until_gone(process_id):
    deadline = time.monotonic() + SECONDS_TO_START
    while (Path("/proc") / str(process_id)).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
def test_interrupted_and_killed_runs_end_their_processes_and_leave_no_false_mark(tasks, tmp_path):
    out = tmp_path / "out"
    process, runner = begin(tasks, out)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130 and b"continues" in process.stderr.read()
    wait_until_gone(runner)
    if shutil.which("setpriv"):  # what ends a runner whose parent is killed
        process, runner = begin(tasks, out)
        process.kill()
        process.wait()
        wait_until_gone(runner)
    half_done = out / "tiny_hear/embeddings/tiny_hear/beeps-v1-full"
    assert half_done.exists() and not (half_done / ".done.embeddings").exists()


def test_resumed_work_equals_undisturbed_work(tasks, copied, finished):
    """Embeddings half made, predictions half made: the scores are those of a run that was let alone."""
    task = "beeps-v1-full"
    model = ModelFolder(copied / "tiny_hear")
    (model.embeddings()[task] / "test.embeddings.npy").write_bytes(b"half")
    (model.embeddings()[task] / ".done.embeddings").unlink()
    (model.predictions()["faster-1points"][task] / "prediction-done.json").unlink()
    result = tiny(tasks, copied, tasks=[task])[task]
    assert replace(result, embeddings_s=0, predictions_s=0) == replace(
        finished[1][task], embeddings_s=0, predictions_s=0
    )
    for file in ("train.embeddings.npy", "test.embeddings.npy", "test.target-labels.pkl"):
        undisturbed = ModelFolder(finished[0] / "tiny_hear").embeddings()[task] / file
        assert (model.embeddings()[task] / file).read_bytes() == undisturbed.read_bytes()
