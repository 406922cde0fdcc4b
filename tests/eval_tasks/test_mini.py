"""The mini tasks as committed: layout, sizes, and labels that are true to the audio."""

import csv
import json

import numpy as np
import pytest
import soundfile as sf

from eval_tasks.mini import MINI_TASKS, TASKS_DIR, events, keywords, render
from eval_tasks.mini.hear_format import MiniClip, MiniTask, write_task
from eval_tasks.mini.tools import MissingTool, Preset, check_tools, play

SPLITS = ("train", "valid", "test")
RATE = 16000


def read(task, name):
    return json.loads((TASKS_DIR / task / name).read_text())


def audio_of(task, split, name):
    audio, rate = sf.read(TASKS_DIR / task / "16000" / split / name)
    assert rate == RATE
    return audio


def vocabulary(task):
    with (TASKS_DIR / task / "labelvocabulary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["idx"]) for row in rows] == list(range(len(rows)))
    return [row["label"] for row in rows]


def test_all_together_are_small():
    # heareval's runner takes all that lies in a folder of tasks for a task.
    assert {path.name for path in TASKS_DIR.iterdir()} == set(MINI_TASKS)
    assert sum(path.stat().st_size for path in TASKS_DIR.rglob("*") if path.is_file()) < 6e6


@pytest.mark.parametrize("task", MINI_TASKS)
def test_audio_and_labels_match(task):
    metadata, labels = read(task, "task_metadata.json"), vocabulary(task)
    assert f"{metadata['task_name']}-{metadata['version']}-{metadata['mode']}" == task
    samples = int(metadata["sample_duration"] * RATE)
    for split in SPLITS:
        files = read(task, f"{split}.json")
        assert {path.name for path in (TASKS_DIR / task / "16000" / split).iterdir()} == set(files)
        seen = set()
        for name, found in files.items():
            audio = audio_of(task, split, name)
            assert audio.shape == (samples,), name  # mono, and as long as the metadata say
            assert 0.05 < np.abs(audio).max() <= 1, name
            if metadata["embedding_type"] == "event":
                seen |= {event["label"] for event in found}
                assert all(0 <= e["start"] < e["end"] <= samples / RATE * 1000 for e in found)
            else:
                assert len(found) == 1
                seen |= set(found)
        assert seen == set(labels) if split == "train" else seen <= set(labels)


@pytest.mark.parametrize("task", MINI_TASKS)
def test_no_source_is_in_two_splits(task):
    with (TASKS_DIR / task / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    sources = {split: {row["source"] for row in rows if row["split"] == split} for split in SPLITS}
    assert all(sources.values())
    assert sum(map(len, sources.values())) == len(set.union(*sources.values()))
    for split in SPLITS:
        assert {row["file"] for row in rows if row["split"] == split} == set(read(task, f"{split}.json"))


def test_pitch_vocabulary_is_in_order_and_complete():
    assert vocabulary("mini_pitch-v1-small") == [str(pitch) for pitch in range(21, 109)]


def estimated_pitch(audio):
    """MIDI pitch by the highest peak of the autocorrelation, refined by a parabola."""
    audio = audio[1600:12800] - audio[1600:12800].mean()
    spectrum = np.abs(np.fft.rfft(audio, 1 << 15)) ** 2
    correlation = np.fft.irfft(spectrum)[:600]
    correlation /= len(audio) - np.arange(600)  # fewer products at longer lags
    lags = np.arange(RATE // 1200, 500)
    best = correlation[lags].max()
    # Multiples of the period are as good as the period: the shortest that is nearly as good counts.
    peaks = [
        lag
        for lag in lags
        if correlation[lag] > 0.9 * best and correlation[lag - 1] <= correlation[lag] >= correlation[lag + 1]
    ]
    left, middle, right = correlation[peaks[0] - 1 : peaks[0] + 2]
    lag = peaks[0] + 0.5 * (left - right) / (left - 2 * middle + right)
    return 69 + 12 * np.log2(RATE / lag / 440)


def test_notes_sound_at_the_pitch_of_their_label():
    errors = []
    for split in SPLITS:
        for name, (label,) in read("mini_pitch-v1-small", f"{split}.json").items():
            if 45 <= int(label) <= 80:
                errors.append(estimated_pitch(audio_of("mini_pitch-v1-small", split, name)) - int(label))
    errors = np.array(errors)
    assert len(errors) > 200
    # The estimator takes an overtone or half the pitch now and then, as such estimators do.
    assert np.mean(np.abs(errors) < 0.4) > 0.95
    assert abs(np.median(errors)) < 0.05


def energy_onset_ms(audio, around_ms):
    """Where the power, in windows of 2 ms, first rises above the 80 ms before and 2 % of the event's."""
    power = np.convolve(audio**2, np.ones(32) / 32)[: len(audio) : 16]
    centre = round(around_ms)
    floor = power[centre - 100 : centre - 20].mean()
    window = power[centre - 60 : centre + 80]
    return centre - 60 + int(np.argmax(window > 10 * floor + 0.02 * window.max()))


def test_event_onsets_agree_with_the_energy():
    errors, durations = [], []
    for split in SPLITS:
        for name, found in read("mini_events-v1-small", f"{split}.json").items():
            audio = audio_of("mini_events-v1-small", split, name)
            for event in found:
                durations.append(event["end"] - event["start"])
                others = [other for other in found if other is not event]
                if not any(other["start"] < event["start"] < other["end"] + 100 for other in others):
                    errors.append(energy_onset_ms(audio, event["start"]) - event["start"])
    assert len(errors) > 0.7 * len(durations)
    assert min(errors) > -3 and max(errors) < 10
    assert min(durations) >= 300  # heareval's predictions drop what is shorter than 125 or 250 ms


def test_words_are_there_for_every_speaker():
    for split in SPLITS:
        names = read("mini_keywords-v1-small", f"{split}.json")
        speakers = {name.split("-", 1)[1] for name in names}
        assert {f"{word}-{speaker}" for word in keywords.WORDS for speaker in speakers} == set(names)


def test_missing_tools_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingTool, match=r"espeak-ng, fluidsynth.*apt-get install"):
        check_tools()
    with pytest.raises(MissingTool):
        render.render(tmp_path)
    assert not any(tmp_path.iterdir())


def tone_task():
    clip = MiniClip("train", "a", 0.5 * np.sin(np.arange(RATE) * 0.3), ["x"], ("tone",))
    return MiniTask("tones", "scene", "multiclass", 1.0, ("top1_acc",), ["x", "y"], [clip])


def test_a_task_is_written_whole_or_not_at_all(tmp_path):
    folder = write_task(tone_task(), tmp_path)
    assert folder == tmp_path / "tones-v1-small"
    assert json.loads((folder / "train.json").read_text()) == {"a.ogg": ["x"]}
    with pytest.raises(FileExistsError, match="give another folder"):
        write_task(tone_task(), tmp_path)

    def broken():
        yield from tone_task().clips
        raise RuntimeError("the tool broke")

    task = MiniTask("broken", "scene", "multiclass", 1.0, ("top1_acc",), ["x"], broken())
    with pytest.raises(RuntimeError):
        write_task(task, tmp_path)
    assert not (tmp_path / "broken-v1-small").exists()


@pytest.fixture
def tools():
    try:
        check_tools()
    except MissingTool as missing:
        pytest.skip(str(missing))


def test_rendering_again_gives_the_committed_words(tools):
    """The first words of the seed's first speaker, as far as the codec lets one tell."""
    rng = np.random.default_rng([render.SEED, 0])
    made = keywords.clips(rng)
    for _ in range(2):
        clip = next(made)
        committed = audio_of("mini_keywords-v1-small", clip.split, f"{clip.name}.ogg")
        assert np.corrcoef(clip.audio, committed)[0, 1] > 0.95


def test_notes_come_when_they_are_asked_for(tools):
    first, second = play(Preset("GM", 0, 0), [(60, 100), (72, 100)], 900, 1000)
    assert len(first) == len(second) == RATE
    assert estimated_pitch(first) == pytest.approx(60, abs=0.4)
    assert estimated_pitch(second) == pytest.approx(72, abs=0.4)


def test_trimmed_strokes_begin_at_once():
    decay = np.exp(-np.arange(8000) / 1000) * np.sin(np.arange(8000) * 0.5)
    stroke = events.trimmed(np.concatenate([np.zeros(3000), decay]))
    assert np.argmax(np.abs(stroke) > 0.2) < 32
    assert 7900 < len(stroke) <= 8000
