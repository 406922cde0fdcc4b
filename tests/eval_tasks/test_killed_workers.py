"""What is said when the system kills a process of resample, of a pool, or of run."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from eval_tasks.__main__ import main
from eval_tasks.errors import UserError
from eval_tasks.files import replacing_folder
from eval_tasks.mini import TASKS_DIR
from eval_tasks.runs import harness
from eval_tasks.runs.run_task import TaskJob, run_task
from eval_tasks.tasks import resample
from eval_tasks.workers import in_processes, noted_names

TASK = "mini_events-v1-small"


def test_a_killed_worker_of_resample_is_one_sentence_with_task_and_file(tmp_path, monkeypatch, capfd):
    task = shutil.copytree(TASKS_DIR / TASK, tmp_path / TASK)
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def dies(source, target, sample_rate):
        if source.name == "scene11-train.ogg":
            assert list(temporary.glob("eval_tasks-*"))
            os.kill(os.getpid(), signal.SIGKILL)
        return None, []

    monkeypatch.setattr(resample, "resample_clip", dies)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert main(["resample", str(task), "--sample-rate", "8000", "--jobs", "2", "--quiet"]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {TASK} 16000 -> 8000 Hz: a worker process was killed")
    assert f"work on {task}/16000/" in line and "scene11-train.ogg" in line and "give fewer --jobs" in line
    assert not list(temporary.glob("eval_tasks-*"))


def test_an_empty_or_vanished_note_names_nothing(tmp_path):
    (tmp_path / "1").write_text("a.wav")
    (tmp_path / "2").touch()
    (tmp_path / "3").symlink_to(tmp_path / "nowhere")
    assert noted_names(tmp_path) == ["a.wav"]


def test_names_are_of_what_was_in_work_and_not_of_what_was_done(tmp_path, monkeypatch):
    def there(pattern, count):
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob(pattern))) < count and time.monotonic() < deadline:
            time.sleep(0.01)

    def dies(number):
        if number == 7:
            there("done *", 7)
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
        (tmp_path / f"begun {number}").touch()
        there("begun *", 2)  # both workers take part
        (tmp_path / f"done {number}").touch()

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(UserError, match="during work on piece <7>, most often"):
        list(in_processes(dies, [(number,) for number in range(8)], 2, lambda number: f"piece <{number}>"))


def test_a_killed_runner_is_named_with_its_task_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "run_process", lambda *args: -signal.SIGKILL)
    job = TaskJob(TASKS_DIR / TASK, tmp_path / "model", "module", "", {}, "faster", 1, "keep", 1, None)
    result = run_task(job)
    assert (result.status, result.task) == ("failed", TASK)
    assert "embeddings was killed from outside" in result.error and "give fewer --jobs" in result.error


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_what_a_killed_process_left_goes_before_its_parent_asks_for_it(tmp_path):
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    for process in (zombie.pid, os.getppid()):
        (tmp_path / f".x.{process}.tmp").mkdir()
    with replacing_folder(tmp_path / "x") as temporary:
        assert sorted(tmp_path.iterdir()) == sorted([tmp_path / f".x.{os.getppid()}.tmp", temporary])
    zombie.wait()
