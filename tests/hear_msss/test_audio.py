"""The one reader: lengths and warnings of odd files, samples bit for bit, refusals and their words."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import soxr
from odd_sounds import RATE, encode, tone

from hear_msss.audio import SUFFIXES, SoundError, find_sounds, is_sound, measure, open_sound, read_mono
from hear_msss.reading import decoding


def test_odd_files_are_read_whole_or_warned_about_or_refused(odd_sounds):
    wrong = []
    for path, right in odd_sounds.items():
        try:
            found = measure(path)
        except SoundError as error:
            if right.seconds is not None or right.words not in error.reason or error.name != str(path):
                wrong.append(str(error))
            continue
        text = "; ".join(found.warnings)
        fits = right.seconds is not None and abs(found.duration_s - right.seconds) < right.slack_s
        if not fits or (right.words not in text if right.words else text):
            wrong.append(f"{path.name}: {found.duration_s:.3f} s, {text!r}, expected {right}")
    assert not wrong, "\n".join(wrong)


def test_the_same_from_memory(odd_sounds):
    for path, right in odd_sounds.items():
        if path.is_file() and right.seconds is not None:
            from_memory = measure(io.BytesIO(path.read_bytes()), "in memory")
            assert from_memory == measure(path), path.name


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
@pytest.mark.parametrize("channels", [1, 3])
def test_plain_samples_are_those_of_soundfile_bit_for_bit(tmp_path, subtype, channels):
    path = tmp_path / "x.wav"
    samples = np.random.default_rng(0).standard_normal((50_001, channels)) / 10
    soundfile.write(path, samples, 22_050, subtype=subtype)
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1)
    read, rate, warnings = read_mono(path)
    assert rate == 22_050 and warnings == [] and read.dtype == np.float32
    assert np.array_equal(read, expected)


@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize("samples", [500, 3_333, 16_000, 48_001])
def test_vorbis_has_the_samples_of_soundfile_to_the_last_one(tmp_path, rate, samples):
    path = tmp_path / "x.ogg"
    soundfile.write(path, np.random.default_rng(0).standard_normal(samples) / 10, rate)
    assert np.array_equal(read_mono(path)[0], soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_flac_is_the_same_by_either_decoder(tmp_path, subtype):
    path = tmp_path / "x.flac"
    soundfile.write(path, np.random.default_rng(0).standard_normal((60_000, 2)) / 10, RATE, subtype=subtype)
    expected = soundfile.read(path, dtype="float32")[0]
    assert np.array_equal(read_mono(path)[0], expected.mean(axis=1))
    with path.open("rb") as file:
        decoder = decoding.FFmpegDecoder(file)
        assert np.array_equal(np.concatenate([block for _, block in decoder.blocks()]), expected)
        decoder.close()


def test_both_halves_of_joined_flac_and_all_before_a_damage_are_exact(odd_sounds):
    files = {path.name: path for path in odd_sounds}
    whole = soundfile.read(files["plain.flac"], dtype="float32")[0]
    assert np.array_equal(read_mono(files["joined.flac"])[0], np.concatenate([whole, whole]))
    assert np.array_equal(read_mono(files["piped.flac"])[0], whole)
    damaged = read_mono(files["damaged.flac"])[0]
    assert np.array_equal(damaged[:12_288], whole[:12_288])


def test_compressed_sound_is_what_went_in(odd_sounds):
    # Against the sound that was encoded, at the lag that fits best: the delay of the encoder.
    files = {path.name: path for path in odd_sounds}
    for name in ("xing.mp3", "vorbis.ogg", "opus.opus", "aac.m4a", "opus.webm", "wma.wma", "mp2.mp2"):
        read = read_mono(files[name], RATE)[0]
        span = tone()[4_000:8_000]
        match = max(
            float(np.corrcoef(span, read[4_000 + lag : 8_000 + lag])[0, 1]) for lag in range(-2_400, 2_400)
        )
        assert match > 0.95, name


@pytest.mark.parametrize("rate, wanted", [(44_100, 16_000), (8_000, 48_000), (RATE, RATE)])
def test_blocks_are_the_whole_resampled_at_once(tmp_path, monkeypatch, rate, wanted):
    monkeypatch.setattr(decoding, "BLOCK_SAMPLES", 10_000)
    path = tmp_path / "x.wav"
    samples = np.random.default_rng(0).standard_normal((70_003, 2)).astype(np.float32) / 10
    soundfile.write(path, samples, rate, subtype="FLOAT")
    mono = samples.mean(axis=1)
    with open_sound(path) as sound:
        blocks = list(sound.blocks(wanted))
    assert len(blocks) > 10 and max(map(len, blocks)) < 40_000
    expected = mono if rate == wanted else soxr.resample(mono, rate, wanted, quality="HQ")
    assert np.array_equal(np.concatenate(blocks), expected)


def test_a_part_is_cut_from_the_whole(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, tone(), RATE)
    whole = read_mono(path, 8_000)[0]
    for start, samples in ((0, 3), (100, 50), (15_990, 50), (15_990, None), (16_001, 5)):
        with open_sound(path) as sound:
            part = sound.read(8_000, start, samples)
        assert np.array_equal(part, whole[start : None if samples is None else start + samples])


def test_joined_aac_of_two_rates_comes_at_one(tmp_path):
    parts = [encode(tmp_path / "part.aac", np.repeat(tone(1), n), "aac", rate=n * RATE) for n in (1, 2)]
    (tmp_path / "joined.aac").write_bytes(b"".join(parts))
    with open_sound(tmp_path / "joined.aac") as sound:
        assert sound.sample_rate == RATE
        assert sum(map(len, sound.blocks(8_000))) == pytest.approx(16_000, abs=1_500)
        assert sound.warnings == []


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\n{path}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile x.aac\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nfile:{path}\n#EXT-X-ENDLIST\n",
    ],
)
def test_a_list_of_sounds_opens_none_of_them(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)  # FFmpeg itself refuses paths from the root in some lists
    encode(tmp_path / "x.aac", tone(1), "aac")
    for name in ("list.m3u8", "list.mp3"):
        (tmp_path / name).write_text(text.format(path=tmp_path / "x.aac"))
        with pytest.raises(SoundError, match="cannot be decoded"):
            measure(tmp_path / name)


def test_memory_does_not_grow_with_the_file(tmp_path):
    code = """if True:
        import resource, sys
        from hear_msss.audio import measure
        print(measure(sys.argv[1]).samples, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    peaks = []
    for minutes in (1, 12):
        for path, samples in (
            (tmp_path / "x.flac", np.zeros(minutes * 60 * RATE, np.float32)),
            (tmp_path / "x.mp3", np.zeros(minutes * 60 * RATE, np.float32)),
        ):
            soundfile.write(path, samples, RATE)
            out = subprocess.run(
                [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
            )
            read, peak_kb = map(int, out.stdout.split())
            assert read == len(samples)
            peaks.append(peak_kb)
    assert max(peaks) - min(peaks) < 30_000, peaks  # the difference in samples is 42 MB


def test_neither_torch_nor_the_model_is_imported():
    code = (
        "import sys, hear_msss.audio; print(sorted(n for n in sys.modules if n == 'torch' or 'model' in n))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_file_opens_no_other(tmp_path, odd_sounds):
    # Formats of FFmpeg that name further files: none of them is a sound here.
    plain = next(path for path in odd_sounds if path.name == "plain.flac")
    lists = {
        "stream.mp3": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0",
        "concat.wav": f"ffconcat version 1.0\nfile {plain}\n",
        "hls.m4a": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{plain}\n#EXT-X-ENDLIST\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(SoundError, match="cannot be decoded"):
            measure(tmp_path / name)


def test_tags_in_any_encoding_do_not_matter(tmp_path):
    data = encode(tmp_path / "x.mp3", tone(), "libmp3lame", id3v2_version="0")
    tag = b"TIT2\0\0\0\x05\0\0\x03\xe9\xe8\xff\xfe"  # says UTF-8, is none
    (tmp_path / "x.mp3").write_bytes(b"ID3\x04\0\0\0\0\0" + bytes([len(tag)]) + tag + data)
    assert measure(tmp_path / "x.mp3").warnings == []


def test_folders_are_searched_by_one_list_of_suffixes(tmp_path):
    for name in ("b.WAV", "a.m4a", "sub/c.webm", "sub/d.wma", "notes.txt", "sub/e.wave"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "f.mp2")
    (tmp_path / "sub" / "again").symlink_to(tmp_path)
    found = [str(path.relative_to(tmp_path)) for path in find_sounds(tmp_path)]
    assert found == ["a.m4a", "b.WAV", "f.mp2", "sub/c.webm", "sub/d.wma", "sub/e.wave"]
    assert is_sound("x.Opus") and not is_sound("x.txt") and ".wave" in SUFFIXES


@pytest.mark.parametrize("seconds", [1, 3])
@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_ogg_opus_is_what_libsndfile_reads_rate_and_length_too(tmp_path, rate, seconds):
    sound = 0.3 * np.sin(2 * np.pi * 440 * np.arange(seconds * rate) / rate)
    soundfile.write(tmp_path / "a.ogg", sound, rate, format="OGG", subtype="OPUS")
    expected, expected_rate = soundfile.read(tmp_path / "a.ogg", dtype="float32")
    samples, found_rate, warnings = read_mono(tmp_path / "a.ogg")
    assert (found_rate, warnings) == (expected_rate, []) == (rate, [])
    assert np.array_equal(samples, expected)


JOINED = [("WAV", "PCM_16"), ("RF64", "PCM_24"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("W64", "FLOAT")]
JOINED += [("CAF", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")]


@pytest.mark.parametrize(("kind", "subtype"), JOINED)
@pytest.mark.parametrize("others", [[(16_000, 1)], [(8_000, 1), (24_000, 2)]])
def test_joined_files_are_each_what_soundfile_reads_of_it_alone(kind, subtype, others):
    files, expected = [], []
    for number, (rate, channels) in enumerate([(16_000, 1), *others]):
        seconds = np.arange((number + 1) * rate // 2) / rate
        sound = 0.3 * np.sin(2 * np.pi * 440 * (number + 1) * seconds)
        file = io.BytesIO()
        soundfile.write(file, np.stack([sound] * channels, axis=1), rate, format=kind, subtype=subtype)
        files.append(file.getvalue())
        alone = soundfile.read(io.BytesIO(files[-1]), dtype="float32", always_2d=True)[0].mean(axis=1)
        expected.append(alone if rate == 16_000 else soxr.resample(alone, rate, 16_000, quality="HQ"))
    samples, rate, warnings = read_mono(io.BytesIO(b"".join(files)))
    assert rate == 16_000 and warnings == [] and len(samples) == len(np.concatenate(expected))
    assert np.abs(samples - np.concatenate(expected)).max() < 1e-5


def test_another_subtype_or_codec_may_be_joined_too():
    for kinds in ([("FLAC", "PCM_16"), ("FLAC", "PCM_24")], [("OGG", "VORBIS"), ("OGG", "OPUS")]):
        joined = b""
        for kind, subtype in kinds:
            file = io.BytesIO()
            soundfile.write(file, tone(), RATE, format=kind, subtype=subtype)
            joined += file.getvalue()
        found = measure(io.BytesIO(joined))
        assert found.samples == 2 * len(tone()) and found.warnings == []
