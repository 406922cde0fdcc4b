"""`download` from a server that breaks off, lies, or is gone."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from task_archives import ARCHIVE, FOLDER, Server, assert_whole, task_archive

from eval_tasks.__main__ import main


@pytest.fixture
def server():
    server = Server({ARCHIVE: task_archive(), "another.txt": b"not an archive of a task"})
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """pooch sleeps between attempts."""
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)


def download(server: Server, out: Path, *options: str, task: str = FOLDER) -> int:
    return main(["download", task, "--out", str(out), "--api", f"{server.url}/records", "--quiet", *options])


def test_download_and_again(server, tmp_path, capsys):
    assert download(server, tmp_path) == 0
    assert_whole(tmp_path)
    assert not list((tmp_path / ".archives").glob("*.tar.gz"))
    assert download(server, tmp_path) == 0
    assert "already there" in capsys.readouterr().out
    assert len(server.served) == 1


def test_a_broken_transfer_goes_on_where_it_stopped(server, tmp_path):
    size = len(server.files[ARCHIVE])
    server.break_after = [size // 3, 1, 0]
    assert download(server, tmp_path) == 0
    assert_whole(tmp_path)
    assert server.served == [
        (0, size // 3),
        (size // 3, 1),
        (size // 3 + 1, 0),
        (size // 3 + 1, size - size // 3 - 1),
    ]


def test_the_next_run_goes_on_too(server, tmp_path, capsys):
    size = len(server.files[ARCHIVE])
    server.break_after = [1000, 1000]
    assert download(server, tmp_path, "--retries", "1") == 1
    assert "run the same command again" in capsys.readouterr().err
    assert not (tmp_path / FOLDER).exists()
    assert download(server, tmp_path) == 0
    assert_whole(tmp_path)
    assert server.served == [(0, 1000), (1000, 1000), (2000, size - 2000)]


def test_a_server_without_ranges_is_asked_for_the_whole(server, tmp_path):
    server.ranges = False
    server.break_after = [1000]
    assert download(server, tmp_path) == 0
    assert_whole(tmp_path)
    assert [start for start, _ in server.served] == [0, 0]


def test_a_wrong_checksum_is_never_unpacked(server, tmp_path, capsys):
    server.lie = "0" * 32
    assert download(server, tmp_path, "--retries", "2") == 1
    message = capsys.readouterr().err
    assert ARCHIVE in message and "hash" in message and "--refresh" in message
    assert [start for start, _ in server.served] == [0, 0, 0]
    assert not (tmp_path / FOLDER).exists() and not list(tmp_path.rglob("*.part"))
    server.lie = None
    assert download(server, tmp_path, "--retries", "0") == 1, "the lock holds the first checksum"
    assert download(server, tmp_path, "--refresh") == 0
    assert_whole(tmp_path)


def test_damage_on_the_way_is_mended_by_a_new_transfer(server, tmp_path):
    """What is kept of a broken transfer was changed: the checksum finds it, the whole is fetched anew."""
    server.break_after = [1000]
    assert download(server, tmp_path, "--retries", "0") == 1
    (part,) = tmp_path.rglob("*.part")
    part.write_bytes(b"x" * 1000)
    assert download(server, tmp_path, "--retries", "1") == 0
    assert_whole(tmp_path)
    assert [start for start, _ in server.served] == [0, 1000, 0]


def test_the_lock_pins_what_the_record_said_first(server, tmp_path):
    assert download(server, tmp_path, "--keep-archives") == 0
    lock = json.loads((tmp_path / ".archives" / "zenodo-6332517.lock.json").read_text())
    assert lock[ARCHIVE]["checksum"] == "md5:" + hashlib.md5(server.files[ARCHIVE]).hexdigest()
    other = tmp_path / "other"
    archives = str(tmp_path / ".archives")
    assert download(server, other, "--archives", archives) == 0
    assert_whole(other)
    assert server.record_asked == 1 and len(server.served) == 1


def test_another_record_is_asked_where_the_first_is_gone(server, tmp_path, capsys):
    server.records = {"5885750"}
    assert download(server, tmp_path) == 0
    assert_whole(tmp_path)
    assert "404" in capsys.readouterr().err
    assert [f.name for f in (tmp_path / ".archives").glob("*.json")] == ["zenodo-5885750.lock.json"]
    assert download(server, tmp_path / "other", "--record", "6332517") == 1


def test_server_that_is_gone(server, tmp_path, capsys):
    server.stop()
    assert download(server, tmp_path) == 1
    assert "reaches Zenodo" in capsys.readouterr().err


def test_server_that_goes_away_between_record_and_file(server, tmp_path, capsys):
    assert download(server, tmp_path / "first", "--archives", str(tmp_path / "archives")) == 0
    server.stop()
    archives = str(tmp_path / "archives")
    assert download(server, tmp_path / "second", "--archives", archives, "--retries", "1") == 1
    assert "run the same command again" in capsys.readouterr().err


def test_what_the_record_does_not_have(server, tmp_path, capsys):
    assert download(server, tmp_path, task="fsd50k-v1.0-full") == 1
    assert "0 files end in fsd50k-v1.0-full-48000.tar.gz" in capsys.readouterr().err
    assert download(server, tmp_path, task="imagenet") == 1
    assert "no task 'imagenet'" in capsys.readouterr().err
    assert main(["download", "--out", str(tmp_path)]) == 1


def test_answer_that_is_no_record(tmp_path, server, capsys):
    server.record = lambda: {"message": "maintenance"}
    assert download(server, tmp_path) == 1
    assert "expected a Zenodo record" in capsys.readouterr().err


def test_full_disk_is_found_before_the_transfer(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("eval_tasks.files.free_bytes", lambda folder: 1000)
    assert download(server, tmp_path) == 1
    assert "are free" in capsys.readouterr().err and not server.served


def test_a_failed_task_does_not_stop_the_others(server, tmp_path):
    other = "gunshot_triangulation-v1.0-full"
    server.files = {
        ARCHIVE: task_archive()[:-100],
        f"hear2021-{other}-48000.tar.gz": task_archive(other),
    }
    arguments = ["--out", str(tmp_path), "--api", f"{server.url}/records", "--quiet"]
    assert main(["download", FOLDER, other, *arguments]) == 1
    assert_whole(tmp_path, other)
    assert not (tmp_path / FOLDER).exists()


def test_kill_and_run_again(server, tmp_path):
    server.pause_after = 50000
    arguments = ["download", FOLDER, "--out", str(tmp_path), "--api", f"{server.url}/records", "--quiet"]
    process = subprocess.Popen([sys.executable, "-m", "eval_tasks", *arguments], start_new_session=True)
    deadline = time.monotonic() + 60
    while not any(part.stat().st_size for part in tmp_path.rglob("*.part")):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / FOLDER).exists()
    (part,) = tmp_path.rglob("*.part")
    arrived = part.stat().st_size
    server.pause_after = None
    assert main(arguments) == 0
    assert_whole(tmp_path)
    assert arrived > 0 and server.served[-1][0] == arrived


def test_kill_while_unpacking(server, tmp_path, monkeypatch):
    """A process that dies in the middle leaves a half-unpacked folder under another name."""

    def dies(self, member, path, **options):
        (Path(path) / "half").write_text("half of it")
        os._exit(9)

    arguments = ["download", FOLDER, "--out", str(tmp_path), "--api", f"{server.url}/records", "--quiet"]
    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(tarfile.TarFile, "extract", dies)
        main(arguments)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert list(tmp_path.rglob("half")) and not (tmp_path / FOLDER).exists()
    assert main(arguments) == 0
    assert_whole(tmp_path)
    assert not list(tmp_path.rglob("half")) and len(server.served) == 1
