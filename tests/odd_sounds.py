"""Sound files that readers are known to get wrong, made here, with what is right for each."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

RATE = 16_000
SECONDS = 2.0


@dataclass(frozen=True)
class Right:
    """A file's length in seconds, or None where it is refused; words of its warning or reason."""

    seconds: float | None = SECONDS
    words: str = ""
    slack_s: float = 0.06


def tone(seconds: float = SECONDS, level: float = 0.3) -> np.ndarray:
    """A tone with noise, ``(samples,)`` float32."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).standard_normal(len(time_s))
    return (level * (np.sin(2 * np.pi * 440 * time_s) + 0.3 * noise) / 1.5).astype(np.float32)


def encode(
    path: Path, samples: np.ndarray, codec: str, bit_rate: int = 64_000, rate: int = RATE, **options: str
) -> bytes:
    """Write ``(samples,)`` by an encoder of FFmpeg; ``options`` are the container's."""
    with av.open(os.fspath(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bit_rate
        # As it comes from the encoder's own list, which begins with the one that it likes most.
        resampler = av.AudioResampler(stream.codec_context.codec.audio_formats[0].name, "mono", rate)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        fifo = av.AudioFifo()
        for part in resampler.resample(frame):
            fifo.write(part)
        size = stream.codec_context.frame_size or 1024
        for part in [*fifo.read_many(size), fifo.read(0, partial=True)]:
            if part is not None:
                container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path.read_bytes()


def plain(path: Path, samples: np.ndarray, **options: str) -> bytes:
    """Write a file by libsndfile."""
    soundfile.write(os.fsencode(path), samples, RATE, **options)
    return path.read_bytes()


def without_length(flac: bytes) -> bytes:
    """A FLAC file as an encoder writes it into a pipe: 36 bits of its header are zero."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def make_whole(folder: Path) -> dict[str, Right]:
    """Files that are whole, each of which some reader cuts, refuses or passes over."""
    sound, quiet, loud = tone(), tone(1, 0.01), tone(1)
    no_xing = {"write_xing": "0", "id3v2_version": "0"}
    low = encode(folder / "part.mp3", quiet, "libmp3lame", 16_000, **no_xing)
    high = encode(folder / "part.mp3", loud, "libmp3lame", 128_000, **no_xing)
    (folder / "vbr_no_xing_quiet_first.mp3").write_bytes(low + high)
    (folder / "vbr_no_xing_loud_first.mp3").write_bytes(high + low)
    (folder / "cbr_id3v1.mp3").write_bytes(high + b"TAG" + b"title".ljust(125, b"\0"))
    mp3 = encode(folder / "xing.mp3", sound, "libmp3lame")
    (folder / "joined.mp3").write_bytes(mp3 + mp3)
    (folder / "part.mp3").unlink()

    flac = plain(folder / "plain.flac", sound)
    (folder / "piped.flac").write_bytes(without_length(flac))
    (folder / "joined.flac").write_bytes(flac + flac)
    for name, subtype in (("vorbis.ogg", "VORBIS"), ("opus.opus", "OPUS")):
        data = plain(folder / name, sound, format="OGG", subtype=subtype)
        (folder / f"chained_{name}").write_bytes(data + data)
    for name, codec in (
        ("aac.m4a", "aac"),
        ("opus.webm", "libopus"),
        ("wma.wma", "wmav2"),
        ("mp2.mp2", "mp2"),
    ):
        encode(folder / name, sound, codec)
    plain(folder / "named.wave", sound, format="WAV")
    plain(folder / os.fsdecode(b"caf\xe9.wav"), sound, format="WAV")  # Latin-1, no UTF-8
    whole = {path.name: Right() for path in folder.iterdir()}
    joined = {name: Right(2 * SECONDS) for name in whole if name.startswith(("chained", "joined"))}
    # Without a Xing header nothing says what of the first and the last frame is padding.
    padded = {name: Right(2.0, slack_s=0.2) for name in whole if name.startswith("vbr")}
    # Where two meet, a frame leans on one that is not there.
    meeting = {"joined.mp3": Right(2 * SECONDS, "packets cannot be decoded", 0.13)}
    return (
        whole
        | joined
        | padded
        | meeting
        | {"cbr_id3v1.mp3": Right(1.0, slack_s=0.1), "aac.m4a": Right(slack_s=0.13)}
    )


def make_cut(folder: Path) -> dict[str, Right]:
    """Files of which one half is there, and files that say less than they hold."""
    sound, right = tone(), {}
    for suffix in ("wav", "aiff", "au", "w64", "rf64", "caf", "flac", "ogg", "opus", "mp3"):
        long = tone(8) if suffix in ("ogg", "opus") else sound  # of several pages
        options = {"opus": {"format": "OGG", "subtype": "OPUS"}, "rf64": {"format": "RF64"}}.get(suffix, {})
        data = plain(folder / f"cut.{suffix}", long, **options)
        (folder / f"cut.{suffix}").write_bytes(half(data))
        right[f"cut.{suffix}"] = Right(SECONDS / 2, "its header announces", 0.26)
    for suffix in ("ogg", "opus"):
        right[f"cut.{suffix}"] = Right(4.0, "without the page that ends an Ogg stream", 2)
    pages = (folder / "cut.ogg").read_bytes().rsplit(b"OggS", 1)
    (folder / "cut_between_pages.ogg").write_bytes(pages[0])
    right["cut_between_pages.ogg"] = Right(4.0, "without the page that ends an Ogg stream", 2)
    for suffix, codec, options in (
        ("m4a", "aac", {"movflags": "faststart"}),
        ("webm", "libopus", {}),
        ("wma", "wmav2", {}),
    ):
        data = encode(folder / f"cut.{suffix}", sound, codec, **options)
        (folder / f"cut.{suffix}").write_bytes(half(data))
        right[f"cut.{suffix}"] = Right(SECONDS / 2, "its header announces", 0.26)
    wav = plain(folder / "joined_cut.wav", sound)
    (folder / "joined_cut.wav").write_bytes(wav + half(wav))
    right["joined_cut.wav"] = Right(1.5 * SECONDS, "joined to it at byte 64044: its header announces 64000")
    (folder / "joined_text.wav").write_bytes(wav + b"RIFF" + bytes(64))
    right["joined_text.wav"] = Right(SECONDS, "joined to it at byte 64044: it cannot be decoded")
    # A recorder that crashed: the header has the length of the first half.
    (folder / "stale.wav").write_bytes(wav[:40] + (32_000).to_bytes(4, "little") + wav[44:])
    right["stale.wav"] = Right(SECONDS / 2, "32000 bytes behind the sound")
    # A program that wrote into a pipe knew no length.
    (folder / "piped.wav").write_bytes(wav[:40] + b"\xff" * 4 + wav[44:])
    right["piped.wav"] = Right(SECONDS)
    data = plain(folder / "damaged.flac", sound)
    (folder / "damaged.flac").write_bytes(data[: len(data) // 2] + bytes(64) + data[len(data) // 2 + 64 :])
    right["damaged.flac"] = Right(SECONDS - 8192 / RATE, "its header announces")
    return right


def make_refused(folder: Path) -> dict[str, Right]:
    """Files that hold no sound, or none that can be used."""
    sound = tone(1)
    broken = sound.copy()
    broken[4_000] = np.nan
    plain(folder / "nan.wav", broken, subtype="FLOAT")
    broken[4_000] = np.inf
    plain(folder / "infinite.wav", broken, subtype="FLOAT")
    plain(folder / "integers.wav", sound * 32768, subtype="FLOAT")
    wav = plain(folder / "only_header.wav", sound[:0])
    (folder / "slow.wav").write_bytes(
        wav[:24] + (1).to_bytes(4, "little") + wav[28:40] + b"\xff" * 4 + bytes(64)
    )
    (folder / "tag_only.mp3").write_bytes(b"ID3\x04\0\0\0\0\0\x0aTIT2" + bytes(6))
    (folder / "text.wav").write_text("no sound at all")
    (folder / "playlist.mp3").write_text("#EXTM3U\n#EXTINF:1,\nonly_header.wav\n")
    (folder / "empty.wav").write_bytes(b"")
    os.mkfifo(folder / "pipe.wav")
    (folder / "nowhere.wav").symlink_to(folder / "gone")
    words = {
        "nan.wav": "holds NaN or infinite samples, the first at 0.250 s",
        "infinite.wav": "holds NaN or infinite samples, the first at 0.250 s",
        "integers.wav": "divide float samples that are at the scale of integers",
        "only_header.wav": "holds no samples",
        "slow.wav": "sample rate of 1 Hz",
        "pipe.wav": "is no regular file",
        "nowhere.wav": "cannot be read: No such file",
        "empty.wav": "is empty (0 bytes)",
    }
    return {path.name: Right(None, words.get(path.name, "cannot be decoded")) for path in folder.iterdir()}


REAL = {
    "vbr_noxing_quietfirst.mp3": Right(12.04),
    "cat_a3_b5.mp3": Right(
        8.0, "cannot be decoded"
    ),  # the frame where they meet leans on one that is not there
    "cbr_noxing_id3v1_loudfirst.mp3": Right(12.04),
    "piped5_16k.flac": Right(5.0),
    "half_cut.ogg": Right(1.01, "without the page that ends an Ogg stream"),
    "half_cut.wav": Right(2.5, "its header announces 441000 bytes of sound, 220478 are there"),
    "f32_nan.wav": Right(None, "holds NaN or infinite samples"),
    "only_header.wav": Right(None, "holds no samples"),
}


@pytest.fixture(scope="session")
def odd_sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Right]:
    """Every file with what is right for it; real ones too, where HEAR_MSSS_SHARED names a folder of them."""
    right = {}
    for make in (make_whole, make_cut, make_refused):
        folder = tmp_path_factory.mktemp(make.__name__)
        right |= {folder / name: value for name, value in make(folder).items()}
    if "HEAR_MSSS_SHARED" in os.environ:
        folder = tmp_path_factory.mktemp("real")
        for name, value in REAL.items():
            shutil.copy(
                Path(os.environ["HEAR_MSSS_SHARED"], "cases", "reading", name), folder / f"real_{name}"
            )
            right[folder / f"real_{name}"] = value
    return right
