"""Layers of settings, their errors, and the schedule that follows from them."""

import math

import pytest
import torch
import yaml

from hear_msss.config import ModelConfig
from pretrain.budget import Budget
from pretrain.config_layers import layered, parse_assignment, read_config, shipped_configs
from pretrain.optimization import learning_rate, make_average, make_optimizer
from pretrain.settings import Settings


def test_shipped_configs():
    table = {"cola", "clip_frame", "clip_pitch", "full", "full_cosine"}
    folders = {"paper": "base", "cpu": "base", **dict.fromkeys(table, "paper"), "cross_view": "recipes"}
    assert folders.items() <= shipped_configs().items()
    assert {"filtered", "background"} <= set(shipped_configs())


def test_paper_is_the_recipe_of_section_3_2():
    paper = layered([read_config("paper")])
    assert (paper.epochs, paper.batch_size, paper.learning_rate) == (250, 1024, 1e-4)
    assert (paper.optimizer, paper.schedule, paper.warmup_steps) == ("adam", "constant", 0)
    assert (paper.alpha, paper.beta, paper.gamma, paper.frame_neighbors) == (1, 1, 0, 0)
    assert (paper.ratio_min, paper.ratio_max, paper.similarity) == (0.8, 1.2, "bilinear")
    assert (paper.weight_decay, paper.clip_gradient_norm, paper.ema_decay) == (0, 0, 0)
    assert paper.model == ModelConfig(n_fft=400)
    assert (paper.pitch_target, paper.shared_similarity) == ("ratio_minus_one", True)
    assert (paper.pass_per_view, paper.accumulate, paper.clip_pooling) == (True, 1, "average")


def test_authors_is_the_released_recipe():
    authors, paper = layered([read_config("authors")]), layered([read_config("paper")])
    differences = {name: value for name, value in authors.to_dict().items() if value != paper.to_dict()[name]}
    assert differences == {
        **{
            "epochs": None,
            "steps": 4000,
            "accumulate": 2,
            "chunk_segments": 512,
            "alpha": 0.01,
            "beta": 0.01,
        },
        **{"pitch_target": "authors", "positive_noise": 0.001, "clip_pooling": "maximum"},
        **{"frequency_pooling": "maximum", "normalize_h": False},
    }


@pytest.mark.parametrize("name", shipped_configs())
def test_every_shipped_config_makes_settings(name):
    base = [] if shipped_configs()[name] == "base" else [read_config("cpu")]
    layered([*base, read_config(name)])


@pytest.mark.parametrize("name", ["cola", "clip_frame", "clip_pitch", "full", "full_cosine"])
@pytest.mark.parametrize("base", ["paper", "cpu"])
def test_ablations_change_the_losses_only(name, base):
    plain, ablated = layered([read_config(base)]), layered([read_config(base), read_config(name)])
    a, b = plain.to_dict(), ablated.to_dict()
    changed = {key for key in a if a[key] != b[key]}
    assert changed <= {"alpha", "beta", "similarity", "temperature"}
    losses = {"cola": (0, 0), "clip_frame": (1, 0), "clip_pitch": (0, 1)}.get(name, (1, 1))
    assert (ablated.alpha, ablated.beta) == losses
    assert ablated.similarity == ("cosine" if name == "full_cosine" else "bilinear")


