"""The scene embedding of a short clip is the mean of windows around its middle, of which some are shifted."""

import pytest
import torch
import torch.nn.functional as F

import hear_msss
from hear_msss import windows
from hear_msss.config import ModelConfig

HOP, WINDOW = 160, 15_600  # samples
SHORTEST_LONG_CLIP = 17_680  # samples
SHIFT = 3  # mel bands


def noise(samples):
    return torch.randn(2, samples, generator=torch.Generator().manual_seed(samples)) / 10


def encode(windows_of_clips, bands):
    """h, ``(sounds, 512)``, of audio that is one window long, its log-mel shifted by hand."""
    assert windows_of_clips.shape[1] == WINDOW
    model = hear_msss.load_model("untrained")
    log_mel = model.log_mel(windows_of_clips)
    padded = F.pad(log_mel, (0, 0, SHIFT, SHIFT), mode="replicate")
    return model.encode(padded[:, SHIFT - bands :][:, :64]).mean(dim=1)


@pytest.mark.parametrize(
    ("samples", "count"),
    [(1, 3), (8_000, 2), (15_600, 5), (16_000, 3), (17_679, 4), (SHORTEST_LONG_CLIP, 5), (40_000, 5)],
)
def test_scene_is_the_mean_of_windows_cut_and_shifted_by_hand(samples, count):
    audio = noise(samples)
    model = hear_msss.load_model("untrained", short_clip_windows=count, short_clip_band_shift=SHIFT)
    cut = windows.scene_windows(samples, count, SHIFT, ModelConfig())
    shifts = [0, SHIFT, 0, -SHIFT, 0] if samples < SHORTEST_LONG_CLIP else [0] * 9
    zeros = F.pad(audio, (WINDOW, WINDOW))
    each = [
        encode(zeros[:, WINDOW - cut.before + start * HOP :][:, :WINDOW], shift)
        for start, shift in zip(cut.starts, shifts, strict=False)
    ]
    expected = torch.stack(each).mean(dim=0)
    torch.testing.assert_close(hear_msss.get_scene_embeddings(audio, model), expected, rtol=1e-4, atol=1e-4)


def test_no_timestamp_is_shifted():
    audio = noise(20_000)
    models = [hear_msss.load_model("untrained", short_clip_band_shift=shift) for shift in (0, 4)]
    a, b = (hear_msss.get_timestamp_embeddings(audio, model)[0] for model in models)
    assert torch.equal(a, b)


def test_longer_clips_do_not_depend_on_the_options():
    clip = noise(SHORTEST_LONG_CLIP)
    of_one, of_five = (
        hear_msss.get_scene_embeddings(
            clip, hear_msss.load_model("untrained", short_clip_windows=n, short_clip_band_shift=n)
        )
        for n in (1, 5)
    )
    assert torch.equal(of_one, of_five)


def test_a_shift_of_the_sound_changes_the_embedding_less():
    """What the option is for. The sound is 0.5 s of noise in 1 s of silence, 60 ms later the second time."""
    sound = noise(8_000)
    early, late = F.pad(sound, (3_000, 5_000)), F.pad(sound, (3_960, 4_040))
    changes = []
    for count in (1, 5):
        model = hear_msss.load_model(short_clip_windows=count, short_clip_band_shift=0)
        a, b = (hear_msss.get_scene_embeddings(x, model) for x in (early, late))
        changes.append(float((a - b).norm() / a.norm()))
    assert changes[1] < 0.9 * changes[0]


def test_a_shift_along_frequency_changes_the_embedding_less():
    """What ``short_clip_band_shift`` is for. A rough voice of 120 Hz, then with formants 12 % higher."""
    time_s = torch.arange(16_000) / 16_000
    voices = []
    for size in (1.0, 1.12):
        harmonic = torch.arange(1, 60)[:, None] * 120.0
        gain = sum(torch.exp(-(((harmonic - f * size) / 150) ** 2)) for f in (600, 1200, 2500))
        voices.append((gain * torch.sin(2 * torch.pi * harmonic * time_s)).sum(dim=0)[None] / 20)
    changes = []
    for shift in (0, 2):
        model = hear_msss.load_model(short_clip_band_shift=shift)
        a, b = (hear_msss.get_scene_embeddings(voice, model) for voice in voices)
        changes.append(float((a - b).norm() / a.norm()))
    assert changes[1] < 0.9 * changes[0], changes


@pytest.mark.parametrize("value", [0, 25, 2.0, True, "3"])
def test_bad_count(value):
    with pytest.raises(ValueError, match=r"short_clip_windows=.*whole number from 1 to 24"):
        hear_msss.load_model("untrained", short_clip_windows=value)


@pytest.mark.parametrize("value", [-1, 17, 2.0, True, "2"])
def test_bad_shift(value):
    with pytest.raises(ValueError, match=r"short_clip_band_shift=.*whole number from 0 to 16"):
        hear_msss.load_model("untrained", short_clip_band_shift=value)
