"""Batches from a packed corpus. Clips hold their own number in every sample, so that each segment tells
where it comes from."""

from __future__ import annotations

import multiprocessing
import pickle
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from pretrain.corpus.find import source_files
from pretrain.corpus.open import open_source
from pretrain.corpus.pack import pack
from pretrain.corpus.packed import PackedSource, held_out
from pretrain.corpus.sampling import Permuted, segment_places

SEGMENT = 1000  # samples; clips are 8000 to 32000
SOURCES = {"big": 60, "middle": 30, "small": 4}
TOTAL = sum(SOURCES.values())


def numbered(folder: Path, numbers: range, seconds: float = 1.0) -> None:
    """Files whose samples are all 100 + their number."""
    folder.mkdir(parents=True)
    for number in numbers:
        samples = np.full(round(16000 * (seconds + number % 3 / 2)), 100 + number, dtype=np.int16)
        soundfile.write(folder / f"{number:03}.wav", samples, 16000)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    root, first, files = tmp_path_factory.mktemp("numbered"), 0, []
    for name, clips in SOURCES.items():
        numbered(root / name, range(first, first + clips))
        files += source_files(str(root / name))
        first += clips
    pack(files, root / "corpus")
    return root / "corpus"


def clips_of(segments: torch.Tensor) -> list[int]:
    """The number of each row's clip; every sample of a row must agree."""
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


def test_anchor_and_positive_are_of_the_same_clip_and_fill_the_batch(corpus):
    for anchor, positive in draw(open_source(corpus), 20):
        assert anchor.shape == positive.shape == (8, SEGMENT)
        assert clips_of(anchor) == clips_of(positive)
        assert len(set(clips_of(anchor))) == 8


def test_an_epoch_is_a_permutation_of_the_clips(corpus):
    source = open_source(corpus, validation_fraction=0.0)
    steps = source.steps_per_epoch(8)
    assert steps == TOTAL // 8
    epochs = []
    for epoch in range(3):
        seen = [n for anchor, _ in draw(source, steps, first_step=epoch * steps) for n in clips_of(anchor)]
        assert len(seen) == len(set(seen)) == steps * 8
        epochs.append(seen)
    assert epochs[0] != epochs[1] != epochs[2]
    everything = {n for anchor, _ in draw(source, 40 * steps) for n in clips_of(anchor)}
    assert everything == set(range(TOTAL))


def test_resuming_at_a_step_gives_the_same_batches(corpus):
    for weights in (None, {"big": 1, "middle": 2, "small": 3}):
        source = open_source(corpus, weights)
        straight = draw(source, 30)
        assert same(straight[17:], draw(open_source(corpus, weights), 13, first_step=17))
        assert not same(straight, draw(source, 30, seed=4))


@pytest.mark.parametrize("weights", [None, {"big": 1, "middle": 1, "small": 1}])
def test_ranks_are_disjoint_parts_of_one_global_batch(corpus, weights):
    source = open_source(corpus, weights)
    whole = draw(source, 15, batch_size=12)
    parts = [draw(source, 15, batch_size=4, rank=rank, world_size=3) for rank in range(3)]
    for step, (anchor, positive) in enumerate(whole):
        assert torch.equal(anchor, torch.cat([part[step][0] for part in parts]))
        assert torch.equal(positive, torch.cat([part[step][1] for part in parts]))
        assert len(set(clips_of(anchor))) == 12


def test_sources_are_drawn_by_weight(corpus):
    weights = {"big": 0.0, "middle": 3.0, "small": 1.0}
    source = open_source(corpus, weights, validation_fraction=0.0)
    drawn = [n for anchor, _ in draw(source, 1000, batch_size=4) for n in clips_of(anchor)]
    assert min(drawn) >= SOURCES["big"]
    # 4000 draws: the standard deviation of the share is below 0.007. "small" cannot give more than
    # its 4 clips to a batch of 4, so that its share is not cut.
    assert np.mean(np.array(drawn) >= TOTAL - SOURCES["small"]) == pytest.approx(0.25, abs=0.03)
    counts = np.bincount(drawn, minlength=TOTAL)[SOURCES["big"] : TOTAL - SOURCES["small"]]
    assert counts.min() > 0.5 * counts.mean()


def test_share_beyond_a_sources_clips_goes_to_the_others(corpus):
    source = open_source(corpus, {"big": 1, "middle": 1, "small": 98}, validation_fraction=0.0)
    for anchor, _ in draw(source, 10, batch_size=20):
        numbers = clips_of(anchor)
        assert len(set(numbers)) == 20
        assert set(range(TOTAL - 4, TOTAL)) <= set(numbers)


