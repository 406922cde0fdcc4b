"""Archives of strangers, and records of where they are, are refused or read whole."""

import gzip
import io
import json
import random
import tarfile
import zipfile

import pytest
import requests
from beeps import make_beeps

from eval_tasks.__main__ import main
from eval_tasks.errors import UserError
from eval_tasks.tasks import archives
from eval_tasks.tasks.download import install
from eval_tasks.tasks.transfer import record_files


@pytest.fixture
def task(tmp_path):
    return make_beeps(tmp_path)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def packed(task, kind):
    """The task folder as an archive of a kind: bytes."""
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
            for path in sorted(task.rglob("*")):
                zipped.write(path, path.relative_to(task.parent))
    else:
        with tarfile.open(fileobj=buffer, mode=f"w:{kind}") as tar:
            tar.add(task, task.name)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zip"])
def test_a_damaged_archive_is_refused_or_whole(task, tmp_path, kind):
    """One bit is flipped at 40 places, and the end is cut off at 10."""
    sound, random_places = packed(task, kind), random.Random(0)
    archive = tmp_path / f"task.{kind}"
    archive.write_bytes(sound)
    archives.unpack(archive, tmp_path / "whole")
    expected = content(tmp_path / "whole")
    refused = 0
    for number in range(50):
        place = random_places.randrange(len(sound))
        damaged = bytearray(sound)
        damaged[place] ^= 1 << random_places.randrange(8)
        archive.write_bytes(damaged if number < 40 else sound[:place])
        try:
            archives.unpack(archive, tmp_path / f"out{number}")
        except UserError as error:
            assert str(archive) in str(error)
            refused += 1
        else:  # a bit that says nothing of the files, such as a date
            assert sorted(content(tmp_path / f"out{number}").values()) == sorted(expected.values())
        assert not list(tmp_path.glob(".out*"))
    assert refused > 35


def test_garbage_after_a_checksum_and_encrypted_archives_are_sentences(task, tmp_path, capsys):
    (tmp_path / "long.tar.gz").write_bytes(packed(task, "gz") + b"garbage")
    encrypted = bytearray(packed(task, "zip"))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = encrypted.find(signature)
        while place >= 0:
            encrypted[place + offset] |= 1
            place = encrypted.find(signature, place + 4)
    (tmp_path / "secret.zip").write_bytes(encrypted)
    (tmp_path / "no.tar.gz").write_bytes(gzip.compress(b"no archive"))
    for name in ("long.tar.gz", "secret.zip", "no.tar.gz"):
        out = tmp_path / f"out-{name}"
        assert main(["download", "--from-file", str(tmp_path / name), "--out", str(out)]) == 1
        assert "cannot be unpacked" in capsys.readouterr().err


def test_archives_that_expand_too_far_are_refused(task, tmp_path, monkeypatch):
    archive = tmp_path / "bomb.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("zeros")
        member.size = 10_000_000
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    archives.unpack(archive, tmp_path / "small")  # 10 MB are no harm, however well they pack
    monkeypatch.setattr(archives, "SMALL_BYTES", 1_000_000)
    with pytest.raises(UserError, match="more than 100 times its size"):
        archives.unpack(archive, tmp_path / "out")
    monkeypatch.setattr(archives, "LARGEST_COUNT", 5)
    archive.write_bytes(packed(task, "gz"))
    with pytest.raises(UserError, match="more than 5 members"):
        archives.unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_task_at_an_archives_root_gets_its_own_name(task, tmp_path):
    archive = tmp_path / "root.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(task, ".")
    assert install(archive, tmp_path / "out") == [tmp_path / "out/beeps-v1-full"]
    assert content(tmp_path / "out/beeps-v1-full") == content(task)
    assert not list((tmp_path / "out").glob(".unpacked*"))


@pytest.mark.parametrize("name", ["../evil", ".evil", "a/b"])
def test_a_task_at_an_archives_root_cannot_be_called_anything(task, tmp_path, name):
    metadata = json.loads((task / "task_metadata.json").read_text())
    (task / "task_metadata.json").write_text(json.dumps({**metadata, "task_name": name}))
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        tar.add(task, ".")
    with pytest.raises(UserError, match="cannot be the name of a task folder"):
        install(tmp_path / "root.tar", tmp_path / "out")
    assert not list(tmp_path.rglob("*evil*")) and not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"key": "../x.tar.gz"}, "expected a file name"),
        ({"links": {"self": "file:///etc/passwd"}}, "expected a file name, an address"),
        ({"checksum": "00"}, "expected such as md5:"),
        ({"checksum": "crc32:00"}, "expected such as md5:"),
    ],
)
def test_a_record_names_no_file_outside_no_file_here_and_a_checksum(tmp_path, monkeypatch, wrong, words):
    class Answer:
        def raise_for_status(self):
            pass

        def json(self):
            links = {"self": "https://example.org/x"}
            return {"files": [{"key": "x.tar.gz", "links": links, "checksum": "md5:00", "size": 1, **wrong}]}

    monkeypatch.setattr(requests, "get", lambda *args, **options: Answer())
    with pytest.raises(UserError, match=words):
        record_files("https://example.org", "1", tmp_path / "lock.json", refresh=False)
    assert not (tmp_path / "lock.json").exists()
