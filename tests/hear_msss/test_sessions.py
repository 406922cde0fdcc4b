"""Sessions of ONNX Runtime in forked and spawned processes, in threads, copied and pickled."""

import copy
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from embedded import Embedded
from torch.utils.data import DataLoader

import hear_msss

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def audio():
    return torch.randn(3, 8_000, generator=torch.Generator().manual_seed(0)) / 10


@pytest.fixture(scope="module")
def torch_model():
    return hear_msss.load_model(backend="torch")


@pytest.fixture(scope="module")
def expected(audio, torch_model):
    return hear_msss.get_scene_embeddings(audio, torch_model)


@pytest.fixture(scope="module", autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(two_threads, audio):
    """One that has a session of two threads already."""
    model = hear_msss.load_model()
    hear_msss.get_scene_embeddings(audio[:1], model)
    assert model.fast_encoder._made.sessions.keys() == {2}
    return model


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_data_loader(model, torch_model, audio, expected, start, backend):
    chosen = {"auto": model, "torch": torch_model}[backend]
    loader = DataLoader(
        Embedded(audio, chosen), batch_size=3, num_workers=1, multiprocessing_context=start, timeout=240
    )
    (embeddings,) = loader
    torch.testing.assert_close(embeddings, expected, rtol=0, atol=1e-4)


FORKS = """
import gc, os, sys, torch, hear_msss
torch.set_num_threads(2)
model = hear_msss.load_model()
segments = torch.randn(2, 64, 96)
expected = model.encode(segments)
if not os.fork():
    same = torch.allclose(model.encode(segments), expected, rtol=0, atol=1e-5)
    model.fast_encoder = None
    gc.collect()
    sys.exit(0 if same else 1)  # the ordinary way out: whatever is left is destroyed
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


# The same without hear_msss: with torch 2.13.0+cu130, Python 3.14 and glibc 2.43 this child never ends.
TORCH_FORKS = """
import os, sys, torch
torch.set_num_threads(2)
torch.zeros(4_000_000).sin()
if not os.fork():
    sys.exit(0)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def ends(program: str, within_s: float) -> int | None:
    """Exit status of the program; None, and all its processes killed, where it did not end in time."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, start_new_session=True)
    try:
        return process.wait(timeout=within_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_computes_and_ends():
    status = ends(FORKS, 240)
    if status is None and ends(TORCH_FORKS, 60) is None:
        pytest.skip("a forked process of this torch alone does not end either")
    assert status == 0


def test_threads_share_a_model(model, audio, expected):
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda clip: hear_msss.get_scene_embeddings(clip[None], model)[0], audio))
    torch.testing.assert_close(torch.stack(found), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_and_pickles_travel_without_sessions(model, audio, expected, copied):
    other = copied(model)
    assert other.fast_encoder._made is None and other.fast_encoder.encoder is other.encoder
    torch.testing.assert_close(hear_msss.get_scene_embeddings(audio, other), expected, rtol=0, atol=1e-4)
    assert other.fast_encoder._made.sessions


def test_nothing_is_reported_to_anybody():
    """onnxruntime reads this once, when it is first imported."""
    code = "import os; from hear_msss.graphs.onnx_export import import_onnx; import_onnx(); "
    code += "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == "1\n"