@pytest.mark.parametrize("weights", [None, {"big": 0, "middle": 0, "small": 1}])
def test_batches_larger_than_the_corpus_repeat_evenly(corpus, weights):
    source = open_source(corpus, weights, validation_fraction=0.0)
    clips = 4 if weights else TOTAL
    assert source.steps_per_epoch(1000) == 1
    for anchor, _ in draw(source, 3, batch_size=2 * clips + 2):
        counts = np.bincount(clips_of(anchor), minlength=TOTAL)
        assert set(counts[counts > 0]) == {2, 3} and (counts > 0).sum() == clips


def source_of(clip: int) -> str:
    return "big" if clip < 60 else "middle" if clip < 90 else "small"


@pytest.mark.parametrize("weights", [None, {"big": 1, "middle": 3, "small": 1}])
def test_half_a_batch_is_of_one_source_and_the_rest_as_without(corpus, weights):
    plain = open_source(corpus, weights, validation_fraction=0.0)
    source = open_source(corpus, weights, validation_fraction=0.0, one_source_share=0.5)
    for (anchor, _), (without, _) in zip(draw(source, 100), draw(plain, 100), strict=True):
        clips, new = set(clips_of(anchor)), set(clips_of(anchor)) - set(clips_of(without))
        assert len(clips) == 8 and len({source_of(clip) for clip in new}) <= 1
        assert max(Counter(map(source_of, clips)).values()) >= 4
    assert source.steps_per_epoch(8) == plain.steps_per_epoch(8)
    assert same(draw(source, 5, first_step=3), draw(source, 8)[3:])
    parts = [draw(source, 4, batch_size=4, rank=rank, world_size=2) for rank in (0, 1)]
    for step, (anchor, _) in enumerate(draw(source, 4)):
        assert torch.equal(anchor, torch.cat([part[step][0] for part in parts]))


def test_the_one_source_is_drawn_as_often_as_its_clips(corpus):
    source = open_source(
        corpus, {"big": 1, "middle": 3, "small": 0}, validation_fraction=0.0, one_source_share=0.9
    )
    most = [Counter(n < 60 for n in clips_of(anchor)).most_common(1)[0][0] for anchor, _ in draw(source, 400)]
    assert np.mean(most) == pytest.approx(0.25, abs=0.08)  # of big: 400 draws have a deviation of 0.022


def test_wrong_weights_are_errors(corpus):
    with pytest.raises(ValueError, match=r"'midle'.*nearest: middle"):
        open_source(corpus, {"big": 1, "midle": 1, "small": 1})
    with pytest.raises(ValueError, match="no weight for small"):
        open_source(corpus, {"big": 1, "middle": 1})
    with pytest.raises(ValueError, match="at least 0"):
        open_source(corpus, {"big": 1, "middle": -1, "small": 1})
    with pytest.raises(ValueError, match="all weights are 0"):
        open_source(corpus, {"big": 0, "middle": 0, "small": 0})


def test_segments_are_uniform_over_the_clip_and_independent(tmp_path):
    ramp = np.arange(3000, dtype=np.int16) + 1  # each sample tells its place
    soundfile.write(tmp_path / "ramp.wav", np.concatenate([ramp, np.zeros(5000, np.int16)]), 16000)
    pack(source_files(str(tmp_path / "ramp.wav")), tmp_path / "corpus")
    stream = open_source(tmp_path / "corpus").batches(batch_size=50, segment_samples=6000, seed=0)
    places = np.array([[view[:, 0].numpy() for view in pair] for pair in islice(stream, 40)]) - 1
    anchors, positives = places[:, 0].ravel(), places[:, 1].ravel()
    # 2000 draws from 0..2000: extremes nearly reached, mean 1000 with a standard error of 13.
    for starts in (anchors, positives):
        assert 0 <= starts.min() < 30 and 1970 < starts.max() <= 2000
        assert starts.mean() == pytest.approx(1000, abs=60)
    assert abs(np.corrcoef(anchors, positives)[0, 1]) < 0.1


def test_both_ends_of_a_clip_can_be_reached():
    ends = segment_places(np.array([[0.0, 1 - 1e-12]]), np.array([100]), 40)
    assert ends.tolist() == [[0, 60]]
    assert segment_places(np.array([[0.0, 1 - 1e-12]]), np.array([30]), 40).tolist() == [[0, -10]]


def test_short_clips_are_padded_at_random(tmp_path):
    soundfile.write(tmp_path / "short.wav", np.full(8000, 7, np.int16) * 100, 16000)
    pack(source_files(str(tmp_path / "short.wav")), tmp_path / "corpus")
    stream = open_source(tmp_path / "corpus").batches(batch_size=64, segment_samples=9000, seed=0)
    anchor, positive = next(stream)
    starts = []
    for row in torch.cat([anchor, positive]):
        (places,) = torch.nonzero(row, as_tuple=True)
        assert len(places) == 8000 and int(places[-1] - places[0]) == 7999 and (row[places] == 700).all()
        starts.append(int(places[0]))
    assert min(starts) < 60 and max(starts) > 940 and len(set(starts)) > 100


