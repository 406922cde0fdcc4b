"""Find what a sound file lacks of what its header announces, from the sizes in its container.

Decoders read a file to its end and call that its length. Only the container tells whether the end is where
the writer put it: by a chunk that reaches beyond the end of the file, or an Ogg stream without its last page.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

SOUND_CHUNKS = (b"data", b"SSND", b"BODY")
UNKNOWN_FROM = 0x7FFFF000  # programs that write into a pipe put such sizes where they know none
TAIL_BYTES = 1 << 17  # two Ogg pages at least
STRAY_BYTES = 4096  # of no chunk, behind the last chunk: less than this is padding or a tag
MP3_FRAME_BYTES = 2881  # the longest
W64_ID_BYTES, W64_HEADER_BYTES = 16, 40

Chunk = tuple[bytes, int, int]  # name, where its content begins, announced bytes of its content
Finding = str | int  # what is missing, in a sentence; or the byte where a file begins that is joined to this


def warnings_of(file: BinaryIO) -> list[str]:
    """Sentences about what the container announces and the file lacks, or holds behind its sound.

    Args:
        file: seekable; its position is moved.
    """
    return [finding for finding in _findings(file) if isinstance(finding, str)]


def joined_at(file: BinaryIO) -> int:
    """The byte at which another sound file of the kind begins, joined to this one; 0 where none does.

    Args:
        file: seekable; its position is moved.
    """
    return next((finding for finding in _findings(file) if isinstance(finding, int)), 0)


def _findings(file: BinaryIO) -> Iterator[Finding]:
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(64)
    for magic, look in FORMATS:
        if head[magic[0] :].startswith(magic[1]):
            return look(file, head, size)
    return iter(())


def ogg_pages(file: BinaryIO) -> Iterator[tuple[int, bool]]:
    """Where each page of an Ogg file begins, and whether a stream begins with it; then -1 for a damaged one.

    Args:
        file: seekable; its position is moved.
    """
    place = 0
    while True:
        file.seek(place)
        page = file.read(27 + 255)
        if not page:
            return
        if len(page) < 27 or not page.startswith(b"OggS\0"):
            yield -1, False
            return
        yield place, bool(page[5] & 2)
        content = 27 + page[26]
        place += content + sum(page[27:content])


def ogg_streams(file: BinaryIO) -> int:
    """How many streams begin in an Ogg file; 0 where its pages do not lie one behind the other."""
    pages = list(ogg_pages(file))
    return 0 if (-1, False) in pages else sum(begins for _, begins in pages)


def _announced(begin: int, content: int, size: int) -> Iterator[str]:
    """The sentence about a chunk that reaches beyond the end of the file."""
    if begin + content > size:
        yield f"its header announces {content} bytes of sound, {max(size - begin, 0)} are there: cut short"


def _chunked(file: BinaryIO, chunks: Iterator[Chunk], size: int, magic: bytes) -> Iterator[Finding]:
    """RIFF and its relatives: the sound's chunk, then what lies behind it."""
    end, announced = size, False
    for name, begin, content in chunks:
        if name[:4] in SOUND_CHUNKS:
            announced = True
            # A header that was never closed announces nothing (0), or what is not known.
            unknown = content == 0 or UNKNOWN_FROM <= content <= 0xFFFFFFFF
            end = size if unknown else min(begin + content, size)
            if not unknown:
                yield from _announced(begin, content, size)
        elif announced and begin + content <= size:
            end = begin + content
    if not announced or end >= size:
        return
    file.seek(end)
    behind = file.read(64).lstrip(b"\0")
    if behind.startswith(magic):
        file.seek(end)
        yield end + file.read(64).index(magic)
    elif size - end > STRAY_BYTES and behind:
        yield f"{size - end} bytes behind the sound that its header announces are not read"


def _riff(file: BinaryIO, head: bytes, size: int) -> Iterator[Finding]:
    order = ">" if head.startswith((b"RIFX", b"FORM")) else "<"

    def chunks() -> Iterator[Chunk]:
        place, long_size = 12, None
        while place + 8 <= size:
            file.seek(place)
            name, content = struct.unpack(f"{order}4sI", file.read(8))
            if not name.isascii() or not name.decode("ascii").isprintable() or name == head[:4]:
                return
            if name == b"ds64":  # RF64: the true size of the sound
                long_size = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
            if name == b"data" and content == 0xFFFFFFFF and long_size:
                content = long_size
            yield name, place + 8, content
            place += 8 + content + content % 2

    return _chunked(file, chunks(), size, head[:4])


def _caf(file: BinaryIO, head: bytes, size: int) -> Iterator[Finding]:
    def chunks() -> Iterator[Chunk]:
        place = 8
        while place + 12 <= size:
            file.seek(place)
            name, content = struct.unpack(">4sq", file.read(12))
            if name == head[:4]:
                return
            content = size - place - 12 if content == -1 else max(content, 0)  # -1: up to the end
            yield name, place + 12, content
            place += 12 + content

    return _chunked(file, chunks(), size, head[:4])


