"""What files of strangers must not do: run code, or touch a file outside the folder that was named."""

import gzip
import io
import json
import os
import pickle
import random
import tarfile
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import requests
import soundfile
import torch
from made_embeddings import embeddings_folder

from eval_tasks.__main__ import main
from eval_tasks.errors import UserError
from eval_tasks.files import refuse_links_outside, unsafe_name
from eval_tasks.probe.linear import Protocol
from eval_tasks.report import text
from eval_tasks.runs import harness
from eval_tasks.runs.claim import claim_model_folder, written_folders
from eval_tasks.runs.pickles import read_labels, unpickle
from eval_tasks.runs.results import IDENTITY
from eval_tasks.runs.run_task import TaskJob, run_task
from eval_tasks.tasks import archives
from eval_tasks.tasks.download import install
from eval_tasks.tasks.task_folder import TaskFolder, write_description
from eval_tasks.tasks.transfer import record_files

RATE = 16000
METADATA = {
    "task_name": "beeps",
    "version": "v1",
    "mode": "full",
    "embedding_type": "scene",
    "prediction_type": "multiclass",
    "split_mode": "trainvaltest",
    "sample_duration": 0.1,
    "evaluation": ["top1_acc"],
    "splits": ["train", "valid", "test"],
}


@pytest.fixture
def task(tmp_path):
    """A task folder of three clips, and a sound file next to it."""
    folder = tmp_path / "tasks/beeps-v1-full"
    content = {split: {f"{split}.wav": ["a"]} for split in METADATA["splits"]}
    write_description(folder, METADATA, content, ["a"])
    sound = 0.1 * np.random.default_rng(0).standard_normal(RATE // 10)
    for split in METADATA["splits"]:
        (folder / str(RATE) / split).mkdir(parents=True)
        soundfile.write(folder / str(RATE) / split / f"{split}.wav", sound, RATE)
    soundfile.write(tmp_path / "mine.wav", sound, RATE)
    return folder


@pytest.mark.parametrize(
    "name", ["../../../../mine.wav", "{folder}/mine.wav", "..", "a\\..\\mine.wav", "a\0b"]
)
@pytest.mark.parametrize("where", ["clip", "split"])
def test_a_task_folder_reaches_nothing_outside(task, tmp_path, capsys, name, where):
    name = name.format(folder=tmp_path)
    before = (tmp_path / "mine.wav").read_bytes()
    if where == "clip":
        (task / "train.json").write_text(json.dumps({name: ["a"]}))
    else:
        splits = [name, "valid", "test"]
        (task / "task_metadata.json").write_text(json.dumps({**METADATA, "splits": splits}))
    status = main(["resample", str(task), "--sample-rate", "8000", "--jobs", "1", "--quiet"])
    assert status == 1 and "expected a file name" in capsys.readouterr().err
    assert (tmp_path / "mine.wav").read_bytes() == before
    assert main(["check", str(task), "--sample-rate", str(RATE)]) == 1


@pytest.mark.parametrize("link", ["", "train"])
def test_resample_does_not_write_through_links(task, tmp_path, capsys, link):
    (tmp_path / "elsewhere").mkdir()
    partial = task / f"8000-from-{RATE}.partial"
    if link:
        partial.mkdir()
    (partial / link).symlink_to(tmp_path / "elsewhere")
    assert main(["resample", str(task), "--sample-rate", "8000", "--jobs", "1", "--quiet"]) == 1
    assert "is a link to" in capsys.readouterr().err and not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    "link",
    [
        *("logs", "embeddings", "predictions", "model.json"),
        *("logs/x.log", "logs/.x.lock", "embeddings/module", "embeddings/module/task"),
        *("predictions/default", "predictions/default/task"),
    ],
)
def test_a_model_folder_with_a_link_outside_is_not_claimed(tmp_path, link):
    model, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (model / link).parent.mkdir(parents=True)
    (model / link).symlink_to(elsewhere)
    with pytest.raises(UserError, match="is a link to"):
        claim_model_folder(model, dict.fromkeys(IDENTITY, ""), "refuse")
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("link", ["probe", "probe/{protocol}", "probe/{protocol}/beeps-v1-full"])
def test_probe_does_not_write_through_links(tmp_path, capsys, link):
    model, elsewhere = tmp_path / "out/model", tmp_path / "elsewhere"
    elsewhere.mkdir()
    parts = {split: (np.eye(2), [["a"], ["b"]]) for split in METADATA["splits"]}
    embeddings_folder(model / "embeddings/module/beeps-v1-full", parts, ["a", "b"], ["top1_acc"])
    (model / "model.json").write_text("{}")
    path = model / link.format(protocol=Protocol(epochs=1).name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(elsewhere)
    assert main(["probe", "--out", str(tmp_path / "out"), "--seeds", "1", "--epochs", "1"]) == 1
    assert "is a link to" in capsys.readouterr().err and not list(elsewhere.iterdir())


def test_a_run_folder_is_not_written_through_links(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    model = tmp_path / "model"
    (model / "embeddings/module/task").mkdir(parents=True)
    (model / "embeddings/inside").symlink_to("module")
    refuse_links_outside(model, written_folders(model))
    (model / "embeddings/module/other").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="other is a link to"):
        refuse_links_outside(model, written_folders(model))


class RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class HidesIt:
    """torch's own loader of storages, which unpickles what it is given."""

    def __init__(self, inner):
        self.inner = inner

    def __reduce__(self):
        from torch.storage import _load_from_bytes

        return _load_from_bytes, (pickle.dumps(self.inner),)


@pytest.mark.parametrize("wrap", [RunsCode, lambda path: HidesIt(RunsCode(path))])
def test_received_embeddings_run_no_code(tmp_path, monkeypatch, wrap):
    started = []
    monkeypatch.setattr(harness, "run_process", lambda *args: started.append(args) or 1)
    values = np.eye(2)
    parts = {split: (values, [["a"], ["b"]]) for split in METADATA["splits"]}
    folder = tmp_path / "model/embeddings/module/beeps-v1-full"
    embeddings_folder(folder, parts, ["a", "b"], ["top1_acc"])
    job = TaskJob(folder, tmp_path / "model", "module", "", {}, "faster", 1, "keep", 1, None)
    assert "predictions ended with status 1" in run_task(job).error and len(started) == 1

    (folder / "valid.target-labels.pkl").write_bytes(pickle.dumps([["a"], [wrap(tmp_path / "ran")]]))
    result = run_task(job)
    assert result.status == "failed" and "valid.target-labels.pkl was not read" in result.error
    assert len(started) == 1 and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("wrap", [RunsCode, lambda path: HidesIt(RunsCode(path))])
def test_received_predictions_run_no_code(tmp_path, wrap):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"target": wrap(tmp_path / "ran")}))
    with pytest.raises(UserError, match=r"x\.pkl was not read"):
        unpickle(tmp_path / "x.pkl")
    assert not (tmp_path / "ran").exists()


