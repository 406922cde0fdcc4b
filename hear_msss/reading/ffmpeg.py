"""FFmpeg's reading of sound files, by PyAV, as blocks of float32."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

BLOCK_SAMPLES = 1 << 18  # of all channels together: bounds the memory that a file takes

# The demuxers that may look at a file. Left out are those that open further files or addresses named in it
# (hls, concat, dash), devices, pictures, and raw formats that take any bytes for sound.
DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,avr,caf,dsf,dts,dtshd,eac3,epaf,flac,flv,iff,ircam,latm,loas,matroska,mlp,mov,"
    "mp3,mpc,mpc8,mpeg,mpegts,nistsphere,nut,ogg,oma,qcp,rm,shn,sox,tak,truehd,tta,voc,w64,wav,wsd,wtv,wv,xwma"
)
# Demuxers that take a stream's length from its header, not from a guess or from the file's size.
KNOW_THEIR_LENGTH = {"ape", "flac", "mpc", "mpc8", "shn", "tak", "tta", "wv"}
OPUS_RATES_HZ = (8000, 12000, 16000, 24000, 48000)
SLACK_S = 0.05  # how far a length in a header may be off: one frame of most codecs

Block = tuple[int, NDArray[np.float32]]  # sample rate in Hz, (samples, channels)


class Undecodable(Exception):
    """Neither decoder knows the file; the message says why."""


def opus_rate(stream: Any) -> int:
    """The rate of the sound that an Opus stream was made from, in Hz; 0 for other codecs.

    Opus always decodes to 48 kHz. Its header (RFC 7845, section 5.1) keeps the rate of the sound before.
    libsndfile gives the sound at that rate, where it is one of Opus's own. So do HEAR's runners, which
    read by libsndfile.
    """
    head = stream.codec_context.extradata or b""
    if stream.codec_context.name not in ("opus", "libopus") or not head.startswith(b"OpusHead"):
        return 0
    rate = int.from_bytes(head[12:16], "little")
    return rate if rate in OPUS_RATES_HZ else 48000


class FFmpegDecoder:
    """The best sound stream of anything else; attributes as those of ``LibsndfileDecoder``."""

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        self.warnings: list[str] = []
        self.container = av.open(
            file,
            mode="r",
            # FFmpeg reads this open file and nothing else: no protocol may open another.
            options={"format_whitelist": DEMUXERS, "protocol_whitelist": "none"},
            metadata_errors="replace",
        )
        try:
            streams = self.container.streams.audio
            if not streams:
                raise Undecodable("it holds no stream of sound")
            self.stream = self.container.streams.best("audio") or streams[0]
            if self.stream.codec_context is None:
                raise Undecodable("FFmpeg has no decoder for its stream of sound")
            self.stream.codec_context.thread_count = 1
            if len(streams) > 1:
                self.warnings.append(f"holds {len(streams)} streams of sound, of which one is read")
            known, unit = self.stream.duration or 0, self.stream.time_base
            if known <= 0 or not unit:
                known, unit = self.container.duration or 0, Fraction(1, av.time_base)
            self.announced_s = float(known * unit) if known > 0 else None
            self._frames = self._decode()
            # Known for sure when the first frame is there: with some AAC the header has half of it.
            self._first = next(self._frames, None)
            self.sample_rate = opus_rate(self.stream) or (self._first[0] if self._first else 0)
            self.channels = self._first[1].shape[1] if self._first else 0
            self.subtype = ""
        except BaseException:
            self.container.close()
            raise

    def blocks(self) -> Iterator[Block]:
        waiting: list[NDArray[np.float32]] = []
        read_s, count = 0.0, 0
        rate, channels = 0, 0
        first = [self._first] if self._first else []
        for frame_rate, frame in (frame for part in (first, self._frames) for frame in part):
            if waiting and (count >= BLOCK_SAMPLES or (frame_rate, frame.shape[1]) != (rate, channels)):
                yield rate, np.concatenate(waiting)
                waiting, count = [], 0
            rate, channels = frame_rate, frame.shape[1]
            waiting.append(frame)
            count += frame.size
            read_s += len(frame) / rate
        if waiting:
            yield rate, np.concatenate(waiting)
        knows = self.container.format.name in KNOW_THEIR_LENGTH
        if knows and self.announced_s and read_s < self.announced_s - SLACK_S:
            self.warnings.append(shorter(self.announced_s, read_s))

    def _decode(self) -> Iterator[Block]:
        packets = damaged = 0
        reason = ""
        try:
            for packet in self.container.demux(self.stream):
                packets += 1
                try:
                    frames = packet.decode()
                except av.FFmpegError as error:
                    damaged, reason = damaged + 1, error.strerror or ""
                    continue
                for frame in frames:
                    if isinstance(frame, av.AudioFrame) and frame.samples:
                        yield frame.sample_rate, to_float(frame)
        except av.FFmpegError as error:
            self.warnings.append(f"it cannot be read to its end: {error.strerror}")
        if damaged:
            self.warnings.append(
                f"{damaged} of its {packets} packets cannot be decoded and are left out: {reason}"
            )

    def close(self) -> None:
        self.container.close()


def shorter(announced_s: float, read_s: float) -> str:
    return f"its header announces {announced_s:.2f} s of sound, {read_s:.2f} s can be read"


def to_float(frame: av.AudioFrame) -> NDArray[np.float32]:
    """``(samples, channels)`` with full scale 1 as in libsndfile: the lowest integer is -1."""
    samples = frame.to_ndarray()
    channels = frame.layout.nb_channels
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, channels)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.itemsize - 1))
    return samples.astype(np.float32)
