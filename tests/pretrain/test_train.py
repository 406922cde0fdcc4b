"""Training end to end: configs, checkpoints, kills, signals, divergence, export."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

import hear_msss
from hear_msss.weights import load_weights
from pretrain.__main__ import VERBS, main
from pretrain.budget import StopSignals
from pretrain.checkpoint import load_checkpoint
from pretrain.layers import layered, read_config, shipped_configs
from pretrain.learner import Learner
from pretrain.prefetch import prefetched
from pretrain.runlog import LOG, read_log
from pretrain.settings import Settings
from pretrain.step import NotFiniteError
from pretrain.train import train

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL = ("batch_size=2", "log_every=5", "validation_batch_size=2")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A dozen harmonic tones of 12 s, packed: 24 clips, the two of one file held out."""
    folder = tmp_path_factory.mktemp("sounds")
    time_s = np.arange(192_000) / 16_000
    for number in range(12):
        pitch_hz = 110 * 2 ** (number / 4)
        sound = sum(np.sin(2 * np.pi * k * pitch_hz * time_s) / k for k in range(1, 5))
        soundfile.write(folder / f"{number}.wav", 0.1 * sound * np.exp(-time_s / 8), 16_000)
    packed = tmp_path_factory.mktemp("corpus") / "packed"
    assert main(["pack", str(folder), "--out", str(packed), "--jobs", "1"]) == 0
    return packed


class Noise:
    """A corpus in memory; ``at_step`` is called when batch k is asked for."""

    location = "noise"

    def __init__(self, at_step=lambda step: None):
        self.at_step = at_step

    def batches(self, *, batch_size, segment_samples, seed, first_step=0, rank=0, world_size=1):
        step = first_step
        while True:
            self.at_step(step)
            random = np.random.default_rng((seed, step, rank))
            pair = random.integers(-9000, 9000, (2, batch_size, segment_samples), dtype=np.int16)
            yield torch.from_numpy(pair[0]), torch.from_numpy(pair[1])
            step += 1

    def validation(self, *, batch_size, segment_samples, seed):
        yield next(self.batches(batch_size=3, segment_samples=segment_samples, seed=99))

    def steps_per_epoch(self, global_batch_size):
        return 2

    def summary(self):
        return {"clips": "endless"}


def sets(*assignments: str) -> list[str]:
    return [word for assignment in assignments for word in ("--set", assignment)]


def settings(**values) -> Settings:
    return Settings(**{"steps": 4, "batch_size": 2, "validate_every": 0, **values})


def same(a, b) -> bool:
    """Whether two states are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


CONFIGS = {  # the losses of each, and the heads that they train
    "paper": ("clip frame pitch", "clip frame pitch"),
    "authors": ("clip frame pitch", "clip frame pitch"),
    "cpu": ("clip frame pitch", "clip frame pitch"),
    "gpu": ("clip frame pitch", "clip frame pitch"),
    "cola": ("clip", "clip"),
    "clip_frame": ("clip frame", "clip frame"),
    "clip_pitch": ("clip pitch", "clip pitch"),
    "full": ("clip frame pitch", "clip frame pitch"),
    "full_cosine": ("clip frame pitch", "clip frame pitch"),
    "cross_view": ("clip frame pitch cross_view", "clip frame pitch"),
    "filtered": ("clip frame cross_view", "clip frame"),
    "background": ("clip frame cross_view", "clip frame"),
    "spectrum": ("clip frame cross_view spectrum", "clip frame spectrum"),
}


def test_every_config_is_tried():
    assert set(CONFIGS) == {name for name, folder in shipped_configs().items() if folder != "corpus"}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_of_every_config_trains_what_its_losses_need_and_nothing_else(name, tmp_path, monkeypatch):
    monkeypatch.setattr("pretrain.run_state.MEASURED_BATCHES", 2)
    base = [] if shipped_configs()[name] == "base" else [read_config("cpu")]
    small = {"steps": 1, "batch_size": 4, "validate_every": 1, "log_every": 1, "weight_decay": 0}
    config = layered([*base, read_config(name), small])
    torch.manual_seed(config.seed)
    before = Learner(config).state_dict()
    assert train(config, Noise(), tmp_path) == 0
    losses, heads = (set(names.split()) for names in CONFIGS[name])
    for record in read_log(tmp_path):
        assert {"clip", "frame", "pitch", "cross_view", "spectrum"} & record.keys() == losses
        assert all(np.isfinite(value) for value in record.values() if not isinstance(value, str))
    after = load_checkpoint(tmp_path)["learner"]
    moved = {
        key.split(".")[1] for key in after if key.startswith("heads.") and not same(before[key], after[key])
    }
    assert moved == heads
    still = [key for key in after if key.startswith("encoder.") and same(before[key], after[key])]
    assert not still


def test_pack_train_export_and_load(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("pretrain.export.LEVEL_SEGMENTS", 192)  # enough to try it
    run, weights, half = tmp_path / "run", tmp_path / "weights.safetensors", tmp_path / "half.safetensors"
    where = ["--corpus", str(corpus), "--out", str(run)]
    assert main(["train", "--config", "cpu", "--config", "full", *where, *sets("steps=5", *SMALL)]) == 0
    assert main(["export", str(run), "--out", str(weights)]) == 0
    held = load_weights(weights)
    trained = load_checkpoint(run)["learner"]
    for key, value in held.encoder.state_dict().items():
        assert torch.equal(value, trained[f"encoder.{key}"])
    assert held.info["steps"] == 5 and held.info["last"]["train"] == read_log(run)[-1]
    assert held.info["settings"] == yaml.safe_load((run / "config.yaml").read_text())
    assert held.info["corpus"]["clips"] == 24
    embeddings = hear_msss.get_scene_embeddings(torch.zeros(1, 16_000), hear_msss.load_model(str(weights)))
    assert torch.isfinite(embeddings).all()
    option = ["--half", "--option", "features=components", "--option", "scene=mean"]
    assert main(["export", str(run), "--out", str(half), *option]) == 0
    assert half.stat().st_size < 0.55 * weights.stat().st_size
    scenes = hear_msss.get_scene_embeddings(torch.zeros(1, 16_000), hear_msss.load_model(str(half)))
    assert scenes.shape == (1, 512) and torch.isfinite(scenes).all()


def start(arguments: list[str], processes: int = 0) -> subprocess.Popen:
    """``python -m pretrain``, or the same under torchrun."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    launcher = []
    if processes:
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, "pretrain", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


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


