import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eval_tasks.__main__ import main
from eval_tasks.tasks.task_folder import TaskFolder

FOLDER = "esc50-v2.0.0-full"
ARCHIVE = f"hear2021-{FOLDER}-48000.tar.gz"
SPLITS = ["fold00", "fold01", "fold02"]


def task_archive(folder: str = FOLDER, seed: int = 0) -> bytes:
    """A published archive in small: hear-2021.0.6/tasks/<folder>/..., clips of noise."""
    metadata = {
        "task_name": folder.split("-")[0],
        "version": "v2.0.0",
        "mode": "full",
        "embedding_type": "scene",
        "prediction_type": "multiclass",
        "split_mode": "presplit_kfold",
        "nfolds": 3,
        "sample_duration": 1.0,
        "evaluation": ["top1_acc"],
        "splits": SPLITS,
    }
    files = {"task_metadata.json": json.dumps(metadata).encode(), "labelvocabulary.csv": b"idx,label\n0,a\n"}
    for split in SPLITS:
        files[f"{split}.json"] = json.dumps({f"{split}.wav": ["a"]}).encode()
        wav = io.BytesIO()
        noise = np.random.default_rng([seed, len(files)]).uniform(-0.5, 0.5, 48000)
        soundfile.write(wav, noise, 48000, format="WAV")
        files[f"48000/{split}/{split}.wav"] = wav.getvalue()
    return make_tar({f"hear-2021.0.6/tasks/{folder}/{name}": data for name, data in files.items()})


def make_tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Server:
    """Answers as Zenodo's record API and file store do, and misbehaves when told to.

    Attributes:
        break_after: bytes after which each of the next transfers breaks off; one entry a transfer.
        ranges: whether the server knows byte ranges.
        lie: md5 that the record states instead of the true one.
        served: (first byte asked for, bytes sent) of each transfer.
        records: those that it has.
        pause_after: bytes after which a transfer stands still until ``go_on`` is set.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.break_after: list[int] = []
        self.ranges = True
        self.lie: str | None = None
        self.served: list[tuple[int, int]] = []
        self.record_asked = 0
        self.records = {"6332517", "5885750"}
        self.pause_after: int | None = None
        self.go_on = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, name = self.path.split("/")[1:3]
                if kind == "records":
                    server.record_asked += 1
                    body = json.dumps(server.record()).encode()
                    self.reply(200 if name in server.records else 404, body)
                else:
                    server.send(self, server.files[self.path.split("/")[2]])

            def reply(self, status: int, body: bytes, length: int | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def record(self) -> dict:
        return {
            "files": [
                {
                    "key": name,
                    "size": len(data),
                    "checksum": f"md5:{self.lie or hashlib.md5(data).hexdigest()}",
                    "links": {"self": f"{self.url}/files/{name}/content"},
                }
                for name, data in self.files.items()
            ]
        }

    def send(self, handler, data: bytes) -> None:
        asked = handler.headers.get("Range") if self.ranges else None
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        body = data[start:]
        if self.break_after:
            body = body[: self.break_after.pop(0)]
        self.served.append((start, len(body)))
        if self.pause_after is None:
            handler.reply(206 if asked else 200, body, len(data) - start)
        else:
            handler.reply(206 if asked else 200, body[: self.pause_after], len(data) - start)
            handler.wfile.flush()
            self.go_on.wait(10)

    def stop(self) -> None:
        self.go_on.set()
        self.http.shutdown()
        self.http.server_close()


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


def assert_whole(out: Path, folder: str = FOLDER) -> None:
    task = TaskFolder.open(out / folder)
    assert task.sample_rates == [48000] and not task.missing_audio(48000)
    with tarfile.open(fileobj=io.BytesIO(task_archive(folder))) as tar:
        for member in tar:
            path = out / Path(member.name).relative_to("hear-2021.0.6/tasks")
            assert path.read_bytes() == tar.extractfile(member).read()
    assert (
        not list(out.rglob("*.tmp")) and not list(out.rglob("*.part")) and not list(out.rglob(".unpacked*"))
    )


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
    while not any(part.stat().st_size for part in tmp_path.rglob("*.part")):
        assert process.poll() is None, "the run ended before it could be killed"
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


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "a/../../outside.txt"])
def test_archive_that_points_outside(tmp_path, name, capsys):
    archive = tmp_path / "in" / "evil.tar"
    archive.parent.mkdir()
    archive.write_bytes(make_tar({"task_metadata.json": b"{}", name: b"evil"}))
    out = tmp_path / "in" / "tasks"
    main(["download", "--from-file", str(archive), "--out", str(out)])
    assert not list(tmp_path.glob("outside.txt")) and not Path("/outside.txt").exists()
    assert not list(archive.parent.glob("outside.txt"))


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
    assert main(["download", "--from-file", str(tmp_path / "no.zip"), "--out", str(tmp_path)]) == 1
    assert "no such file" in capsys.readouterr().err