def _w64(file: BinaryIO, head: bytes, size: int) -> Iterator[Finding]:
    def chunks() -> Iterator[Chunk]:
        place = W64_HEADER_BYTES
        while place + 24 <= size:
            file.seek(place)
            name, length = struct.unpack("<16sQ", file.read(24))
            if length < 24 or name == head[:W64_ID_BYTES]:
                return
            yield name, place + 24, length - 24
            place += -(-length // 8) * 8

    return _chunked(file, chunks(), size, head[:W64_ID_BYTES])


def _au(file: BinaryIO, head: bytes, size: int) -> Iterator[Finding]:
    begin, content = struct.unpack(">II" if head.startswith(b".snd") else "<II", head[4:12].ljust(8, b"\0"))
    return _chunked(file, iter([(b"data", begin, content)]), size, head[:4])


def _ogg(file: BinaryIO, head: bytes, size: int) -> Iterator[Finding]:
    """The last page has the flag that ends a stream, and is whole; streams that follow are a file joined."""
    inside = False
    for place, begins in ogg_pages(file):
        if begins and inside:
            yield place
            return
        inside = not begins
    file.seek(max(0, size - TAIL_BYTES))
    tail = file.read()
    page = tail.rfind(b"OggS\0")
    header = tail[page : page + 27] if page >= 0 else b""
    content = page + 27 + (header[26] if len(header) == 27 else 0)
    end = content + sum(tail[page + 27 : content])
    if len(header) < 27 or end > len(tail) or not header[5] & 4:
        yield "it ends without the page that ends an Ogg stream: cut short"


def _voc(file: BinaryIO, head: bytes, size: int) -> Iterator[str]:
    place = int.from_bytes(head[20:22], "little")
    while 0 < place < size:
        file.seek(place)
        block = file.read(4).ljust(4, b"\0")
        if not block[0]:  # the block that ends the file
            return
        length = int.from_bytes(block[1:], "little")
        yield from _announced(place + 4, length, size)
        place += 4 + length


def _mp3(file: BinaryIO, head: bytes, size: int) -> Iterator[str]:
    """The first frame may be a Xing header, which counts the bytes from it on."""
    begin = 0
    if head.startswith(b"ID3"):
        begin = 10 + sum(byte << 7 * place for place, byte in enumerate(reversed(head[6:10])))
    file.seek(begin)
    frame = file.read(256)
    tag = max(frame.find(b"Xing"), frame.find(b"Info"))
    if tag >= 0 and len(frame) >= tag + 16:
        flags, *numbers = struct.unpack(">3I", frame[tag + 4 : tag + 16])
        if flags & 2:  # the count of bytes; behind that of frames where both are there
            content = numbers[1] if flags & 1 else numbers[0]
            if content > size - begin + MP3_FRAME_BYTES:  # some writers count a frame more
                yield from _announced(begin, content, size)


def _mp4(file: BinaryIO, head: bytes, size: int) -> Iterator[str]:
    place = 0
    while place + 8 <= size:
        file.seek(place)
        length, _, long_length = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        length = {0: size - place, 1: long_length}.get(length, length)
        if length < 8:
            return
        yield from _announced(place, length, size)
        place += length


def _number(data: bytes) -> tuple[int, int | None]:
    """Bytes of a Matroska number, and its value; None where all bits are set, for a size not known."""
    width = 9 - data[0].bit_length() if data and data[0] else 8
    value = int.from_bytes(data[:width], "big") & ((1 << 7 * width) - 1)
    return width, None if value == (1 << 7 * width) - 1 else value


def _matroska(file: BinaryIO, head: bytes, size: int) -> Iterator[str]:
    width, content = _number(head[4:])
    segment = 4 + width + (content or 0)
    file.seek(segment)
    data = file.read(12)
    if data.startswith(b"\x18\x53\x80\x67"):
        width, content = _number(data[4:])
        if content is not None:
            yield from _announced(segment + 4 + width, content, size)


def _asf(file: BinaryIO, head: bytes, size: int) -> Iterator[str]:
    file.seek(0)
    start = file.read(1 << 16)
    properties = start.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if properties >= 0 and properties + 96 <= len(start):
        file_bytes, flags = struct.unpack("<Q40xI", start[properties + 40 : properties + 92])
        if not flags & 1:  # not a broadcast, whose size nobody knew
            yield from _announced(0, file_bytes, size)


FORMATS: list[tuple[tuple[int, bytes], Callable[[BinaryIO, bytes, int], Iterator[Finding]]]] = [
    *(((0, magic), _riff) for magic in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM")),
    ((0, b"caff"), _caf),
    ((0, b"riff\x2e\x91"), _w64),
    *(((0, magic), _au) for magic in (b".snd", b"dns.")),
    ((0, b"OggS"), _ogg),
    *(((0, b"\xff" + second), _mp3) for second in (b"\xfb", b"\xfa", b"\xf3", b"\xf2", b"\xe3", b"\xe2")),
    ((0, b"ID3"), _mp3),
    ((0, b"Creative Voice File"), _voc),
    ((4, b"ftyp"), _mp4),
    ((0, b"\x1a\x45\xdf\xa3"), _matroska),
    ((0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), _asf),
]
