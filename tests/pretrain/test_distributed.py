"""Two gloo processes compute what one does."""

import importlib.util
import multiprocessing
import socket
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent
SCRIPT = HERE / "two_processes.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("two_processes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found(tmp_path_factory, script) -> list[dict]:
    """What each of two processes computed; forked, which spares them the imports."""
    out = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=script.run_as, args=(rank, 2, port, out)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    ended = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert ended == [0, 0]
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_every_shipped_config_is_compared(script):
    assert {"paper", "authors", "cpu", "gpu", "cola", "full_cosine", "cross_view"} <= set(script.CONFIGS)


def test_loss_and_gradient_of_two_processes_are_those_of_one(found, script):
    """For every shipped configuration, in float64; one of them with the whole encoder."""
    for config in [*script.CONFIGS, *script.BEYOND]:
        learner = script.make_learner(0, config)
        parts = learner.loss.settings.accumulate
        expected = script.gradients(learner, script.clips_of(0, 1, parts), script.Chunks())
        loss = expected.pop("loss")
        assert max(gradient.abs().max() for gradient in expected.values()) > 1e-3
        losses = [found[rank][config].pop("loss") for rank in (0, 1)]
        assert torch.stack(losses).mean().item() == pytest.approx(loss.item(), rel=1e-9), config
        for rank in (0, 1):
            gradients = found[rank][config]
            assert gradients.keys() == expected.keys()
            for name in expected:
                scale = expected[name].abs().max().item()
                close = torch.allclose(gradients[name], expected[name], rtol=1e-7, atol=1e-9 * scale + 1e-14)
                assert close, (config, name)


def test_a_step_of_two_processes_is_that_of_one(found, script):
    """Through ``take_step``: the gradients are averaged, and each process draws x-hat for itself."""
    steps = [found[rank]["step"] for rank in (0, 1)]
    assert not torch.equal(steps[0]["ratio"], steps[1]["ratio"])
    views = [torch.cat(pair) for pair in zip(*(step["log_mel"].chunk(3) for step in steps), strict=True)]
    log_mel, ratio = torch.cat(views), torch.cat([step["ratio"] for step in steps])
    state = script.fresh_state()
    loss, _ = state.learner.losses(state.learner(log_mel), script.Augmentation(ratio=ratio))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.learner.parameters(), 5)
    for group in state.optimizer.param_groups:
        group["lr"] = 0.01
    state.optimizer.step()
    for name, expected in state.learner.named_parameters():
        for step in steps:
            torch.testing.assert_close(step["parameters"][name], expected, rtol=1e-7, atol=1e-9, msg=name)


def test_running_statistics_are_averaged(found):
    assert [float(f["running_mean"]) for f in found] == [0.5, 0.5]


def test_rows_are_gathered_in_order_of_rank(found):
    for f in found:
        assert f["gathered"].flatten().tolist() == [0, 0, 1, 1]


def test_processes_agree(found):
    assert [f["largest"] for f in found] == [[2.0, 5.0]] * 2