class Reduces:
    """Pickled as a call of a function."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


@pytest.mark.parametrize("kind", ["O", "V8", "U3", "M8[s]"])
def test_numbers_in_predictions_are_plain(tmp_path, kind):
    """NumPy itself would take any eight bytes for the address of an object."""
    scalar = np.float64(1).__reduce__()[0]
    number = Reduces(scalar, (Reduces(np.dtype, (kind, False, True)), bytes(12)))
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"score": number}))
    with pytest.raises(UserError, match="has no place in heareval's results"):
        unpickle(tmp_path / "x.pkl")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"score": np.float64(0.5)}))
    assert unpickle(tmp_path / "x.pkl") == {"score": 0.5}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(np.dtype(">f8")))
    with pytest.raises(UserError, match="byte order"):
        unpickle(tmp_path / "x.pkl")


@pytest.mark.parametrize("label", [np.float64(1), OrderedDict(), torch.ones(1), {"a": 1}, ["a"], b"a"])
def test_labels_are_strings_and_plain_numbers(tmp_path, label):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([["a"], [label]]))
    with pytest.raises(UserError, match=r"not read|expected a list of labels"):
        read_labels(tmp_path / "x.pkl")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([["a"], ["b", 1, 0.5, True, None]]))
    assert read_labels(tmp_path / "x.pkl") == [["a"], ["b", 1, 0.5, True, None]]


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


def test_names_are_text_in_markdown_csv_and_figures():
    assert (
        text.markdown("a|b\n<script>[x](y)") == r"a\|b" + "\N{REPLACEMENT CHARACTER}" + r"\<script\>\[x\](y)"
    )
    assert text.csv_cell("=HYPERLINK(1)") == "'=HYPERLINK(1)" and text.csv_cell("a=b") == "a=b"
    assert text.figure("$\\frac{$_x") == "\\$\\frac{\\$_x" and text.figure("_hidden") == " _hidden"
    assert text.one_line(os.fsdecode(b"caf\xe9")) == "caf\N{REPLACEMENT CHARACTER}"


def test_any_name_can_be_drawn(tmp_path):
    from matplotlib.figure import Figure

    from eval_tasks.report.plots import to_png, to_svg

    for name in ("$\\frac{$", "_x", os.fsdecode(b"caf\xe9"), "a\nb", "<&>", "\\", "^", "{"):
        drawing = Figure()
        drawing.subplots().set_title(text.figure(name))
        to_png(drawing, tmp_path / "x.png")
        assert "<script" not in to_svg(drawing)


def test_names_of_files():
    assert not unsafe_name("a-b c.wav") and not unsafe_name("\N{LATIN SMALL LETTER E WITH ACUTE}.wav")
    assert "bytes" in unsafe_name("x" * 241)


def test_folders_of_rates_are_numbers(task):
    (task / "\N{SUPERSCRIPT TWO}").mkdir()
    (task / "99999999999999").mkdir()
    assert TaskFolder.open(task).sample_rates == [RATE]
