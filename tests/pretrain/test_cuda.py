"""Training on a CUDA GPU against the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from training_runs import Noise, settings

import hear_msss
from hear_msss import tf32
from pretrain.checkpoint import load_checkpoint
from pretrain.export import export
from pretrain.run_state import RunState
from pretrain.step import take_step
from pretrain.train import train
from pretrain.validation import validate

pytestmark = pytest.mark.cuda
SETTINGS = settings(batch_size=8, drop_connect_rate=0.0)


def segments(settings):
    samples = settings.model.segment_samples
    return next(Noise().batches(batch_size=settings.batch_size, segment_samples=samples, seed=1))


@pytest.mark.parametrize(("precision", "within"), [("float32", 1e-2), ("bf16", 1e-1)])
def test_a_step_loses_what_it_loses_on_the_cpu(precision, within):
    found = []
    for where, chosen in (("cpu", SETTINGS), ("cuda", replace(SETTINGS, precision=precision))):
        state = RunState.fresh(chosen, torch.device(where))
        with tf32.products(convolutions_in_tf32=False):  # which torch's default would round
            metrics, norm = take_step(state, segments(chosen), 1e-3)
            validated = validate(state, Noise())["loss"]
        assert {p.dtype for p in state.learner.parameters()} == {torch.float32}
        found.append((float(metrics["loss"]), norm, validated))
    (loss, norm, validated), (other_loss, other_norm, other_validated) = found
    assert other_loss == pytest.approx(loss, rel=within)
    assert other_norm == pytest.approx(norm, rel=3 * within)
    assert other_validated == pytest.approx(validated, rel=3 * within)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_run_is_resumed_and_its_weights_embed(tmp_path, precision):
    chosen = settings(steps=2, precision=precision, device="cuda")
    assert train(chosen, Noise(), tmp_path / "run") == 0
    assert train(replace(chosen, steps=4), Noise(), tmp_path / "run", resume=True) == 0
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint["step"] == 4
    export(tmp_path / "run", tmp_path / "a.safetensors", levels=False)
    audio = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0)) / 10
    on_cpu, on_gpu = (hear_msss.load_model(str(tmp_path / "a.safetensors")).to(d) for d in ("cpu", "cuda"))
    expected = hear_msss.get_scene_embeddings(audio, on_cpu)
    found = hear_msss.get_scene_embeddings(audio.cuda(), on_gpu)
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-4)