def test_shards_train(tmp_path):
    """A WebDataset corpus, in two tar files."""
    random = np.random.default_rng(0)
    for shard in range(2):
        with tarfile.open(tmp_path / f"clips-{shard}.tar", "w") as archive:
            for number in range(6):
                name = f"{shard}-{number}.flac"
                soundfile.write(tmp_path / name, 0.1 * random.standard_normal(32_000), 16_000)
                archive.add(tmp_path / name, name)
    shards, run = str(tmp_path / "clips-{0..1}.tar"), tmp_path / "run"
    where = ["--config", "cpu", "--config", "cola", "--corpus", shards, "--out", str(run)]
    assert main(["train", *where, *sets("steps=4", "batch_size=3", "log_every=1")]) == 0
    assert [record["step"] for record in read_log(run)] == [1, 2, 3, 4]
    assert all(np.isfinite(record["loss"]) for record in read_log(run))


def test_divergence_stops_with_the_step_the_batch_and_advice(tmp_path):
    with pytest.raises(NotFiniteError, match=r"step [1-9].*batch seed \d+.*lower learning_rate"):
        train(settings(steps=30, learning_rate=1e30, checkpoint_every=1), Noise(), tmp_path)
    assert all(
        torch.isfinite(value).all() for value in load_checkpoint(tmp_path)["optimizer"]["state"][0].values()
    )


def test_minutes_count_over_resumes(tmp_path):
    assert train(settings(steps=None, minutes=1 / 60), Noise(), tmp_path) == 0
    first = load_checkpoint(tmp_path)
    assert first["step"] >= 1 and first["elapsed_s"] >= 1
    assert train(settings(steps=None, minutes=1 / 60), Noise(), tmp_path, resume=True) == 0
    assert load_checkpoint(tmp_path)["step"] == first["step"]


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


def test_epochs_and_validation(tmp_path):
    assert train(settings(steps=None, epochs=1.5, validate_every=1), Noise(), tmp_path) == 0
    validations = [r for r in read_log(tmp_path) if r["phase"] == "validation"]
    assert [r["step"] for r in validations] == [1, 2, 3]
    assert {"loss", "clip", "clip_accuracy", "frame", "pitch", "pitch_error_semitones"} <= validations[
        0
    ].keys()
    assert list((tmp_path / "tensorboard").iterdir())


