"""Training, validation and export against short loops written by hand."""

import math
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from hear_msss.features import measure_levels
from hear_msss.frontend import FrontEnd, warp_frequency
from hear_msss.weights import load_weights
from pretrain import export, step, train
from pretrain.augmentation import Augmentation
from pretrain.checkpoint import load_checkpoint
from pretrain.learner import Learner
from pretrain.randomness import step_seed
from pretrain.run_state import RunState
from pretrain.settings import Settings
from pretrain.validation import validate

CLIPS = 4
SETTINGS = Settings(
    **{"seed": 3, "steps": 2, "batch_size": CLIPS, "validate_every": 0, "validation_batch_size": 3},
    **{"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1, "warmup_steps": 4},
    **{"schedule": "cosine", "clip_gradient_norm": 0.5, "ema_decay": 0.75, "drop_connect_rate": 0.2},
    **{"alpha": 0.5, "beta": 2.0, "gamma": 0.25, "cross_view_other_segments": True},
)


def segments(number: int, clips: int = CLIPS) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(100 + number)
    shape = (2, clips, SETTINGS.model.segment_samples)
    anchor, positive = torch.randint(-9000, 9000, shape, generator=generator, dtype=torch.int16)
    return anchor, positive


class Segments:
    """A corpus of the segments above."""

    location = "segments"

    def summary(self):
        return {"clips": "endless"}

    def batches(self, *, first_step=0, **_):
        return (segments(number) for number in count(first_step))

    def validation(self, *, batch_size, **_):
        yield segments(50, batch_size)
        yield segments(51, batch_size)

    def steps_per_epoch(self, global_batch_size):
        return 2


@pytest.fixture
def in_float64(monkeypatch):
    """Runs compute in float64, so that an order of additions makes no difference."""
    fresh = RunState.fresh

    def fresh_in_float64(settings, device):
        state = fresh(settings, device)
        state.learner.double()
        state.views.double()
        state.average.double()
        return state

    monkeypatch.setattr(RunState, "fresh", fresh_in_float64)


def views_by_hand(
    anchor: torch.Tensor, positive: torch.Tensor, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-mels of x, x' and x-hat, one after the other, and the ratios of x-hat."""
    ratio = 0.8 + 0.4 * torch.rand(len(anchor), generator=torch.Generator().manual_seed(seed))
    front_end = FrontEnd(SETTINGS.model).double()
    x, x_prime = (front_end.power(segment.double() / 32768) for segment in (anchor, positive))
    return front_end.log_mel(torch.cat([x, x_prime, warp_frequency(x, ratio)])), ratio


def loss_by_hand(learner: Learner, h: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """Equation 7 and the cross-view loss, of one W, on h of x, x' and x-hat."""
    w, heads = learner.loss.clip_similarity.weight, learner.heads
    x, x_prime, x_hat = h.chunk(3)
    own, place = torch.arange(len(x)), torch.arange(3).repeat(len(x))
    clip = F.cross_entropy(heads.clip(x.mean(1)) @ w @ heads.clip(x_prime.mean(1)).T, own)
    frames = [heads.frame(h) for h in (x, x_prime, x_hat)]
    frame = sum(F.cross_entropy((z @ w @ z.mT).flatten(0, 1), place) for z in frames) / 3
    pitch = (heads.pitch(x_hat) - heads.pitch(x))[..., 0]
    scores = frames[0].flatten(0, 1) @ w @ frames[2].flatten(0, 1).T
    cross_view = F.cross_entropy(scores, torch.arange(len(scores)))
    return clip + 0.5 * frame + 2 * (pitch - (ratio[:, None] - 1)).square().mean() + 0.25 * cross_view


def test_two_steps_of_train_are_those_of_a_loop_by_hand(in_float64, tmp_path):
    """Views, losses, clipping, rate, AdamW, moving average, running statistics: all parameters equal."""
    assert train.train(SETTINGS, Segments(), tmp_path) == 0
    checkpoint = load_checkpoint(tmp_path)

    torch.manual_seed(3)
    learner = Learner(SETTINGS).double().train()
    moments = {name: [torch.zeros_like(p), torch.zeros_like(p)] for name, p in learner.named_parameters()}
    average: dict[str, torch.Tensor] = {}
    for number in range(2):
        seed = step_seed(3, number, 0)
        log_mel, ratio = views_by_hand(*segments(number), seed)
        torch.manual_seed(seed)
        learner.zero_grad()
        loss_by_hand(learner, learner.encoder(log_mel), ratio).backward()
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in learner.parameters()))
        # A tenth of a budget of two steps is no whole step, so the second one is past the warm-up.
        rate = 0.01 * (0.25 if number == 0 else 1) * 0.5 * (1 + math.cos(math.pi * number / 2))
        with torch.no_grad():
            for name, p in learner.named_parameters():
                gradient, (first, second) = p.grad * min(1, 0.5 / norm), moments[name]
                first.mul_(0.9).add_(0.1 * gradient)
                second.mul_(0.999).add_(0.001 * gradient.square())
                p.mul_(1 - rate * (0.1 if p.dim() >= 2 else 0))
                unbiased = (second / (1 - 0.999 ** (number + 1))).sqrt()
                p.sub_(rate * first / (1 - 0.9 ** (number + 1)) / (unbiased + 1e-8))
        assert norm > 0.5
        for name, value in learner.state_dict().items():
            average[name] = value.clone() if number == 0 else 0.75 * average[name] + 0.25 * value
    for name, value in learner.state_dict().items():
        torch.testing.assert_close(checkpoint["learner"][name], value, rtol=1e-6, atol=1e-9, msg=name)
        if value.is_floating_point():
            torch.testing.assert_close(
                checkpoint["average"][f"module.{name}"], average[name], rtol=1e-6, atol=1e-9, msg=name
            )


def test_validation_is_the_mean_over_clips_in_inference_mode(in_float64):
    state = RunState.fresh(SETTINGS, torch.device("cpu"))
    for norm in state.validated.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_var.fill_(0.05)
    before = {name: value.clone() for name, value in state.validated.state_dict().items()}
    found = validate(state, Segments())
    assert state.validated.training
    assert all(torch.equal(value, before[name]) for name, value in state.validated.state_dict().items())
    learner, losses = state.validated.eval(), []
    for number in range(2):
        log_mel, ratio = views_by_hand(*segments(50 + number, 3), step_seed(3, number, 0x76616C))
        with torch.no_grad():
            losses.append(float(loss_by_hand(learner, learner.encoder(log_mel), ratio)))
    assert found["loss"] == pytest.approx(sum(losses) / 2, rel=1e-9)
    state.step = 7  # the same segments and x-hat every time
    assert found == validate(state, Segments())


def test_a_step_takes_the_mean_of_the_losses_of_its_parts(in_float64):
    state = RunState.fresh(replace(SETTINGS, accumulate=2, drop_connect_rate=0.0), torch.device("cpu"))
    log_mel, ratio = views_by_hand(*segments(0), step_seed(3, 0, 0))
    with torch.no_grad():
        views = state.learner.encoder(log_mel).chunk(3)
        halves = [
            loss_by_hand(state.learner, torch.cat([view[rows] for view in views]), ratio[rows])
            for rows in (slice(0, 2), slice(2, 4))
        ]
    metrics, _ = step.take_step(state, segments(0), 0.01)
    assert float(metrics["loss"]) == pytest.approx(float(sum(halves)) / 2, rel=1e-9)


def test_running_statistics_move_by_the_momentum_of_the_settings():
    learner, seen = Learner(Settings(steps=1, batch_norm_momentum=0.25)).train(), []
    norm = learner.encoder.network._bn0
    norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    learner(torch.randn(2, 64, 96, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(norm.running_mean, 0.25 * seen[0].mean((0, 2, 3)))


def test_parts_of_a_batch_have_a_loss_each():
    learner = Learner(Settings(steps=1, drop_connect_rate=0)).double().eval()
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(24, 3, 512, generator=generator, dtype=torch.float64)
    ratio = torch.linspace(0.8, 1.2, 8, dtype=torch.float64)
    loss, metrics = learner.losses(h, Augmentation(ratio=ratio), parts=2)
    halves = [torch.cat([view[rows] for view in h.chunk(3)]) for rows in (slice(0, 4), slice(4, 8))]
    expected = [
        learner.losses(half, Augmentation(ratio=part))[0]
        for half, part in zip(halves, ratio.chunk(2), strict=True)
    ]
    mean = float(sum(half.detach() for half in expected)) / 2
    assert float(loss.detach()) == float(metrics["loss"]) == pytest.approx(mean, rel=1e-12)


def test_export_measures_levels_on_the_anchors_of_the_first_batches(monkeypatch, tmp_path):
    """The moving average is what is exported, and its levels are measured over a known draw."""
    run, out = tmp_path / "run", tmp_path / "w.safetensors"
    train.train(SETTINGS, Segments(), run)
    monkeypatch.setattr(export, "open_source", lambda *_, **__: Segments())
    monkeypatch.setattr(export, "LEVEL_SEGMENTS", 2 * CLIPS)
    monkeypatch.setattr(export, "LEVEL_BATCH", CLIPS)
    export.export(run, out)
    weights, averaged = load_weights(out), load_checkpoint(run)["average"]
    for name, value in weights.encoder.state_dict().items():
        assert torch.equal(value, averaged[f"module.encoder.{name}"]), name
    anchors = torch.cat([segments(0)[0], segments(1)[0]]).float() / 32768
    expected = measure_levels(weights.encoder, FrontEnd(SETTINGS.model)(anchors))
    torch.testing.assert_close(weights.levels.mean, expected.mean)
    torch.testing.assert_close(weights.levels.std, expected.std)


def test_the_checkpoint_of_a_diverged_run_is_the_one_before(monkeypatch, tmp_path: Path):
    """A gradient that is not finite changes nothing."""
    state = RunState.fresh(SETTINGS, torch.device("cpu"))
    before = {name: value.clone() for name, value in state.learner.named_parameters()}
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(math.nan))
    with pytest.raises(step.NotFiniteError, match="step 0"):
        step.take_step(state, segments(0), 0.1)
    assert state.step == 0
    assert all(torch.equal(value, before[name]) for name, value in state.learner.named_parameters())


def test_compiled_learner_learns_the_same_and_keeps_the_names_of_its_parameters(monkeypatch):
    """Traced and run without a compiler, which would take a minute."""
    traced = []

    def backend(graph, inputs):
        traced.append(graph)
        return graph.forward

    compile_in_place = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **given: compile_in_place(self, backend=backend, **given)
    )
    plain = replace(SETTINGS, drop_connect_rate=0.0, ema_decay=0.0)
    states = [RunState.fresh(each, torch.device("cpu")) for each in (plain, replace(plain, compile=True))]
    metrics = [step.take_step(state, segments(0), 0.01)[0] for state in states]
    assert traced, "nothing was compiled"
    count_of_training = len(traced)
    assert float(metrics[0]["loss"]) == pytest.approx(float(metrics[1]["loss"]), rel=1e-5)
    expected, found = (state.learner.state_dict() for state in states)
    assert list(found) == list(expected)
    torch.testing.assert_close(dict(found), dict(expected), rtol=1e-3, atol=1e-3)
    validated = [validate(state, Segments()) for state in states]
    assert len(traced) == count_of_training, "validation was compiled, too"
    assert validated[1]["loss"] == pytest.approx(validated[0]["loss"], rel=1e-3)
