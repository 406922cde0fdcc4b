"""`download --from-file`: archives that are on disk."""

import tarfile
import zipfile

import pytest
from task_archives import FOLDER, assert_whole, make_tar, task_archive

from eval_tasks.__main__ import main
from eval_tasks.tasks.task_folder import TaskFolder


def test_from_file(tmp_path, capsys):
    archive = tmp_path / "some.tar.gz"
    archive.write_bytes(task_archive())
    assert main(["download", "--from-file", str(archive), "--out", str(tmp_path / "tasks")]) == 0
    assert_whole(tmp_path / "tasks")
    assert archive.exists()


def test_from_file_adds_a_sample_rate_and_refuses_other_clips(tmp_path, capsys):
    out = tmp_path / "tasks"
    archive = tmp_path / "some.tar.gz"
    archive.write_bytes(task_archive())
    assert main(["download", "--from-file", str(archive), "--out", str(out)]) == 0
    (out / FOLDER / "48000").rename(out / FOLDER / "16000")
    assert main(["download", "--from-file", str(archive), "--out", str(out)]) == 0
    assert TaskFolder.open(out / FOLDER).sample_rates == [16000, 48000]
    (out / FOLDER / "fold01.json").write_text('{"fold01.wav": ["b"]}')
    assert main(["download", "--from-file", str(archive), "--out", str(out)]) == 1
    assert "other clips or labels" in capsys.readouterr().err
    assert not list(out.glob(".unpacked*"))


@pytest.mark.parametrize(
    "name", ["../outside.txt", "{folder}/outside.txt", "a/../../outside.txt", "a\\..\\outside.txt"]
)
def test_archive_that_points_outside(tmp_path, name, capsys):
    archive, name = tmp_path / "in" / "evil.tar", name.format(folder=tmp_path)
    archive.parent.mkdir()
    archive.write_bytes(make_tar({"task_metadata.json": b"{}", name: b"evil"}))
    out = tmp_path / "in" / "tasks"
    assert main(["download", "--from-file", str(archive), "--out", str(out)]) == 1
    assert f"member {name!r} points outside the archive" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*outside.txt"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_archive_with_a_link_or_a_device(tmp_path, kind, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    member = tarfile.TarInfo("a/task.wav")
    member.type, member.linkname = kind, str(tmp_path / "mine.txt")
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.addfile(member)
    assert main(["download", "--from-file", str(tmp_path / "evil.tar"), "--out", str(tmp_path / "out")]) == 1
    assert "'a/task.wav' is neither a plain file nor a folder" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("task.wav"))


def test_archive_with_a_sparse_file(tmp_path, capsys):
    """Its member says that it holds nothing, and unpacks to a megabyte."""
    header = bytearray(tarfile.TarInfo("a/task.wav").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:410] = b"%011o\0%011o\0" % (1 << 20, 0)  # where data begin, and how much
    header[483:495] = b"%011o\0" % (1 << 20)  # the whole
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "evil.tar").write_bytes(header + bytes(1024))
    assert main(["download", "--from-file", str(tmp_path / "evil.tar"), "--out", str(tmp_path / "out")]) == 1
    assert "'a/task.wav' is neither a plain file nor a folder" in capsys.readouterr().err


def test_zip_archive_that_points_outside(tmp_path, capsys):
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("task_metadata.json", "{}")
        zipped.writestr("../outside.txt", "evil")
    assert main(["download", "--from-file", str(archive), "--out", str(tmp_path / "tasks")]) == 1
    assert "'../outside.txt' points outside the archive" in capsys.readouterr().err
    assert not list(tmp_path.rglob("outside.txt")) and not list((tmp_path / "tasks").glob(".*evil*"))


def test_archive_that_is_none(tmp_path, capsys):
    for content, message in (
        (b"", "cannot be unpacked"),
        (make_tar({"readme": b"hello"}), "no task_metadata.json"),
    ):
        archive = tmp_path / "file.tar.gz"
        archive.write_bytes(content)
        assert main(["download", "--from-file", str(archive), "--out", str(tmp_path / "tasks")]) == 1
        assert message in capsys.readouterr().err
        assert not list((tmp_path / "tasks").glob("*unpacked*"))
    assert main(["download", "--from-file", str(tmp_path / "no.zip"), "--out", str(tmp_path)]) == 1
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "members",
    [
        {"a/task_metadata.json": b"{", "a/labelvocabulary.csv": b""},
        {"a/task_metadata.json": b"\xff", "b/task_metadata.json": b"[]"},
        {"x/a/task_metadata.json": b"{}", "y/a/task_metadata.json": b"{}"},
        {".a/task_metadata.json": b"{}"},
        {"a/task_metadata.json/inside": b"{}"},
    ],
)
def test_nothing_of_an_archive_that_is_refused_stays(tmp_path, members, capsys):
    archive, out = tmp_path / "file.tar.gz", tmp_path / "tasks"
    archive.write_bytes(make_tar(members))
    assert main(["download", "--from-file", str(archive), "--out", str(out)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert not [path for path in out.iterdir() if path.suffix != ".lock"]


def test_nothing_of_raw_data_that_are_refused_stays(tmp_path, capsys):
    (tmp_path / "raw.zip").write_bytes(b"no archive")
    out = tmp_path / "tasks"
    assert main(["prepare", "esc50", "--raw", str(tmp_path / "raw.zip"), "--out", str(out)]) == 1
    assert "cannot be unpacked" in capsys.readouterr().err
    assert not [path for path in out.iterdir() if path.suffix != ".lock"]
