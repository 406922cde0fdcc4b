"""Sound files to blocks of float32: plain samples, FLAC, Ogg Vorbis and Opus by libsndfile, else FFmpeg.

libsndfile believes what the header of a compressed file says of its length. FFmpeg, inside the wheels of
PyAV, reads on to the end. Both give the same samples, bit for bit, where nothing was lost in coding. Ogg
Vorbis and Opus stay with libsndfile, too, unless files are joined: FFmpeg loses or adds up to 256 samples
at the end of a sound that fills a single page.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from hear_msss.containers import ogg_streams

BLOCK_SAMPLES = 1 << 18  # of all channels together: bounds the memory that a file takes
READ_AHEAD_BYTES = 1 << 14  # libFLAC reads 8 kB at once: where it stops earlier before the end, more is there
TAIL_BYTES = 1 << 16

# How the containers of libsndfile begin. Nothing else is offered to it first: it takes noise for mp3.
LIBSNDFILE_MAGIC = (
    *(b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"caff", b"riff", b".snd", b"dns.", b"fLaC"),
    *(b"Creative Voice File", b"NIST_1A", b" paf", b"fap ", b"PVF1", b"2BIT"),
)
COMPRESSED_MAGIC = (b"ID3", b"OggS", b"\xff")
PLAIN_CODINGS = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")

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


class LibsndfileDecoder:
    """Plain samples, FLAC, Ogg Vorbis and Ogg Opus.

    Attributes:
        is_exact: no other decoder would read more of it.
        sample_rate: in Hz.
        channels: how many.
        subtype: the coding of the samples as libsndfile names it, such as PCM_16; empty with FFmpeg.
        announced_s: the length that the header has.
        warnings: sentences, complete once the blocks are.
    """

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        self.file = file
        # By its descriptor where it has one: a call back into Python for every read takes its time.
        try:
            self.sound = soundfile.SoundFile(os.dup(file.fileno()), closefd=True)
        except OSError:  # io.UnsupportedOperation: bytes in memory
            self.sound = soundfile.SoundFile(file)
        self.sample_rate = self.sound.samplerate
        self.channels = self.sound.channels
        self.subtype = self.sound.subtype
        self.is_exact = self.sound.format == "FLAC" or self.subtype in (*PLAIN_CODINGS, "VORBIS", "OPUS")
        # A FLAC file from a pipe has no length; libsndfile then says 2^63 - 1 and fails where it ends.
        self.has_length = self.sound.frames < 1 << 62
        self.announced_s = self.sound.frames / self.sample_rate if self.has_length else None
        self.warnings: list[str] = []

    def blocks(self) -> Iterator[Block]:
        read = 0
        while True:
            try:
                block = self.sound.read(
                    max(1, BLOCK_SAMPLES // self.sound.channels), dtype="float32", always_2d=True
                )
            except soundfile.LibsndfileError as error:
                yield from self._by_ffmpeg(read, error.error_string)
                return
            if not len(block):
                break
            read += len(block)
            yield self.sample_rate, block
        if self._more_to_read():
            yield from self._by_ffmpeg(read, "more sound lies behind the end that its header has")
        elif read < self.sound.frames:
            self.warnings.append(shorter(self.sound.frames / self.sample_rate, read / self.sample_rate))

    def _by_ffmpeg(self, skipped: int, reason: str) -> Iterator[Block]:
        """FFmpeg's reading from a sample on: it skips damaged frames and continues after them."""
        try:
            decoder = FFmpegDecoder(self.file)
        except (av.FFmpegError, Undecodable):
            self.warnings.append(f"it cannot be read to its end: {reason.rstrip('. ')}")
            return
        try:
            for rate, block in decoder.blocks():
                yield rate, block[skipped:]
                skipped = max(0, skipped - len(block))
        finally:
            decoder.close()
            self.warnings += decoder.warnings

    def _more_to_read(self) -> bool:
        """Whether a FLAC file continues after the end that its header states: joined files, an old length."""
        if self.sound.format != "FLAC":
            return False
        place = self.file.tell()
        size = self.file.seek(0, 2)
        self.file.seek(max(4, place - TAIL_BYTES))
        return size - place > READ_AHEAD_BYTES or b"fLaC" in self.file.read(2 * TAIL_BYTES)

    def close(self) -> None:
        self.sound.close()


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
            # A file is what it holds, wherever it lies: no protocol may open another.
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


def decoder_of(file: BinaryIO) -> LibsndfileDecoder | FFmpegDecoder:
    """The decoder for what a seekable file holds; its name plays no part.

    Raises:
        Undecodable: no decoder knows it.
    """
    file.seek(0)
    head = file.read(32)
    if not head:
        raise Undecodable("it is empty (0 bytes)")
    reasons = []
    if head.startswith(LIBSNDFILE_MAGIC) or (head.startswith(b"OggS") and ogg_streams(file) == 1):
        try:
            sound = LibsndfileDecoder(file)
            if sound.is_exact and sound.has_length:
                return sound
            sound.close()
        except soundfile.LibsndfileError as error:
            reasons.append(f"libsndfile: {error.error_string}")
    try:
        return FFmpegDecoder(file)
    except av.FFmpegError as error:
        reasons.append(f"FFmpeg: {error.strerror}")
    except Undecodable as error:
        reasons.append(str(error))
    if not head.startswith(COMPRESSED_MAGIC):  # codings and containers that only libsndfile has
        try:
            sound = LibsndfileDecoder(file)
            if sound.sound.format not in ("MP3", "OGG") and sound.has_length:
                return sound
            sound.close()
        except soundfile.LibsndfileError:
            pass
    raise Undecodable("; ".join(reason.rstrip(". ") for reason in reasons))
