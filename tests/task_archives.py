"""Archives of a small task, and a server that has them as Zenodo does."""

import hashlib
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import soundfile

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
