"""WebDataset shards behind the interface of a packed corpus; clips hold their number in every sample."""

from __future__ import annotations

import functools
import http.server
import io
import threading
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from webdataset import TarWriter

from pretrain.corpus.open import open_source
from pretrain.corpus.shards import ShardSource, expand

SEGMENT = 1000
SHARDS, CLIPS_OF_SHARD = 6, 10
TOTAL = SHARDS * CLIPS_OF_SHARD


def encoded(samples: np.ndarray, rate: int = 16000, kind: str = "FLAC") -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=kind)
    return out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Shards of FLAC clips whose samples are 100 + their number, with metadata beside them."""
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(SHARDS):
        with TarWriter(str(folder / f"clips-{shard:02}.tar")) as out:
            for number in range(shard * CLIPS_OF_SHARD, (shard + 1) * CLIPS_OF_SHARD):
                samples = np.full(16000 + 800 * (number % 3), 100 + number, dtype=np.int16)
                out.write({"__key__": f"x/clip{number:04}", "flac": encoded(samples), "json": {"n": number}})
    return folder


def clips_of(segments: torch.Tensor) -> list[int]:
    assert segments.dtype == torch.int16 and (segments == segments[:, :1]).all()
    return (segments[:, 0] - 100).tolist()


def draw(source, steps: int, first_step: int = 0, batch_size: int = 8, seed: int = 3, **ranks: int):
    stream = source.batches(
        batch_size=batch_size, segment_samples=SEGMENT, seed=seed, first_step=first_step, **ranks
    )
    return list(islice(stream, steps))


def same(one, other) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b) and torch.equal(c, d) for (a, c), (b, d) in zip(one, other, strict=True)
    )


def test_batches_are_pairs_of_segments_of_one_clip(folder):
    for anchor, positive in draw(open_source(folder), 15):
        assert anchor.shape == positive.shape == (8, SEGMENT)
        assert clips_of(anchor) == clips_of(positive)
        assert len(set(clips_of(anchor))) == 8


def test_epochs_have_each_clip_once_in_a_new_order(folder):
    source = open_source(folder, validation_fraction=0.0)
    seen = [n for anchor, _ in draw(source, 2 * TOTAL // 10, batch_size=10) for n in clips_of(anchor)]
    assert sorted(seen[:TOTAL]) == sorted(seen[TOTAL:]) == list(range(TOTAL))
    assert seen[:TOTAL] != seen[TOTAL:] != sorted(seen[TOTAL:])
    # Shuffled across shards, not in them alone: the first batch is of several.
    assert len({number // CLIPS_OF_SHARD for number in seen[:10]}) > 2


def test_segments_move_within_the_clip(tmp_path):
    ramp = np.arange(1, 8001, dtype=np.int16)
    with TarWriter(str(tmp_path / "a.tar")) as out:
        out.write({"__key__": "ramp", "wav": encoded(ramp, kind="WAV")})
    stream = open_source(tmp_path, validation_fraction=0.0).batches(
        batch_size=1, segment_samples=6000, seed=0
    )
    pairs = list(islice(stream, 200))
    for segment in (view[0].numpy() for pair in pairs for view in pair):
        np.testing.assert_array_equal(segment, np.arange(segment[0], segment[0] + 6000))
    starts = np.array([[int(view[0, 0]) for view in pair] for pair in pairs])
    assert starts.min() < 60 and starts.max() > 1940
    assert abs(np.corrcoef(starts[:, 0], starts[:, 1])[0, 1]) < 0.3


def test_resuming_at_a_step_gives_the_same_batches(folder):
    straight = draw(open_source(folder), 20)
    assert same(straight[13:], draw(open_source(folder), 7, first_step=13))
    assert not same(straight, draw(open_source(folder), 20, seed=4))


def test_ranks_never_have_the_same_clip(folder):
    source = open_source(folder)
    parts = [draw(source, 20, batch_size=4, rank=rank, world_size=3) for rank in range(3)]
    numbers = [{n for anchor, _ in part for n in clips_of(anchor)} for part in parts]
    assert not numbers[0] & numbers[1] and not numbers[0] & numbers[2] and not numbers[1] & numbers[2]
    for step in range(20):
        assert len({n for part in parts for n in clips_of(part[step][0])}) == 12
    assert set.union(*numbers) == {n for anchor, _ in draw(source, 40) for n in clips_of(anchor)}
    with pytest.raises(ValueError, match="6 shards for 7 processes"):
        draw(source, 1, world_size=7)


def test_validation_is_held_out_and_always_the_same(folder):
    source = open_source(folder, validation_fraction=0.3)
    setting = {"batch_size": 4, "segment_samples": SEGMENT, "seed": 0}
    first = list(source.validation(**setting))
    assert same(first, list(source.validation(**setting)))
    assert same(first, list(open_source(folder, validation_fraction=0.3).validation(**setting)))
    held = [n for anchor, _ in first for n in clips_of(anchor)]
    trained = {n for anchor, _ in draw(source, 60, batch_size=4) for n in clips_of(anchor)}
    assert len(held) == len(set(held)) and not trained & set(held)
    assert 0.1 * TOTAL < len(held) < 0.5 * TOTAL and TOTAL - len(held) - len(trained) < 4
    assert list(open_source(folder, validation_fraction=0.0).validation(**setting)) == []


def test_fewer_clips_than_a_batch_come_again(folder):
    source = open_source(folder / "clips-00.tar", validation_fraction=0.0)
    for anchor, _ in draw(source, 3, batch_size=25):
        assert np.bincount(clips_of(anchor)).min() >= 1


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_segments_at_other_rates_are_cut_from_the_whole_clip_resampled(tmp_path, rate):
    time_s = np.arange(3 * rate) / rate
    chirp = 0.4 * np.stack([np.sin(700 * time_s**2), np.sin(1900 * time_s**2)], axis=1)
    data = encoded(chirp, rate, "WAV")
    with TarWriter(str(tmp_path / "a.tar")) as out:
        out.write({"__key__": "x", "wav": data})
    mono = soundfile.read(io.BytesIO(data), dtype="float32")[0].mean(axis=1)
    whole = np.rint(soxr.resample(mono, rate, 16000, quality="HQ") * 32768).astype(np.int16)
    windows = np.lib.stride_tricks.sliding_window_view(whole, SEGMENT)
    for views in draw(open_source(tmp_path, validation_fraction=0.0), 3, batch_size=1):
        for view in views:
            assert (windows == view[0].numpy()).all(axis=1).sum() == 1


def test_odd_clips_are_read_to_their_end_or_left_out_with_the_words_of_the_reader(odd_sounds, tmp_path):
    odd = {f"x{n:03}": (path, right) for n, (path, right) in enumerate(odd_sounds.items()) if path.is_file()}
    with TarWriter(str(tmp_path / "a.tar")) as out:
        for key, (path, _) in odd.items():
            out.write({"__key__": key, path.suffix[1:]: path.read_bytes()})
    source = ShardSource(tmp_path, validation_fraction=0.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        batches = source.batches(batch_size=4, segment_samples=SEGMENT, seed=0)
        for _ in range(2 * len(odd) // 4):  # more than an epoch
            next(batches)
    said = [str(warning.message) for warning in caught]
    assert {key for _, key in source.left_out} == {key for key, (_, r) in odd.items() if r.seconds is None}
    for key, (_, right) in odd.items():
        assert not right.words or any(f"a.tar: {key}: " in text and right.words in text for text in said)
        assert sum(f"{key}: " in text and text.endswith("it is left out") for text in said) == (
            right.seconds is None
        )


def test_resuming_reads_one_epoch_and_skips_the_others(folder, monkeypatch):
    with TarWriter(str(folder.parent / "broken.tar")) as out:
        out.write({"__key__": "broken", "flac": b"none"})
    places = [*sorted(map(str, folder.glob("*.tar"))), str(folder.parent / "broken.tar")]
    location = "{" + ",".join(places) + "}"
    with pytest.warns(UserWarning, match="broken: .* it is left out"):
        straight = draw(open_source(location), 60)
    source = ShardSource(location)
    read, epochs = [], []
    read_clip, shuffled = ShardSource._read, ShardSource._shuffled

    def shuffled_epoch(self, seed, epoch, *ranks):
        epochs.append(epoch)
        return shuffled(self, seed, epoch, *ranks)

    monkeypatch.setattr(ShardSource, "_read", lambda self, clip: read.append(clip) or read_clip(self, clip))
    monkeypatch.setattr(ShardSource, "_shuffled", shuffled_epoch)
    with pytest.warns(UserWarning, match="broken: .* it is left out"):
        assert same(straight[57:], draw(source, 3, first_step=57))
    assert len(read) <= TOTAL + 1 + 3 * 8 and epochs == [0, 8]


def test_long_clips_give_both_segments_from_one_window_of_ten_seconds(tmp_path):
    ramp = np.arange(480000) // 16  # 30 s: each value tells the millisecond
    with TarWriter(str(tmp_path / "a.tar")) as out:
        out.write({"__key__": "long", "wav": encoded(ramp.astype(np.int16), kind="WAV")})
    pairs = draw(open_source(tmp_path, validation_fraction=0.0), 150, batch_size=1)
    starts = np.array([[int(view[0, 0]) for view in pair] for pair in pairs])
    assert np.abs(starts[:, 0] - starts[:, 1]).max() < 10_000
    assert starts.max() > 25_000 and starts.min() < 5_000


def test_short_clips_are_padded_and_too_short_or_broken_ones_left_out(tmp_path):
    with TarWriter(str(tmp_path / "a.tar")) as out:
        out.write({"__key__": "short", "flac": encoded(np.full(12000, 7, np.int16))})
        out.write({"__key__": "tiny", "flac": encoded(np.full(4000, 8, np.int16))})
        out.write({"__key__": "broken", "flac": b"no flac at all"})
        out.write({"__key__": "other", "txt": "no audio"})
    stream = ShardSource(tmp_path).batches(batch_size=2, segment_samples=15600, seed=0)
    with pytest.warns(UserWarning, match="a.tar: broken: cannot be decoded"):
        anchor, positive = next(stream)
    for row in torch.cat([anchor, positive]):
        assert int((row == 7).sum()) == 12000 and int((row == 0).sum()) == 3600


def test_patterns_folders_and_missing_shards(folder, tmp_path):
    names = [str(folder / f"clips-{number:02}.tar") for number in range(SHARDS)]
    assert expand(folder) == expand(f"{folder}/clips-{{00..05}}.tar") == names
    assert expand("https://host.example/a-{0..2}.tar")[2] == "https://host.example/a-2.tar"
    with pytest.raises(FileNotFoundError, match=r"clips-06\.tar"):
        open_source(f"{folder}/clips-{{00..06}}.tar")
    with pytest.raises(ValueError, match="weights"):
        open_source(folder, {"a": 1})
    with TarWriter(str(tmp_path / "empty.tar")) as out:
        out.write({"__key__": "a", "txt": "no audio"})
    with pytest.raises(ValueError, match="no clips to train on"):
        draw(open_source(tmp_path / "empty.tar"), 1)


def test_shards_stream_from_a_web_server(folder):

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = open_source(f"http://127.0.0.1:{server.server_port}/clips-{{00..05}}.tar")
        assert same(draw(source, 3), draw(open_source(folder), 3))
        server.shutdown()


def test_steps_and_summary(folder):
    source = open_source(folder)
    assert source.steps_per_epoch(8) is None
    summary = source.summary()
    assert summary["shards"] == SHARDS and summary["hash"] == open_source(folder).summary()["hash"]
    assert summary["hash"] != open_source(folder / "clips-00.tar").summary()["hash"]
