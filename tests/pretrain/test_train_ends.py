"""What a training says, and how it ends: by an error, a signal, a full disk, or with its launcher."""

import contextlib
import errno
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from pretrain import __main__ as program
from pretrain import checkpoint
from pretrain.checkpoint import load_checkpoint, save_checkpoint
from pretrain.settings import Settings
from pretrain.train import train


class FullDisk(io.BytesIO):
    def write(self, data) -> int:
        if self.tell() + len(data) > 10_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)

    def fileno(self) -> int:
        raise io.UnsupportedOperation


def test_a_full_disk_is_what_ends_a_checkpoint_and_the_one_before_stays(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, {"step": 1, "learner": {}, "average": None})
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "open_replacing", lambda *rest: contextlib.nullcontext(FullDisk()))
        with pytest.raises(OSError, match=r"No space left on device.*checkpoint\.pt"):
            save_checkpoint(tmp_path, {"step": 2, "learner": {"w": torch.zeros(10_000)}, "average": None})
    assert load_checkpoint(tmp_path)["step"] == 1


class Source:
    """Noise; ``at_step`` is called before each batch, and may raise or wait."""

    location = "noise"

    def __init__(self, at_step):
        self.at_step = at_step

    def batches(self, *, batch_size, segment_samples, first_step=0, **_):
        step = first_step
        while True:
            self.at_step(step)
            random = np.random.default_rng(step)
            pair = random.integers(-9000, 9000, (2, batch_size, segment_samples), dtype=np.int16)
            yield torch.from_numpy(pair[0]), torch.from_numpy(pair[1])
            step += 1

    def steps_per_epoch(self, global_batch_size):
        return 2

    def summary(self):
        return {"clips": "endless"}


SMALL = Settings(steps=9, batch_size=2, alpha=0, beta=0, validate_every=0, prefetch_batches=1, log_every=100)


def test_an_error_leaves_a_checkpoint_of_the_last_step(tmp_path, capsys):
    def fail(step):
        if step == 3:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        train(SMALL, Source(fail), tmp_path)
    assert load_checkpoint(tmp_path)["step"] == 3
    assert "step 3: stopped by an error, continue with --resume" in capsys.readouterr().out


def test_a_signal_is_heard_while_a_batch_is_waited_for(tmp_path):
    free = threading.Event()

    def stall(step):
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            assert free.wait(60)

    threading.Timer(4, free.set).start()  # so that the thread ends soon after
    assert train(SMALL, Source(stall), tmp_path) == 128 + signal.SIGTERM
    assert load_checkpoint(tmp_path)["step"] <= 2  # the third batch was not waited for


def test_the_first_line_comes_with_the_first_step(tmp_path, capsys):
    seen = []
    train(SMALL, Source(lambda step: seen.append(capsys.readouterr().out)), tmp_path)
    before, after = seen[0], "".join(seen)
    assert "noise: 9 steps, 2 clips a step, 1 processes" in before
    assert "step 1, 11.1%, 0:00:" in after and "to go: loss" in after


CHILD = """
import os, signal, sys, time
from pretrain.parent import end_with_parent
def end(*_):
    open(sys.argv[1], "w").write("ended")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
end_with_parent(0.05)
print("ready", flush=True)
time.sleep(60)
"""


PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], sys.argv[2]])"


def test_a_process_ends_when_its_launcher_is_killed(tmp_path):
    mark = tmp_path / "mark"
    root = str(Path(program.__file__).parents[1])
    launcher = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD, str(mark)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": root},
    )
    assert launcher.stdout.readline() == b"ready\n"
    launcher.kill()
    deadline = time.monotonic() + 30
    while not mark.exists() or not mark.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
