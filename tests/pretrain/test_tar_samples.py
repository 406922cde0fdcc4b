"""Shards that are cut, damaged, at an odd address, or on a server that stalls."""

import socket
import tarfile
import threading
import warnings
from io import BytesIO
from pathlib import Path

import pytest

from pretrain.corpus.tar_samples import tar_samples

SIZE = 3000


def write(path: Path, mode: str = "w") -> list[int]:
    """Four samples of a sound and a text; returns where each file begins."""
    with tarfile.open(path, mode) as archive:
        for number in range(4):
            for suffix in ("flac", "json"):
                info = tarfile.TarInfo(f"clip{number}.{suffix}")
                info.size = SIZE
                archive.addfile(info, BytesIO(bytes([number]) * SIZE))
    with tarfile.open(path) as archive:
        return [member.offset for member in archive.getmembers()]


def keys(*shards: Path | str) -> list[str]:
    return [sample["__key__"] for sample in tar_samples(map(str, shards))]


def test_whole_shards_give_all_samples_in_order(tmp_path):
    write(tmp_path / "a.tar")
    write(tmp_path / "b.tar.gz", "w:gz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        samples = list(tar_samples([str(tmp_path / "a.tar"), str(tmp_path / "b.tar.gz")]))
    assert [sample["__key__"] for sample in samples] == [f"clip{n}" for n in range(4)] * 2
    assert samples[2]["flac"] == bytes([2]) * SIZE and samples[2]["__url__"] == str(tmp_path / "a.tar")


def test_a_shard_cut_short_is_named_and_the_next_one_goes_on(tmp_path):
    places = write(tmp_path / "a.tar")
    write(tmp_path / "b.tar")
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[: places[4] + 1000])  # within the sound of the third sample
    with pytest.warns(UserWarning, match=r"a\.tar: damaged or cut short .*after clip1\.json"):
        assert keys(tmp_path / "a.tar", tmp_path / "b.tar") == [f"clip{n}" for n in (0, 1, 0, 1, 2, 3)]
    (tmp_path / "a.tar").write_bytes(b"no tar at all" * 100)
    with pytest.warns(UserWarning, match="left out: all of it"):
        assert keys(tmp_path / "a.tar") == []


def test_a_damaged_gzip_is_named(tmp_path):
    write(tmp_path / "a.tar.gz", "w:gz")
    data = bytearray((tmp_path / "a.tar.gz").read_bytes())
    data[len(data) // 2] ^= 255
    (tmp_path / "a.tar.gz").write_bytes(bytes(data))
    with pytest.warns(UserWarning, match=r"a\.tar\.gz: damaged"):
        assert len(keys(tmp_path / "a.tar.gz")) < 4


def test_a_name_that_looks_like_a_command_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "pipe:touch mark;.tar"
    write(tmp_path / name)
    assert keys(name) == [f"clip{n}" for n in range(4)]
    assert not (tmp_path / "mark").exists()
    with pytest.raises(ValueError, match="expected a path"):
        keys("pipe:touch mark")
    assert not (tmp_path / "mark").exists()


def test_a_missing_local_shard_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        keys(tmp_path / "a.tar")


def test_a_server_that_stalls_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("pretrain.corpus.tar_samples.TIMEOUT_S", 0.3)
    places = write(tmp_path / "a.tar")
    whole = (tmp_path / "a.tar").read_bytes()
    done = threading.Event()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(whole)}\r\n\r\n".encode()
            connection.sendall(head + whole[: places[4] + 10_240])
            done.wait(30)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a'; touch mark; '.tar".replace(" ", "%20")
        with pytest.warns(UserWarning, match=r"cut short \(.*timed out"):
            assert keys(url)[:2] == ["clip0", "clip1"]
        done.set()
        thread.join(30)
    assert not Path("mark").exists()
