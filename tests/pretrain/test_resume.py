"""Kills, signals and resumes: a run goes on as if nothing had been."""

import os
import signal
import time

import pytest
from training_runs import Noise, same, sets, settings, start

from pretrain.__main__ import main
from pretrain.budget import StopSignals
from pretrain.checkpoint import load_checkpoint
from pretrain.runlog import LOG, read_log
from pretrain.step import take_step
from pretrain.train import train


def test_ten_steps_straight_equal_five_kill_9_resume_five(corpus, tmp_path):
    """Bit for bit: weights, optimizer, moving average, running statistics; the log has no gap nor double."""
    options = sets(
        *("steps=10", "batch_size=4", "chunk_segments=6", "drop_connect_rate=0.2", "ema_decay=0.9"),
        *("checkpoint_every=5", "validate_every=5", "log_every=1", "schedule=cosine", "warmup_steps=3"),
        "validation_batch_size=2",
    )
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    command = ["train", "--config", "cpu", "--corpus", str(corpus), *options, "--out"]
    process = start([*command, str(straight)])
    assert process.wait(timeout=300) == 0, process.stderr.read()
    process = start([*command, str(killed)])
    deadline = time.monotonic() + 200
    while not (killed / "checkpoint.pt").is_file():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert load_checkpoint(killed)["step"] == 5
    with (killed / "log.jsonl").open("a") as file:
        file.write('{"step": 6, "phase": "tr')  # what a kill in the middle of a line leaves
    process = start(["train", "--out", str(killed), "--resume"])
    assert process.wait(timeout=300) == 0, process.stderr.read()
    a, b = load_checkpoint(straight), load_checkpoint(killed)
    for state in (a, b):
        state.pop("elapsed_s")
    assert a["step"] == 10 and same(a, b)
    timeless = [
        [
            {k: v for k, v in record.items() if k not in ("elapsed_s", "segments_per_s")}
            for record in read_log(run)
        ]
        for run in (straight, killed)
    ]
    assert timeless[0] == timeless[1]
    assert [r["step"] for r in timeless[0] if r["phase"] == "train"] == list(range(1, 11))
    assert [r["step"] for r in timeless[0] if r["phase"] == "validation"] == [5, 10]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_checkpoint_from_which_the_run_goes_on(number, tmp_path):
    before = signal.getsignal(number)
    # The second comes at once, as torchrun passes on what its processes have had already.
    stopper = Noise(lambda step: [os.kill(os.getpid(), number) for _ in range(2)] if step == 2 else None)
    assert train(settings(steps=8, prefetch_batches=1), stopper, tmp_path) == 128 + number
    stopped = load_checkpoint(tmp_path)["step"]
    assert 0 <= stopped < 8
    assert signal.getsignal(number) == before
    assert train(settings(steps=stopped + 1), Noise(), tmp_path, resume=True) == 0
    assert load_checkpoint(tmp_path)["step"] == stopped + 1


def test_two_processes_train_stop_at_a_signal_and_go_on_as_one(corpus, tmp_path):
    options = sets("steps=1000", "batch_size=4", "log_every=1", "validate_every=2", "validation_batch_size=2")
    where = ["--config", "cpu", "--corpus", str(corpus), "--out", str(tmp_path)]
    process = start(["train", *where, *options], processes=2)
    deadline = time.monotonic() + 200
    while not any(
        record["step"] >= 3 for record in (read_log(tmp_path) if (tmp_path / LOG).is_file() else [])
    ):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)  # to all processes, and torchrun passes its own on
    assert process.wait(timeout=200) != 0
    stopped = load_checkpoint(tmp_path)["step"]
    assert 3 <= stopped < 1000
    log = read_log(tmp_path)
    assert [r["step"] for r in log if r["phase"] == "train"] == list(range(1, stopped + 1))
    assert [r["step"] for r in log if r["phase"] == "validation"] == list(range(2, stopped + 1, 2))
    assert main(["train", "--out", str(tmp_path), "--resume", *sets(f"steps={stopped + 1}")]) == 0
    assert load_checkpoint(tmp_path)["step"] == stopped + 1


def test_minutes_count_over_resumes(tmp_path):
    assert train(settings(steps=None, minutes=1 / 60), Noise(), tmp_path) == 0
    first = load_checkpoint(tmp_path)
    assert first["step"] >= 1 and first["elapsed_s"] >= 1
    assert train(settings(steps=None, minutes=1 / 60), Noise(), tmp_path, resume=True) == 0
    assert load_checkpoint(tmp_path)["step"] == first["step"]


@pytest.mark.parametrize("first_step_s", [0.0, 300.0])
def test_a_slow_first_step_does_not_end_the_warm_up(first_step_s, tmp_path, monkeypatch):
    """As where it compiles the encoder: here for half of ten minutes. Each further step takes a second."""
    clock = [0.0]

    def take_step_later(state, segments, rate):
        clock[0] += 1.0 if clock[0] else 1.0 + first_step_s
        if state.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return take_step(state, segments, rate)

    monkeypatch.setattr("pretrain.train.Meter.elapsed_s", property(lambda meter: clock[0]))
    monkeypatch.setattr("pretrain.train.take_step", take_step_later)
    by_time = settings(steps=None, minutes=10, learning_rate=0.1, warmup_steps=5, log_every=1)
    assert train(by_time, Noise(), tmp_path) == 128 + signal.SIGTERM
    rates = [record["learning_rate"] for record in read_log(tmp_path)]
    assert rates == pytest.approx([0.02, 0.04, 0.06, 0.08])


def test_a_late_second_signal_has_its_usual_effect(monkeypatch):
    # A job started in the background may have inherited that SIGINT is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), StopSignals() as stop:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            assert stop.received == signal.SIGINT
            monkeypatch.setattr("pretrain.budget.GRACE_S", -1.0)
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_checkpoints_by_time(tmp_path):
    steps = []

    def note(step):
        steps.append(load_checkpoint(tmp_path)["step"] if (tmp_path / "checkpoint.pt").is_file() else 0)

    by_time = settings(steps=6, checkpoint_every=100, checkpoint_minutes=1e-6, prefetch_batches=1)
    assert train(by_time, Noise(note), tmp_path) == 0
    assert max(steps) >= 2  # read while the run went on
