"""Embeddings computed on a CUDA GPU against those of the CPU."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import soundfile
import torch
from torch.nn.functional import cosine_similarity

import hear_msss
from hear_msss import device
from hear_msss.__main__ import main
from hear_msss.cli import work

pytestmark = pytest.mark.cuda
CUDA = torch.device("cuda")


@pytest.fixture(scope="module")
def model():
    return hear_msss.load_model(hop_ms=200)


@pytest.fixture(scope="module")
def on_gpu():
    return hear_msss.load_model(hop_ms=200).to(CUDA)


def noise(clips: int, samples: int) -> torch.Tensor:
    return torch.randn(clips, samples, generator=torch.Generator().manual_seed(samples)) / 10


def embed(audio, model):
    scenes = hear_msss.get_scene_embeddings(audio, model)
    return scenes, *hear_msss.get_timestamp_embeddings(audio, model)


def assert_equal(found, expected, within=1e-4):
    for one, other in zip(found, expected, strict=True):
        assert one.is_cuda and one.dtype == torch.float32
        largest = max(1.0, float(other.abs().max()))
        torch.testing.assert_close(one.cpu(), other, rtol=0, atol=within * largest)


def assert_alike(found, expected):
    """Rounded to a few bits of a mantissa in every layer, embeddings still point the same way."""
    for one, other in zip(found[:2], expected[:2], strict=True):
        assert one.is_cuda and one.dtype == torch.float32
        assert cosine_similarity(one.cpu(), other, dim=-1).min() > 0.99
        assert not torch.equal(one.cpu(), other)


@pytest.mark.parametrize(("clips", "samples"), [(1, 1), (3, 799), (2, 12_000), (1, 48_017), (5, 16_001)])
def test_odd_lengths_are_equal(model, on_gpu, clips, samples):
    audio = noise(clips, samples)
    assert_equal(embed(audio.to(CUDA), on_gpu), embed(audio, model))


@pytest.mark.parametrize("chunk_size", [1, 7])
def test_many_batches_are_equal(model, chunk_size):
    audio = noise(2, 40_000)
    parts = hear_msss.load_model(hop_ms=200, chunk_size=chunk_size).to(CUDA)
    assert_equal(embed(audio.to(CUDA), parts), embed(audio, model))


@pytest.mark.parametrize(
    "options",
    [
        {"features": "h"},
        {"features": "h+blocks+log_mel"},
        {"whole_clip": True, "scene": "mean"},
        {"encode_every": 4},
        {"scene": "mean_max", "timestamp": "middle_mean"},
    ],
)
def test_every_kind_of_embedding_is_equal(options):
    audio, options = noise(2, 30_001), {"hop_ms": 100, **options}
    expected = embed(audio, hear_msss.load_model(**options))
    assert_equal(embed(audio.to(CUDA), hear_msss.load_model(**options).to(CUDA)), expected)


def test_a_model_that_was_moved_there_and_back_answers_as_before(model):
    audio = noise(1, 12_000)
    back = hear_msss.load_model(hop_ms=200).to(CUDA).to("cpu")
    for one, other in zip(embed(audio, back), embed(audio, model), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("user", ["highest", "high"])
def test_full_float32_whatever_the_flags_say(model, on_gpu, user):
    audio, before = noise(2, 12_000), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(user)
    try:
        assert_equal(embed(audio.to(CUDA), on_gpu), embed(audio, model))
        assert torch.get_float32_matmul_precision() == user
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0), reason="no TF32 before Ampere"
)
def test_tf32_is_close(model):
    audio = noise(2, 12_000)
    rounded = hear_msss.load_model(hop_ms=200, precision="tf32").to(CUDA)
    found, expected = embed(audio.to(CUDA), rounded), embed(audio, model)
    assert_alike(found, expected)
    assert not torch.allclose(found[0].cpu(), expected[0], rtol=0, atol=2e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close(model, precision):
    audio = noise(2, 12_000)
    half = hear_msss.load_model(hop_ms=200, precision=precision).to(CUDA)
    assert_alike(embed(audio.to(CUDA), half), embed(audio, model))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_embeddings_stay_float32_and_the_log_mel_exact(model, on_gpu, dtype):
    audio = noise(2, 12_000)
    expected = on_gpu.log_mel(audio.to(CUDA))
    with torch.autocast("cuda", dtype=dtype):
        found = embed(audio.to(CUDA), on_gpu)
        log_mel = on_gpu.log_mel(audio.to(CUDA))
    assert_alike(found, embed(audio, model))
    torch.testing.assert_close(log_mel, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_another_default_dtype_changes_nothing(model, dtype):
    audio = noise(1, 12_000)
    expected = embed(audio, model)
    with device.default_dtype(dtype):
        found = embed(audio.to(CUDA), hear_msss.load_model(hop_ms=200).to(CUDA))
    assert_equal(found, expected)


def test_data_parallel_is_equal(model):
    audio = noise(4, 12_000)
    wrapped = torch.nn.DataParallel(hear_msss.load_model(hop_ms=200).to(CUDA))
    assert_equal(embed(audio.to(CUDA), wrapped), embed(audio, model))


def test_memory_is_bounded_by_the_windows_at_once(on_gpu):
    """Ten minutes take 12 000 windows of 1.5 MB each: 18 GB, were they encoded at once."""
    audio = noise(1, 16_000 * 600).to(CUDA)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    model = hear_msss.load_model(hop_ms=50).to(CUDA)
    assert torch.isfinite(hear_msss.get_timestamp_embeddings(audio, model)[0]).all()
    assert torch.cuda.max_memory_allocated() - before < 4e9


@pytest.mark.parametrize("more", [[], ["--timestamps"]])
def test_embed_writes_what_the_cpu_writes(tmp_path, more):
    for name, samples in (("a", 12_000), ("b", 40_001)):
        soundfile.write(tmp_path / f"{name}.wav", noise(1, samples)[0].numpy(), 16_000)
    found = {}
    for where in ("cpu", "cuda"):
        work.model_of.cache_clear()
        words = ["embed", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "--device", where, *more]
        assert main([*words, "--out", str(tmp_path / where)]) == 0
        files = sorted((tmp_path / where).rglob("*.npy"))
        found[where] = {file.relative_to(tmp_path / where): np.load(file) for file in files}
    work.model_of.cache_clear()
    assert found["cpu"].keys() == found["cuda"].keys() and found["cpu"]
    for name, expected in found["cpu"].items():
        np.testing.assert_allclose(found["cuda"][name], expected, rtol=0, atol=1e-4)


@pytest.mark.skipif(not shutil.which("gcc"), reason="torch.compile needs a C compiler")
def test_compiled_is_equal(model, on_gpu):
    """The compiler fuses and reorders sums, in the full float32."""
    audio = noise(2, 12_000)
    compiled = torch.compile(on_gpu)
    found = hear_msss.get_scene_embeddings(audio.to(CUDA), compiled)
    assert_equal([found], [hear_msss.get_scene_embeddings(audio, model)], 1e-3)
