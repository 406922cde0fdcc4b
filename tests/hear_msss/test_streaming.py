"""Files read block by block give what the API gives for the whole clip."""

import numpy as np
import pytest
import soundfile
import soxr
import torch

import hear_msss
from hear_msss import streaming
from hear_msss.collection import batching
from hear_msss.collection.batching import embed_clips
from hear_msss.collection.sources import Decoded, FileSource
from hear_msss.streaming import decode_clip, open_clip


def noise(samples, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((samples, channels)) / 10).astype(np.float32)


def embedded(path, model, timestamps):
    """Rows and times of a file, piece by piece."""
    item = Decoded(FileSource(str(path)), decode_clip(path, 16_000))
    return [(rows.embeddings, rows.times_ms) for _, rows in embed_clips([item], model, timestamps)]


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(batching, "PIECE_S", 1)
    monkeypatch.setattr(streaming, "IN_MEMORY_BYTES", 100_000)


@pytest.mark.parametrize(
    "rate, channels, suffix, samples",
    [
        (16_000, 1, "wav", 1),
        (16_000, 1, "flac", 112_345),
        (44_100, 2, "wav", 220_500),
        (48_000, 3, "ogg", 300_001),
    ],
)
def test_the_clip_equals_soundfile_and_soxr_in_one_go(tmp_path, rate, channels, suffix, samples):
    path = tmp_path / f"clip.{suffix}"
    soundfile.write(path, noise(samples, channels), rate)
    mono = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1)
    expected = soxr.resample(mono, rate, 16_000, quality="HQ") if rate != 16_000 else mono
    with open_clip(path, 16_000, tmp_path) as clip:
        assert clip.samples == len(expected)
        whole = clip.read(-10, clip.samples + 10)[0].numpy()
        assert np.abs(whole[10:-10] - expected).max() < 1e-6
        assert not whole[:10].any() and not whole[-10:].any()
        assert np.array_equal(clip.read(3, 9)[0], whole[13:19])
        assert not clip.read(clip.samples + 5, clip.samples + 9).any()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "options",
    [
        {"hop_ms": 200, "scene": "mean_max"},
        {"hop_ms": 80, "timestamp": "middle_mean", "scene": "mean"},
        {"hop_ms": 70, "encode_every": 3, "scene": "frames"},
    ],
)
@pytest.mark.parametrize("samples", [1, 9000, 32_000, 16_000 * 9 + 77])
def test_embeddings_equal_the_api_for_the_whole_clip(tmp_path, options, samples):
    model = hear_msss.load_model("untrained", **options)
    audio = noise(samples)
    path = tmp_path / "clip.wav"
    soundfile.write(path, audio, 16_000, subtype="FLOAT")
    expected, expected_ms = hear_msss.get_timestamp_embeddings(torch.from_numpy(audio.T.copy()), model)
    scene = hear_msss.get_scene_embeddings(torch.from_numpy(audio.T.copy()), model)
    blocks, times = zip(*embedded(path, model, True), strict=True)
    assert len(blocks) == 1 if samples < 32_000 else len(blocks) > 1 or samples == 32_000
    # The order of sums depends on how many windows go through the encoder together: the tolerance
    # is that of rounding in an untrained network, whose values lie in (-1, 1).
    assert np.abs(np.concatenate(blocks) - expected[0].numpy()).max() < 5e-5
    assert np.array_equal(np.concatenate(times), expected_ms[0].numpy())
    [(written, _)] = embedded(path, model, False)
    assert np.abs(written - scene.numpy()).max() < 5e-5


def test_what_is_no_sound_is_refused_with_words(tmp_path):
    with pytest.raises(ValueError, match="No such file"), open_clip(tmp_path / "none.wav", 16_000):
        pass
    text = tmp_path / "text.wav"
    text.write_text("no sound at all")
    with pytest.raises(ValueError, match="cannot be decoded"), open_clip(text, 16_000):
        pass
    empty = tmp_path / "empty.wav"
    soundfile.write(empty, noise(0), 16_000)
    with pytest.raises(ValueError, match="no samples"), open_clip(empty, 16_000):
        pass
    hot = tmp_path / "nan.wav"
    samples = noise(80_000)
    samples[70_000] = np.nan
    soundfile.write(hot, samples, 16_000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"nan.wav: holds NaN .* at 4.375 s"), open_clip(hot, 16_000):
        pass


def test_what_a_file_lacks_is_a_warning_of_the_clip(tmp_path):
    path = tmp_path / "cut.flac"
    soundfile.write(path, noise(160_000), 16_000)
    path.write_bytes(path.read_bytes()[:100_000])
    with open_clip(path, 16_000) as clip:
        assert 0 < clip.samples < 160_000
        assert any("its header announces 10.00 s of sound" in warning for warning in clip.warnings)
