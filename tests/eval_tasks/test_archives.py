"""Archives that a data set comes in: rar, and zip in several parts."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest
import rarfile

from eval_tasks.errors import UserError
from eval_tasks.tasks.archives import as_folders, unpack
from eval_tasks.tasks.split_zip import open_zip

FILES = {"a/one.wav": random.Random(1).randbytes(5000), "a/two.wav": random.Random(2).randbytes(70000)}


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# rar: written by hand after the description of the format (RAR 5.0), members stored as they are


def number(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F)
    return bytes([*(digit | 0x80 for digit in digits[:-1]), digits[-1]])


def block(fields: bytes) -> bytes:
    header = number(len(fields)) + fields
    return struct.pack("<L", zlib.crc32(header)) + header


def write_rar(path: Path, files: dict[str, bytes], method: int = 0, link: str = "") -> Path:
    """``link``: what all members are links to."""
    redirection = number(5) + number(1) + number(0) + number(len(link)) + link.encode()  # a link of Unix
    extra = number(len(redirection)) + redirection if link else b""
    extra_length = number(len(extra)) if link else b""
    parts = [b"Rar!\x1a\x07\x01\x00", block(number(1) + number(0) + number(0))]
    for name, data in files.items():
        fields = number(2) + number(3 if link else 2)  # a file; data follow, and extra fields
        fields += extra_length + number(len(data))
        fields += number(4) + number(len(data)) + number(0o100644)  # with CRC; unpacked length; attributes
        fields += struct.pack("<L", zlib.crc32(data)) + number(method << 7) + number(1)  # packed how; Unix
        fields += number(len(name)) + name.encode() + extra
        parts += [block(fields), data]
    parts.append(block(number(5) + number(0) + number(0)))
    path.write_bytes(b"".join(parts))
    return path


def test_rar(tmp_path):
    archive = write_rar(tmp_path / "hive.rar", FILES)
    (folder,) = as_folders([archive], tmp_path / "work")
    assert content(folder) == FILES


def test_damaged_rar(tmp_path):
    archive = write_rar(tmp_path / "hive.rar", FILES)
    damaged = bytearray(archive.read_bytes())
    damaged[-1000] ^= 1
    archive.write_bytes(damaged)
    with pytest.raises(UserError, match=r"hive\.rar: cannot be unpacked .* fetch it again"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rar_without_a_tool_for_it(tmp_path, monkeypatch):
    """Stored members need none; packed ones do."""
    archive = write_rar(tmp_path / "hive.rar", FILES, method=3)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(rarfile, "CURRENT_SETUP", None)
    with pytest.raises(UserError, match="needs unrar, unar, 7z or bsdtar: install one of them"):
        unpack(archive, tmp_path / "out")


def test_rar_that_points_outside(tmp_path):
    archive = write_rar(tmp_path / "hive.rar", {"../evil.wav": b"x"})
    with pytest.raises(UserError, match=r"points outside"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "evil.wav").exists()


def test_rar_with_a_link(tmp_path):
    (tmp_path / "mine.wav").write_bytes(b"mine")
    archive = write_rar(tmp_path / "hive.rar", {"hive.wav": b""}, link=str(tmp_path / "mine.wav"))
    with pytest.raises(UserError, match=r"'hive\.wav' is neither a file nor a folder"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# zip in parts


def split(archive: Path, part_bytes: int) -> list[Path]:
    """Cut an archive to parts, as APPNOTE.TXT has them: places are counted from the start of their part."""
    data = bytearray(archive.read_bytes())
    end = data.rfind(b"PK\x05\x06")
    count, size, start = struct.unpack_from("<HLL", data, end + 10)
    parts = 1 + start // part_bytes  # the last holds the central directory
    place = start
    for _ in range(count):
        lengths = struct.unpack_from("<HHH", data, place + 28)
        (offset,) = struct.unpack_from("<L", data, place + 42)
        struct.pack_into("<H", data, place + 34, offset // part_bytes)
        struct.pack_into("<L", data, place + 42, offset % part_bytes)
        place += 46 + sum(lengths)
    assert place == start + size
    last = (parts - 1) * part_bytes
    struct.pack_into("<HHHHLL", data, end + 4, parts - 1, parts - 1, count, count, size, start - last)
    paths = [archive.with_suffix(f".z{n:02d}") for n in range(1, parts)]
    for n, path in enumerate(paths):
        path.write_bytes(data[n * part_bytes : (n + 1) * part_bytes])
    archive.write_bytes(data[last:])
    return [*paths, archive]


def write_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in FILES.items():
            zipped.writestr(name, data)
    return path


@pytest.mark.parametrize("part_bytes", [4096, 30000, 10**6])
def test_zip_in_parts(tmp_path, part_bytes):
    parts = split(write_zip(tmp_path / "dev.zip"), part_bytes)
    assert len(parts) == 1 + 75000 // part_bytes
    unpack(tmp_path / "dev.zip", tmp_path / "out")
    assert content(tmp_path / "out") == FILES


def test_zip_in_parts_by_the_common_tool(tmp_path):
    if shutil.which("zip") is None:
        pytest.skip("no zip")
    for name, data in FILES.items():
        (tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / name).write_bytes(data)
    subprocess.run(["zip", "-q", "-s", "64k", "-r", "../dev.zip", "."], cwd=tmp_path / "raw", check=True)
    assert (tmp_path / "dev.z01").is_file()
    with open_zip(tmp_path / "dev.zip") as zipped:
        zipped.extractall(tmp_path / "out")
    assert content(tmp_path / "out") == FILES


def test_parts_that_are_missing_are_named(tmp_path):
    parts = split(write_zip(tmp_path / "dev.zip"), 20000)
    parts[1].unlink()
    with pytest.raises(UserError, match=r"dev\.zip: dev\.z02 missing in the same folder"):
        unpack(tmp_path / "dev.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_part(tmp_path):
    parts = split(write_zip(tmp_path / "dev.zip"), 20000)
    damaged = bytearray(parts[1].read_bytes())
    damaged[1000] ^= 1
    parts[1].write_bytes(damaged)
    with pytest.raises(UserError, match=r"dev\.zip: cannot be unpacked"):
        unpack(tmp_path / "dev.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_sound_file_stands_for_its_folder(tmp_path):
    for name in ("mic1raw.wav", "mic2raw16b.wav"):
        (tmp_path / name).touch()
    assert as_folders([tmp_path / "mic1raw.wav", tmp_path / "mic2raw16b.wav"], tmp_path / "w") == [tmp_path]
