"""What the benchmarks compare is comparable, and their table says what was measured."""

from pathlib import Path

import pytest
import torch

import hear_msss


@pytest.fixture(autouse=True)
def repository_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


def test_the_straightforward_way_gives_our_embeddings():
    from benchmarks.systems import Straightforward, ours
    from hear_msss.weights import untrained_encoder

    encoder = untrained_encoder()
    plain, mine = Straightforward(encoder), ours("ours", encoder)
    every = ours("every", encoder, encode_every=1)
    audio = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(3)) / 10
    assert (plain.timestamps(audio) - every.timestamps(audio)).abs().max() < 1e-3
    words = torch.randn(9, 16_000, generator=torch.Generator().manual_seed(4)) / 10  # windows for two passes
    for clips in (audio, words):
        assert (plain.scene(clips) - mine.scene(clips)).abs().max() < 1e-3


def test_slow_systems_sit_out_batches_that_would_take_too_long(monkeypatch):
    from benchmarks import speed
    from benchmarks.systems import System

    monkeypatch.setattr(speed, "_time", lambda system, kind, batch: 2.0 * batch)
    quick = System("slow", 16_000, lambda audio: audio, None)
    before = torch.get_num_threads()
    rows = list(speed.speed([quick], [before], [1, 3, 5], rounds=2))
    assert [(row["kind"], row["batch"]) for row in rows] == [("scene", 1), ("scene", 3)]
    assert all(row["audio_s_per_s"] == speed.CLIP_S / 2 for row in rows)


def test_a_process_measures_its_own_peak_and_not_its_parents():
    from benchmarks.processes import PEAK, _run

    ballast = bytearray(300 * 2**20)
    ballast[:: 2**12] = b"x" * len(ballast[:: 2**12])
    assert float(_run(PEAK + "print(peak_mb())")[0]) < 150
    assert float(_run(PEAK + "x = b'x' * (200 * 2**20); print(peak_mb())")[0]) > 200


def test_the_table_has_ratios_to_the_straightforward_way():
    from benchmarks.report import markdown

    row = {"kind": "scene", "threads": 1, "batch": 8, "lowest": 1.0, "highest": 9.0}
    table = markdown(
        {
            "machine": {
                "date": "today", "cpu": "some CPU", "torch": "2", "python": "3",
                "matmul_gflops": {1: 90.0}, "window_gflop": 0.1,
            },
            "speed": [
                {**row, "system": "straightforward", "audio_s_per_s": 10.0},
                {**row, "system": hear_msss.__name__, "audio_s_per_s": 25.0},
            ],
            "training": [], "memory": [], "startup": [], "missing": {"PaSST": "not there"},
        }
    )  # fmt: skip
    assert "| hear_msss | 25 (1 to 9) | 2.5 to 2.5 |" in table
    assert "some CPU" in table and "PaSST: not there" in table