def test_later_layers_override_and_a_budget_replaces_the_one_before(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("learning_rate: 2e-4\nn_fft: 512\nseed: 7\n")
    settings = layered([read_config("cpu"), read_config(own), parse_assignment("steps=20")])
    assert (settings.learning_rate, settings.model.n_fft, settings.seed) == (2e-4, 512, 7)
    assert (settings.steps, settings.minutes) == (20, None)
    assert settings.optimizer == "adamw"


def test_resolved_settings_make_the_same_settings_again():
    layers = [read_config("cpu"), parse_assignment("corpus_weights={speech: 1, music: 2.5}")]
    settings = layered([*layers, parse_assignment("init_from=w.safetensors")])
    assert settings.corpus_weights == {"speech": 1.0, "music": 2.5}
    assert Settings.from_dict(yaml.safe_load(yaml.safe_dump(settings.to_dict()))) == settings


@pytest.mark.parametrize(
    "assignment, message",
    [
        ("batchsize=3", "did you mean batch_size"),
        ("n_mel=32", "did you mean n_mels"),
        ("xyzzy=1", "known are .*batch_size"),
        ("batch_size=many", "expected int"),
        ("batch_size=1e300", "expected int"),
        ("seed=-1", "0 or more"),
        ("learning_rate=.nan", "a finite number"),
        ("weight_decay=.inf", "a finite number"),
        ("log_mel_std=.nan", "a finite number"),
        ("log_mel_std=0", "above 0"),
        ("embedding_dim=1e9", "embedding_dim"),
        ("steps=[1", "not valid YAML"),
        ("batch_size=2.5", "expected int"),
        ("batch_size=true", "expected int"),
        ("recompute_chunks=1", "expected true or false"),
        ("corpus_weights=3", "expected a mapping"),
        ("learning_rate=0", "above 0"),
        ("optimizer=sgd", "adam, adamw"),
        ("pitch_target=cents", "semitones"),
        ("ratio_min=1.3", "ratio_max"),
        ("ratio_min=1.2", "the pitch loss learns nothing"),
        ("filter_db=-1", "0 or more"),
        ("accumulate=0", "at least 1"),
        ("clip_pooling=mean", "average, maximum"),
        ("frequency_pooling=mean", "'average' or 'maximum'"),
        ("device=gpu", "auto, cpu, cuda"),
        ("one_source_share=1", "below 1"),
        ("mix_share=1", "below 1"),
        ("n_fft=100", "win_length"),
        ("sample_rate=22050", "16000"),
        ("steps=0", "above 0"),
    ],
)
def test_wrong_settings_are_named(assignment, message):
    with pytest.raises(ValueError, match=message):
        layered([read_config("cpu"), parse_assignment(assignment)])


@pytest.mark.parametrize("name, value", [("gamma", 0.5), ("clip_x_hat", True)])
def test_a_loss_between_x_and_an_x_hat_that_equals_x_is_refused(name, value):
    same = {"beta": 0, "ratio_min": 1, "ratio_max": 1, name: value}
    with pytest.raises(ValueError, match=f"{name}=.*x-hat equals x"):
        layered([read_config("cpu"), same])
    for change in ({"filter_db": 3}, {"mix_share": 0.2}, {"random_gain_db": 6}, {"ratio_max": 1.1}):
        layered([read_config("cpu"), {**same, **change}])


def test_wrong_layers_are_named(tmp_path):
    with pytest.raises(ValueError, match="one of authors, cpu, gpu, paper, "):
        read_config("colla")
    with pytest.raises(ValueError, match="key=value"):
        parse_assignment("steps")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match="key: value"):
        read_config(tmp_path / "list.yaml")
    with pytest.raises(ValueError, match="exactly one of epochs, steps, minutes"):
        layered([{"steps": 3, "minutes": 4}])
    with pytest.raises(ValueError, match="exactly one of"):
        layered([{}])


def test_learning_rate_warms_up_and_falls_as_a_cosine():
    settings = Settings(steps=100, learning_rate=0.1, warmup_steps=10, schedule="cosine")
    rates = [learning_rate(settings, step, step / 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[4] == pytest.approx(0.05 * 0.5 * (1 + math.cos(math.pi * 0.04)))
    assert rates[50] == pytest.approx(0.05)
    assert rates[99] < 1e-4 and rates[9:] == sorted(rates[9:], reverse=True)
    short = Settings(steps=50, learning_rate=0.1, warmup_steps=100)  # over after a tenth of the budget
    assert learning_rate(short, 0, 0.0) == pytest.approx(0.001)
    assert learning_rate(short, 3, 3 / 50) == pytest.approx(0.06)
    assert [learning_rate(short, step, step / 50) for step in (5, 20, 49)] == [0.1] * 3
    constant = Settings(steps=100, learning_rate=0.1)
    assert {learning_rate(constant, step, step / 100) for step in range(100)} == {0.1}


def test_budgets():
    by_steps = Budget(Settings(steps=8), None)
    assert (by_steps.progress(2, 999.0), by_steps.left_s(2, 0.0, 1.5)) == (0.25, 9.0)
    by_epochs = Budget(Settings(epochs=2.5), 4)
    assert by_epochs.progress(10, 0.0) == 1
    by_minutes = Budget(Settings(minutes=2), None)
    assert (by_minutes.progress(5, 30.0), by_minutes.left_s(5, 30.0, 1.0)) == (0.25, 90.0)
    with pytest.raises(ValueError, match="steps or minutes"):
        Budget(Settings(epochs=1), None)


def test_only_matrices_decay():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    optimizer = make_optimizer(model, Settings(steps=1, optimizer="adamw", weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert [decay[id(p)] for p in model.parameters()] == [0.1, 0, 0, 0]


def test_average_of_weights_is_exponential():
    model = torch.nn.Linear(1, 1, bias=False)
    assert make_average(model, 0.0) is None
    average, values = make_average(model, 0.75), [3.0, 5.0, -1.0]
    for value in values:
        model.weight.data.fill_(value)
        average.update_parameters(model)
    expected = values[0]  # the first update copies
    for value in values[1:]:
        expected = 0.75 * expected + 0.25 * value
    assert average.module.weight.item() == pytest.approx(expected)