def test_init_from_starts_the_encoder_and_nothing_else(corpus, tmp_path):
    where = ["--config", "cpu", "--corpus", str(corpus)]
    first, second, weights = tmp_path / "first", tmp_path / "second", tmp_path / "w.safetensors"
    assert main(["train", *where, "--out", str(first), *sets("steps=1", *SMALL)]) == 0
    assert main(["export", str(first), "--out", str(weights)]) == 0
    again = sets("steps=1", f"init_from={weights}", "learning_rate=1e-20", "seed=5", *SMALL)
    assert main(["train", *where, "--out", str(second), *again]) == 0
    a, b = load_checkpoint(first)["learner"], load_checkpoint(second)["learner"]
    assert torch.allclose(a["encoder.projection.weight"], b["encoder.projection.weight"], atol=1e-7)
    assert not torch.allclose(a["heads.clip.weight"], b["heads.clip.weight"], atol=1e-3)


def test_weights_say_what_they_went_on_from(corpus, tmp_path):
    def weights_of(name, *extra):
        run, weights = tmp_path / name, tmp_path / f"{name}.safetensors"
        arguments = ["--config", "cpu", "--corpus", str(corpus), "--out", str(run), *sets(*SMALL, *extra)]
        assert main(["train", *arguments]) == 0
        assert main(["export", str(run), "--out", str(weights), "--no-levels"]) == 0
        return run, weights, load_weights(weights).info

    _, first, first_info = weights_of("first", "steps=2")
    assert "init" not in first_info
    _, second, _ = weights_of("second", "steps=1", f"init_from={first}", "learning_rate=1e-4")
    run, third, info = weights_of("third", "steps=3", f"init_from={second}", "learning_rate=1e-4")
    digest = hashlib.sha256(second.read_bytes()).hexdigest()
    origin = info["init"]
    assert (origin["name"], origin["steps"], origin["sha256"]) == ("second.safetensors", 1, digest)
    assert origin["settings_that_differ"] == {"steps": 1, "init_from": first.name}
    assert info["settings"]["init_from"] == second.name  # no folder of the machine that trained
    assert origin["corpus_hash"] == info["corpus"]["hash"]
    assert origin["init"]["log_sha256"] == first_info["log_sha256"]
    assert origin["init"]["settings_that_differ"]["learning_rate"] == first_info["settings"]["learning_rate"]

    # The run goes on although the file now holds other weights: it did not start from those.
    second.write_bytes(first.read_bytes())
    assert main(["train", "--out", str(run), "--resume", *sets("steps=4")]) == 0
    assert main(["export", str(run), "--out", str(third), "--no-levels"]) == 0
    assert load_weights(third).info["init"]["sha256"] == digest


def test_wrong_use_is_explained(corpus, tmp_path, capsys):
    run, where = tmp_path / "run", ["--config", "cpu", "--corpus", str(corpus)]
    assert main(["train", *where, "--out", str(run), *sets("steps=1", *SMALL)]) == 0
    for arguments, message in [
        (["train", *where, "--out", str(run)], "holds a run already"),
        (["train", "--out", str(run), "--resume", *sets("embedding_dim=256")], "does not fit the settings"),
        (["train", "--config", "cpu", "--out", str(tmp_path / "new")], "give --corpus"),
        (["train", *where, "--out", str(tmp_path / "new"), *sets("batchsize=3")], "did you mean batch_size"),
        (["export", str(tmp_path), "--out", str(tmp_path / "w")], "does not exist"),
        (["plot", str(tmp_path), "--out", str(tmp_path / "p.png")], "does not exist"),
    ]:
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
    assert json.loads((run / "corpus.json").read_text())["location"] == str(corpus)


def test_plot_draws_several_runs(tmp_path):
    for name in "ab":
        train(settings(validate_every=2, log_every=1), Noise(), tmp_path / name)
    out = tmp_path / "curves.png"
    assert main(["plot", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out)]) == 0
    assert out.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    assert stopped.value.code == 0
    assert f"usage: python -m pretrain {verb}" in capsys.readouterr().out


def test_prefetch_keeps_order_raises_in_place_and_ends():
    def items():
        yield from range(5)
        raise KeyError("broken")

    read = prefetched(items(), 2)
    assert [next(read) for _ in range(5)] == list(range(5))
    with pytest.raises(KeyError, match="broken"):
        next(read)
    assert list(prefetched(iter(range(3)), 1)) == [0, 1, 2]


def test_prefetch_when_closed_has_no_thread_left_in_the_middle_of_an_item():
    """A thread still at work when Python exits aborts a run that was done (seen: signal 6 at the end)."""
    made = []

    def items():
        for number in range(100):
            time.sleep(0.3)
            made.append(number)
            yield number

    read = prefetched(items(), 3)
    next(read)
    read.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]
    count = len(made)
    time.sleep(0.5)
    assert len(made) == count < 5