def test_validation_is_held_out_fixed_and_by_file(tmp_path, corpus):
    source = open_source(corpus, validation_fraction=0.2)
    setting = {"batch_size": 4, "segment_samples": SEGMENT, "seed": 0}
    first = list(source.validation(**setting))
    assert same(first, list(open_source(corpus, validation_fraction=0.2).validation(**setting)))
    held = [n for anchor, _ in first for n in clips_of(anchor)]
    trained = {n for anchor, _ in draw(source, 500) for n in clips_of(anchor)}
    summary = source.summary()
    assert summary["training_clips"] + summary["validation_clips"] == TOTAL == summary["clips"]
    assert 0.08 * TOTAL < summary["validation_clips"] < 0.35 * TOTAL
    assert len(held) == len(set(held)) == summary["validation_clips"] // 4 * 4
    assert not trained & set(held) and len(trained) == summary["training_clips"]
    (whole,) = source.validation(batch_size=1000, segment_samples=SEGMENT, seed=0)
    assert len(whole[0]) == summary["validation_clips"]


def test_all_clips_of_a_file_are_on_one_side(tmp_path):
    for number in range(12):
        samples = np.random.default_rng(number).integers(-999, 999, 16000 * 25, dtype=np.int16)
        soundfile.write(tmp_path / f"{number}.wav", samples, 16000)
    pack(source_files(str(tmp_path)), tmp_path / "corpus")
    for fraction in (0.001, 0.3, 0.6):
        source = PackedSource(tmp_path / "corpus", validation_fraction=fraction)
        held = set(source.validation_clips)
        sides = [{number in held for number in range(first, first + 3)} for first in range(0, 36, 3)]
        assert all(len(side) == 1 for side in sides)
        assert {True} in sides and {False} in sides


def test_the_fraction_is_that_of_the_files():
    hashes = np.random.default_rng(0).integers(0, 2**64, 50_000, dtype=np.uint64)
    assert held_out(hashes, 0.02).mean() == pytest.approx(0.02, abs=0.003)
    assert held_out(hashes, 0.3).mean() == pytest.approx(0.3, abs=0.01)


def test_few_files_hold_nothing_out_rather_than_everything():
    hashes = np.array([5, 5, 9], dtype=np.uint64)
    assert not held_out(hashes, 0.02).any()
    assert not held_out(hashes, 0.0).any()
    with pytest.raises(ValueError, match="validation_fraction"):
        held_out(hashes, 1.0)


def first_batch(source) -> list[int]:
    return clips_of(draw(source, 1)[0][0])


def test_a_source_works_in_other_processes(corpus):
    source = open_source(corpus)
    expected = first_batch(source)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(first_batch, [source, source]).get(60) == [expected, expected]
    pickled = pickle.dumps(source)  # as a spawned process gets it
    assert first_batch(pickle.loads(pickled)) == expected
    assert len(pickled) < 100_000 < (corpus / "audio.int16").stat().st_size


def test_permutations_are_strung_together_without_gaps():
    chosen = np.concatenate([Permuted(5).choose(0, step, 12) for step in range(4)])
    # Each step takes 12 of three permutations: at least 2 and at most 3 of each clip.
    counts = np.bincount(chosen)
    assert len(chosen) == 48 and len(counts) == 5 and counts.min() >= 8 and counts.max() <= 12


def test_wrong_ranks_and_places_are_errors(corpus, tmp_path):
    with pytest.raises(ValueError, match="rank 2 of 2"):
        draw(open_source(corpus), 1, rank=2, world_size=2)
    with pytest.raises(FileNotFoundError, match="no such"):
        open_source(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="python -m pretrain pack"):
        open_source(tmp_path)


def test_summary_has_hours_and_a_hash_of_the_content(corpus, tmp_path):
    summary = open_source(corpus).summary()
    manifest = (corpus / "manifest.csv").read_text().splitlines()[1:]
    seconds = sum(float(line.split(",")[4]) for line in manifest)
    assert summary["hours"] == pytest.approx(seconds / 3600, abs=1e-3)
    assert list(summary["sources"]) == list(SOURCES)
    few = source_files(str(corpus.parent / "small"))
    pack(few, tmp_path / "one")
    pack(few, tmp_path / "again")
    pack(few[:3], tmp_path / "less")
    hashes = [open_source(tmp_path / name).summary()["hash"] for name in ("one", "again", "less")]
    assert hashes[0] == hashes[1] != hashes[2]
