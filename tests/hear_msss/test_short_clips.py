"""The scene embedding of a clip as short as a window is the mean of some windows around its middle."""

import pytest
import torch
import torch.nn.functional as F

import hear_msss
from hear_msss import windows
from hear_msss.config import ModelConfig

HOP, WINDOW = 160, 15_600  # samples


def noise(samples):
    return torch.randn(2, samples, generator=torch.Generator().manual_seed(samples)) / 10


def one_window(audio, **options):
    """A scene embedding of exactly one window's samples: nothing is shifted or padded."""
    assert audio.shape[1] == WINDOW
    model = hear_msss.load_model("untrained", short_clip_windows=1, **options)
    return hear_msss.get_scene_embeddings(audio, model)


@pytest.mark.parametrize("scene", ["mean", "frames"])
@pytest.mark.parametrize(("samples", "count"), [(1, 3), (8_000, 2), (15_600, 5), (16_000, 3), (17_679, 4)])
def test_short_clip_is_the_mean_of_windows_cut_by_hand(samples, count, scene):
    audio = noise(samples)
    model = hear_msss.load_model("untrained", short_clip_windows=count, features="h", scene=scene)
    zeros = F.pad(audio, (WINDOW, WINDOW))
    before, _ = windows.scene_margins(samples, count, ModelConfig())
    begin = windows.scene_starts(samples, count, ModelConfig())[0] * HOP - before
    cut = [zeros[:, WINDOW + begin + n * 8 * HOP :][:, :WINDOW] for n in range(count)]
    expected = torch.stack([one_window(x, features="h", scene=scene) for x in cut]).mean(dim=0)
    torch.testing.assert_close(hear_msss.get_scene_embeddings(audio, model), expected, rtol=1e-4, atol=1e-4)


def test_longer_clips_do_not_depend_on_the_option():
    clip = noise(17_680)
    of_one, of_five = (
        hear_msss.get_scene_embeddings(clip, hear_msss.load_model("untrained", short_clip_windows=n))
        for n in (1, 5)
    )
    assert torch.equal(of_one, of_five)


def test_a_shift_of_the_sound_changes_the_embedding_less():
    """What the option is for. The sound is 0.5 s of noise in 1 s of silence, 60 ms later the second time."""
    sound = noise(8_000)
    early, late = F.pad(sound, (3_000, 5_000)), F.pad(sound, (3_960, 4_040))
    changes = []
    for count in (1, 3):
        model = hear_msss.load_model(short_clip_windows=count)
        a, b = (hear_msss.get_scene_embeddings(x, model) for x in (early, late))
        changes.append(float((a - b).norm() / a.norm()))
    assert changes[1] < 0.9 * changes[0]


@pytest.mark.parametrize("value", [0, 13, 2.0, True, "3"])
def test_bad_count(value):
    with pytest.raises(ValueError, match=r"short_clip_windows=.*whole number from 1 to 12"):
        hear_msss.load_model("untrained", short_clip_windows=value)
