"""Sound files to blocks of float32: plain samples, FLAC, Ogg Vorbis and Opus by libsndfile, else FFmpeg.

libsndfile trusts the length in the header of a compressed file. FFmpeg, which is part of the PyAV package,
reads to the end. For lossless codings, both give the same samples, bit for bit. Ogg Vorbis and Opus stay with
libsndfile, too, unless files are joined: FFmpeg loses or adds up to 256 samples at the end of a sound that
fills a single page.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO, cast

import av
import soundfile

from hear_msss.reading.containers import ogg_streams, warnings_of
from hear_msss.reading.ffmpeg import BLOCK_SAMPLES, Block, FFmpegDecoder, Undecodable, shorter
from hear_msss.reading.joined import Part, next_flac, parts_of

READ_AHEAD_BYTES = 1 << 14  # libFLAC reads 8 kB at once: where it stops earlier before the end, more is there
TAIL_BYTES = 1 << 16

# How the containers of libsndfile begin. Nothing else is offered to it first: it takes noise for mp3.
LIBSNDFILE_MAGIC = (
    *(b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"caff", b"riff", b".snd", b"dns.", b"fLaC"),
    *(b"Creative Voice File", b"NIST_1A", b" paf", b"fap ", b"PVF1", b"2BIT"),
)
COMPRESSED_MAGIC = (b"ID3", b"OggS", b"\xff")
PLAIN_CODINGS = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")


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
        more = self._more_to_read()
        if more and (begin := next_flac(self.file)):
            yield from joined_blocks(self.file, [(begin, self.file.seek(0, 2))], self.warnings)
        elif more:
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


class JoinedDecoder:
    """Files of one container, one behind the other; attributes as those of ``LibsndfileDecoder``."""

    def __init__(self, file: BinaryIO, parts: list[tuple[int, int]]) -> None:
        self.file, self.parts = file, parts
        first = cast(BinaryIO, Part(file, *parts[0]))
        warnings = warnings_of(first)
        self.first = decoder_of_one(first)
        self.warnings = self.first.warnings
        self.warnings += warnings
        self.sample_rate, self.channels = self.first.sample_rate, self.first.channels
        self.subtype = self.first.subtype
        self.announced_s: float | None = None

    def blocks(self) -> Iterator[Block]:
        yield from self.first.blocks()
        yield from joined_blocks(self.file, self.parts[1:], self.warnings)

    def close(self) -> None:
        self.first.close()


def joined_blocks(file: BinaryIO, parts: list[tuple[int, int]], warnings: list[str]) -> Iterator[Block]:
    """What the parts of a file hold; what is wrong with one of them is added to ``warnings``."""
    for begin, end in parts:
        part, problems = cast(BinaryIO, Part(file, begin, end)), list[str]()
        try:
            problems = warnings_of(part)
            decoder = decoder_of_one(part)
        except Undecodable as error:
            problems.append(f"it cannot be decoded: {error}")
        else:
            try:
                yield from decoder.blocks()
            finally:
                decoder.close()
                problems = decoder.warnings + problems
        warnings += [f"of the file that is joined to it at byte {begin}: {problem}" for problem in problems]


def decoder_of(file: BinaryIO) -> LibsndfileDecoder | FFmpegDecoder | JoinedDecoder:
    """The decoder for what a seekable file holds; its name plays no part.

    Raises:
        Undecodable: no decoder knows it.
    """
    parts = parts_of(file)
    if len(parts) > 1:
        return JoinedDecoder(file, parts)
    warnings = warnings_of(file)  # before a decoder relies on the file's position
    decoder = decoder_of_one(file)
    decoder.warnings += warnings
    return decoder


def decoder_of_one(file: BinaryIO) -> LibsndfileDecoder | FFmpegDecoder:
    """The decoder for a file to which no other is joined."""
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
