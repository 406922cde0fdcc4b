"""Kills, signals and resumes: a run goes on as if nothing had been."""

import math
import os
import signal
import time
from types import SimpleNamespace

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
        del state["elapsed_s"], state["first_steps_s"]
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


@pytest.fixture
def clock(monkeypatch):
    """A run's clock: a step takes ``step_s``, and the first after a start or resume ``compile_s`` more."""
    clock = SimpleNamespace(now_s=0.0, step_s=1.0, compile_s=0.0, stop_at=10)

    def take_step_by_the_clock(state, segments, rate):
        clock.now_s += clock.step_s + clock.compile_s
        clock.compile_s = 0.0
        if state.step == clock.stop_at - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return take_step(state, segments, rate)

    monkeypatch.setattr("pretrain.train.Meter.elapsed_s", property(lambda meter: clock.now_s))
    monkeypatch.setattr("pretrain.train.take_step", take_step_by_the_clock)
    return clock


def rates_by_the_clock(folder, schedule, resume=False):
    by_time = {"steps": None, "minutes": 10, "learning_rate": 1e-3, "warmup_steps": 20, "log_every": 1}
    run = settings(**by_time, schedule=schedule)
    assert train(run, Noise(), folder, resume) == 128 + signal.SIGTERM
    return [record["learning_rate"] for record in read_log(folder) if record["phase"] == "train"]


@pytest.mark.parametrize("compile_s", [0.0, 300.0])
def test_a_slow_first_step_does_not_end_the_warm_up(compile_s, tmp_path, clock):
    """Such a step may compile the encoder, after the start of the run and after each resume."""
    clock.compile_s, clock.stop_at = compile_s, 4
    rates_by_the_clock(tmp_path, "constant")
    clock.compile_s, clock.stop_at = compile_s / 2, 8
    rates = rates_by_the_clock(tmp_path, "constant", resume=True)
    assert rates == pytest.approx([1e-3 * (step + 1) / 20 for step in range(8)])


@pytest.mark.parametrize("compile_s", [0.0, 300.0])
def test_the_warm_up_ends_after_a_tenth_of_the_minutes_and_the_cosine_counts_all(compile_s, tmp_path, clock):
    clock.step_s, clock.compile_s, clock.stop_at = 15.0, compile_s, 8
    rates = rates_by_the_clock(tmp_path, "cosine")
    spent_s = [0.0, *(compile_s + 15.0 * step for step in range(1, 8))]
    # Seconds that count for the warm-up: the first step, however long, does not.
    warming = [max((step + 1) / 20, 15.0 * max(0, step - 1) / 60) for step in range(8)]
    expected = [
        1e-3 * min(1.0, share) * 0.5 * (1 + math.cos(math.pi * s / 600))
        for share, s in zip(warming, spent_s, strict=True)
    ]
    assert rates == pytest.approx(expected, rel=1e-4)  # the log has six digits


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
