"""The benchmarks of a GPU, on the CPU and small: what they count, what they compare, which rows they give."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from hear_msss.weights import untrained_encoder

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def repository_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


@pytest.fixture
def two_systems(monkeypatch):
    """Only two contestants: ours and one that calls itself straightforward."""
    from benchmarks import gpu, systems

    encoder = untrained_encoder()
    found = [systems.ours(name, encoder, backend="torch") for name in ("straightforward", "ours")]
    monkeypatch.setattr(gpu, "all_systems", lambda device: (found, {"PaSST": "not there"}))


class Clock:
    """Time passes only in ``run``."""

    def __init__(self, monkeypatch, run_s):
        self.time, self.runs, self.run_s = 0.0, 0, run_s
        from benchmarks import gpu, stopwatch

        for module in (gpu, stopwatch):
            monkeypatch.setattr(module, "now", lambda device: self.time)

    def run(self, batch=1):
        self.time += self.run_s * batch
        self.runs += 1


def multiplications(encoder, log_mel):
    """Multiplications of a forward pass, module by module, of convolutions and linear layers."""
    counts = []

    def count(module, given, output):
        if isinstance(module, nn.Conv2d):
            height, width = module.kernel_size
            counts.append(output.numel() * module.in_channels // module.groups * height * width)
        else:
            counts.append(output.numel() * module.in_features)

    for module in encoder.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    encoder(log_mel)
    return sum(counts)


def test_the_cost_of_a_segment_is_that_of_its_products():
    from benchmarks.gpu import SMALL, describe

    forward = 2 * multiplications(untrained_encoder(), torch.zeros(1, 64, 96))
    assert describe(CPU, SMALL)["training_gflop"] == pytest.approx(3 * forward / 1e9, rel=1e-3)


@pytest.mark.parametrize("run_s", [0.25, 0.001])
def test_a_rate_is_what_passes_in_the_time_of_the_device(monkeypatch, run_s):
    from benchmarks.stopwatch import AT_LEAST_S, WARM_UPS, rates

    clock = Clock(monkeypatch, run_s)
    assert rates(clock.run, 6, CPU, rounds=3) == pytest.approx(3 * [6 / run_s])
    assert clock.runs == WARM_UPS + 3 * max(1, round(AT_LEAST_S / run_s))


def test_a_long_run_is_measured_once_after_a_warm_up(monkeypatch):
    from benchmarks.stopwatch import ONE_ROUND_S, rates

    clock = Clock(monkeypatch, run_s=4 * ONE_ROUND_S)

    def run():  # the first is slower: libraries choose their kernels
        clock.run(batch=1 if clock.runs else 5)

    assert rates(run, 6, CPU, rounds=3) == pytest.approx([6 / clock.run_s])
    assert clock.runs == 2


def test_channels_first_is_what_the_convolutions_see():
    from benchmarks.gpu_training import use_channels_first

    seen = []
    encoder, log_mel = untrained_encoder(), torch.randn(2, 64, 96, generator=torch.Generator().manual_seed(0))
    for module in encoder.network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, given, output: seen.append(given[0]))
    before = encoder(log_mel)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)
    seen.clear()
    use_channels_first(encoder)
    torch.testing.assert_close(encoder(log_mel), before, rtol=0, atol=1e-4)
    assert all(x.stride()[1:] == (x.shape[2] * x.shape[3], x.shape[3], 1) for x in seen)


def test_every_part_gives_rows_and_tables(two_systems):
    from benchmarks import gpu, gpu_report, gpu_training

    missing = {}
    rows = list(gpu.measure(CPU, gpu.Sizes(64, 1, (2, 1), (1, 2), 2, 1), missing))
    assert missing == {"PaSST": "not there"}
    card = rows[0]
    assert (card["measure"], card["matrix"]) == ("card", 64)
    systems = [row["system"] for row in rows if row["measure"] == "training"]
    variants = [str(variant) for variant in gpu_training.VARIANTS if not variant.compiled]
    assert systems == [*variants, "pretrain, gpu + spectrum"]
    for row in rows:
        if row["measure"] == "training":
            assert row["batch"] == 6
            tflops = row["share_of_bf16_matrix_rate"] * card["bf16_matrix_tflops"]
            assert tflops == pytest.approx(row["segments_per_s"] * card["training_gflop"] / 1000)
    encoder = {row["system"]: row for row in rows if row["measure"] == "encoder"}
    assert encoder["float32"]["relative_error"] < 1e-5 < encoder["fp16"]["relative_error"] < 0.01
    text = "\n".join(gpu_report.markdown(rows))
    assert text.count("###") == 5 and "| ours |" in text and "64 in bf16" in text
    assert all(f"| {name} | 6 |" in text for name in systems)


def test_only_the_chosen_parts_are_measured(monkeypatch, two_systems):
    from benchmarks import gpu

    measured = [
        {row["measure"] for row in gpu.measure(CPU, gpu.SMALL, {}, [part])}
        for part in ("encoder", "embeddings")
    ]
    assert measured == [{"card", "encoder"}, {"card", "embeddings"}]


def test_what_has_not_begun_in_time_is_left_out_and_named(monkeypatch):
    """Also within a part, so that a run ends in about the same time on any card."""
    from benchmarks import gpu

    clock = Clock(monkeypatch, run_s=0.3 * gpu.LATEST_S)
    monkeypatch.setattr(gpu.time, "perf_counter", lambda: clock.time)
    monkeypatch.setattr(gpu, "describe", lambda device, sizes: {"measure": "card"})

    def rows(*given):
        for number in range(5):
            clock.run()
            yield {"measure": "row", "number": number}

    for name in ("embeddings", "encoder"):
        monkeypatch.setattr(gpu, name, rows)
    missing = {}
    found = list(gpu.measure(CPU, gpu.SMALL, missing, ["embeddings", "encoder"]))
    assert [row.get("number") for row in found] == [None, 0, 1, 2, 3]
    assert missing == {
        "embeddings": "70 s were over after 4 of its rows",
        "encoder": "70 s were over after 0 of its rows",
    }


def test_a_part_that_fails_is_named_and_the_others_are_measured(monkeypatch, two_systems):
    from benchmarks import gpu

    def fails(*given):
        raise RuntimeError("out of luck")
        yield

    for name in ("variants", "whole_step"):
        monkeypatch.setattr(gpu.gpu_training, name, fails)
    missing = {}
    rows = list(gpu.measure(CPU, gpu.Sizes(64, 1, (2, 1), (1,), 2, 1), missing))
    assert missing["training step"] == missing["pretrain step"] == "RuntimeError: out of luck"
    assert {row["measure"] for row in rows} == {"card", "encoder", "embeddings"}


def test_half_the_batch_where_memory_lacks(monkeypatch):
    from benchmarks import gpu_training

    def step(variant, segments, device):
        def run():
            if segments > 5:
                raise torch.OutOfMemoryError

        return run

    monkeypatch.setattr(gpu_training, "make_step", step)
    monkeypatch.setattr(gpu_training, "VARIANTS", [gpu_training.Variant()])
    rows = list(gpu_training.variants(CPU, 6, 1, compiled=False))
    assert [row["batch"] for row in rows] == [4]


def test_long_runs_are_measured_once_and_longer_ones_left_out(monkeypatch):
    from benchmarks import gpu
    from benchmarks.systems import System

    clock = Clock(monkeypatch, run_s=0.2)
    slow = System("slow", 16_000, lambda audio: clock.run(len(audio)), None)
    monkeypatch.setattr(gpu, "all_systems", lambda device: ([slow], {}))
    rows = list(gpu.embeddings(CPU, gpu.Sizes(clips=(1, 8, 64), rounds=3), {}))
    assert [row["batch"] for row in rows] == [1, 8]
    assert all(row["audio_s_per_s"] == pytest.approx(gpu.CLIP_S / 0.2) for row in rows)
    assert clock.runs == 2 + 3 + 2


def test_a_gpu_that_is_not_there_is_an_error_before_anything_is_measured(monkeypatch, capsys):
    from benchmarks import __main__

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["benchmarks", "--only", "gpu"])
    with pytest.raises(SystemExit):
        __main__.main()
    assert "sees no CUDA GPU here" in capsys.readouterr().err
