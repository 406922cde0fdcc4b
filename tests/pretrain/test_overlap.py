"""A sound that went through a codec, a gain and a cut is found in a corpus; a similar sound is not."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pretrain.__main__ import main
from pretrain.corpus.fingerprint import (
    BAND_EDGES_HZ,
    BITS,
    ENERGY_FLOOR,
    HOP_SAMPLES,
    WINDOW_SAMPLES,
    differing_bits,
    fingerprint,
)
from pretrain.corpus.overlap import find_overlap

RATE = 16000


def sound(seed: int, seconds: float = 4.0) -> np.ndarray:
    """Bursts of filtered noise and gliding tones: nothing repeats, no two seeds are alike."""
    random = np.random.default_rng(seed)
    samples = np.zeros(int(seconds * RATE), dtype=np.float64)
    for _ in range(int(6 * seconds)):
        length = random.integers(RATE // 10, RATE // 2)
        begin = random.integers(0, max(1, len(samples) - length))
        time_s = np.arange(length) / RATE
        tone = np.sin(2 * np.pi * random.uniform(200, 4000) * (1 + random.uniform(-1, 1) * time_s) * time_s)
        noise = np.convolve(random.standard_normal(length), random.standard_normal(16), "same") / 8
        part = (tone + noise) * np.hanning(length) * random.uniform(0.1, 1)
        samples[begin : begin + length] += part[: len(samples) - begin]
    return (0.5 * samples / np.abs(samples).max()).astype(np.float32)


def slow_fingerprint(samples: np.ndarray) -> list[int]:
    """The paper's definition, bit by bit, with a Fourier sum instead of an FFT where the bands lie."""
    frames = []
    for begin in range(0, len(samples) - WINDOW_SAMPLES + 1, HOP_SAMPLES):
        power = np.abs(np.fft.fft(samples[begin : begin + WINDOW_SAMPLES] * np.hanning(WINDOW_SAMPLES))) ** 2
        edges = [round(edge * WINDOW_SAMPLES / RATE) for edge in BAND_EDGES_HZ]
        frames.append([np.log(power[a:b].sum() + ENERGY_FLOOR) for a, b in itertools.pairwise(edges)])
    hashes = []
    for before, now in itertools.pairwise(frames):
        bits = [(now[m + 1] - now[m]) - (before[m + 1] - before[m]) > 0 for m in range(BITS)]
        hashes.append(sum(bit << m for m, bit in enumerate(bits)))
    return hashes


def test_equals_the_definition_bit_by_bit() -> None:
    samples = sound(1, 1.0)
    expected = np.array(slow_fingerprint(samples), dtype=np.uint32)
    # Rounding to float32 may turn a bit whose difference is nearly 0.
    assert differing_bits(fingerprint(samples), expected).mean() < 0.1
    assert len(fingerprint(samples[: WINDOW_SAMPLES - 1])) == 0


def test_differing_bits_counts_what_bin_counts() -> None:
    a, b = np.array([0, 7, 2**32 - 1], dtype=np.uint32), np.array([0, 4, 1], dtype=np.uint32)
    assert differing_bits(a, b).tolist() == [
        (x ^ y).bit_count() for x, y in zip(a.tolist(), b.tolist(), strict=True)
    ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("overlap")
    for number in range(12):
        (folder / "sounds").mkdir(exist_ok=True)
        soundfile.write(folder / "sounds" / f"{number:02}.wav", sound(number), RATE)
    assert main(["pack", str(folder / "sounds"), "--out", str(folder / "corpus"), "--jobs", "1"]) == 0
    return folder / "corpus"


def test_finds_a_sound_after_a_codec_a_gain_and_a_cut(corpus: Path, tmp_path: Path) -> None:
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    cut = 0.2 * sound(3)[12345 : 12345 + 2 * RATE]  # no multiple of the hop
    soundfile.write(evaluation / "lossy.ogg", cut, RATE, format="OGG", subtype="VORBIS")
    inside = np.concatenate([sound(100, 1.0), sound(7)[: int(1.5 * RATE)], sound(101, 1.0)])
    soundfile.write(evaluation / "inside.wav", inside, RATE)
    soundfile.write(evaluation / "another.wav", sound(102), RATE)
    found = {(match.clip, match.file.name) for match in find_overlap(corpus, [evaluation])}
    assert found == {(3, "lossy.ogg"), (7, "inside.wav")}


def test_silence_is_no_sound_in_common(tmp_path: Path) -> None:
    silence = np.zeros(2 * RATE, dtype=np.float32)
    (tmp_path / "sounds").mkdir()
    (tmp_path / "evaluation").mkdir()
    soundfile.write(tmp_path / "sounds" / "a.wav", np.concatenate([sound(20), silence]), RATE)
    soundfile.write(tmp_path / "evaluation" / "b.wav", np.concatenate([sound(21), silence]), RATE)
    corpus = ["pack", str(tmp_path / "sounds"), "--out", str(tmp_path / "corpus"), "--jobs", "1"]
    assert main(corpus) == 0
    assert find_overlap(tmp_path / "corpus", [tmp_path / "evaluation"]) == []


def test_the_list_keeps_the_files_out_of_the_next_corpus(corpus: Path, tmp_path: Path) -> None:
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    soundfile.write(evaluation / "copy.flac", sound(5), RATE)
    out = tmp_path / "exclude.txt"
    assert main(["overlap", str(corpus), str(evaluation), "--out", str(out)]) == 0
    assert [line for line in out.read_text().splitlines() if line[0] != "#"] == ["sounds/05.wav"]
    sources = str(corpus.parent / "sounds")
    again = ["pack", sources, "--exclude-list", str(out), "--out", str(tmp_path / "again"), "--jobs", "1"]
    assert main(again) == 0
    assert find_overlap(tmp_path / "again", [evaluation]) == []


def test_a_folder_without_sound_is_an_error(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no sound files"):
        find_overlap(corpus, [tmp_path])
