"""Many files at once: each gets what it gets alone, in order, and a bad one costs itself alone."""

import itertools

import numpy as np
import pytest
import soundfile
import torch

import hear_msss
from hear_msss.collection import batching

RATE = 16_000
SECONDS = (0.01, 0.4, 0.975, 1.0, 2.6, 1.0, 7.3, 0.5)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("many"), np.random.default_rng(0)
    paths = []
    for number, seconds in enumerate(SECONDS):
        paths.append(folder / f"{number}.wav")
        noise = rng.standard_normal(round(seconds * RATE)) * 10 ** rng.uniform(-3, -1)
        soundfile.write(paths[-1], noise, RATE, subtype="FLOAT")
    return paths


@pytest.fixture(scope="module")
def model():
    return hear_msss.load_model(chunk_size=5, hop_ms=200)


def alone(path, model, timestamps):
    audio = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
    if timestamps:
        embeddings, times = hear_msss.get_timestamp_embeddings(audio, model)
        return embeddings[0].numpy(), times[0].numpy()
    return hear_msss.get_scene_embeddings(audio, model)[0].numpy(), None


@pytest.mark.parametrize("timestamps", [False, True])
def test_a_file_gets_what_the_api_gives_for_it_alone_whatever_its_neighbours(
    sounds, model, timestamps, monkeypatch
):
    monkeypatch.setattr(batching, "PIECE_S", 2)
    expected = {path: alone(path, model, timestamps) for path in sounds}
    large = hear_msss.load_model(chunk_size=64, hop_ms=200)
    for order, with_, decoders in [(sounds, model, 0), (sounds[::-1], model, 3), (sounds[2:], large, 1)]:
        files = list(hear_msss.embed_files(order, with_, timestamps=timestamps, decoders=decoders))
        assert [file.path for file in files] == order
        for file in files:
            embedding, times = expected[file.path]
            assert file.embedding.shape == embedding.shape and file.embedding.dtype == np.float32
            assert np.abs(file.embedding - embedding).max() < 1e-5
            assert (file.times_ms is None) if times is None else np.array_equal(file.times_ms, times)
            assert file.duration_s == pytest.approx(SECONDS[sounds.index(file.path)], abs=1e-4)


def test_short_files_fill_the_batches(sounds, model, monkeypatch):
    batches, encode = [], model.encode
    monkeypatch.setattr(model, "encode", lambda x: batches.append(len(x)) or encode(x))
    list(hear_msss.embed_files(sounds, model))
    assert batches[:-1] == [5] * (len(batches) - 1) and 0 < batches[-1] <= 5
    assert len(batches) > 3


def test_files_are_read_only_as_far_as_they_are_wanted(sounds, model):
    taken = []

    def endless():
        for number in itertools.count():
            taken.append(number)
            yield sounds[3]

    files = iter(hear_msss.embed_files(endless(), model))
    first = [next(files) for _ in range(7)]
    files.close()
    assert len(taken) < 7 + model.options.chunk_size + 4  # what is encoded together and decoded ahead
    assert all(np.array_equal(file.embedding, first[0].embedding) for file in first)


def test_bad_files_are_outcomes_by_name_and_the_others_arrays(sounds, model, tmp_path):
    bad = [tmp_path / "text.wav", tmp_path / "none.wav"]
    bad[0].write_text("no sound")
    mixed = [bad[0], *sounds[:2], bad[1], sounds[4]]
    result = hear_msss.embed_files(map(str, mixed), model).collect()
    assert result.paths == [*sounds[:2], sounds[4]] and result.embeddings.shape == (
        3,
        model.scene_embedding_size,
    )
    assert [file.path for file in result.bad] == bad
    assert "cannot be decoded" in result.bad[0].error and "No such file" in result.bad[1].error
    result = hear_msss.embed_files(mixed, model, timestamps=True).collect()
    assert [len(x) for x in result.embeddings] == [len(times) for times in result.times_ms] == [1, 3, 14]
    nothing = hear_msss.embed_files(bad, model).collect()
    assert nothing.embeddings.shape == (0, model.scene_embedding_size) and len(nothing.bad) == 2


def test_what_is_no_list_of_paths_is_refused(model):
    with pytest.raises(TypeError, match="expected several"):
        hear_msss.embed_files("a.wav", model)
    with pytest.raises(ValueError, match="decoders=-1"):
        hear_msss.embed_files([], model, decoders=-1)
