"""What may go wrong with a run on disk: misfits, strangers' files, two at once, changes, damage."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hear_msss.weights import DEFAULT, load_weights
from pretrain import __main__ as program
from pretrain.__main__ import main
from pretrain.checkpoint import load_checkpoint
from pretrain.corpus.location import is_remote
from pretrain.corpus.packed import PackedSource
from pretrain.run_folder import sole_run

COLA = ["--config", "cpu", "--config", "cola", "--set", "batch_size=2", "--set", "validate_every=0"]


def sounds(folder: Path, numbers: range) -> Path:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        samples = 0.1 * np.random.default_rng(number).standard_normal(16_000)
        soundfile.write(folder / f"{number}.wav", samples, 16_000)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Twelve sounds, a corpus of them, and a run of one step."""
    folder = tmp_path_factory.mktemp("made")
    corpus, out = str(folder / "corpus"), str(folder / "run")
    assert main(["pack", str(sounds(folder / "sounds", range(12))), "--out", corpus, "--jobs", "1"]) == 0
    assert main(["train", *COLA, "--corpus", corpus, "--out", out, "--set", "steps=1"]) == 0
    return folder


@pytest.fixture
def run(made, tmp_path) -> Path:
    """A copy of all that, to be spoilt."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    noted = json.loads((tmp_path / "run" / "corpus.json").read_text())
    noted["location"] = str(tmp_path / "corpus")
    (tmp_path / "run" / "corpus.json").write_text(json.dumps(noted))
    return tmp_path / "run"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def resume(run: Path, *more: str) -> int:
    return main(["train", "--out", str(run), "--resume", "--set", "steps=2", *more])


@pytest.mark.parametrize("misfit", ["embedding_dim=256", "batch_size=3.5", "optimizer=sgd", "accumulate=2"])
def test_a_resume_that_does_not_fit_changes_nothing(run, misfit):
    before = files(run)
    assert resume(run, "--set", misfit) == 2
    assert files(run) == before
    assert resume(run) == 0 and load_checkpoint(run)["step"] == 2


@pytest.mark.parametrize(
    "location", ["pipe:touch {mark}", "PIPE:touch {mark}", "s3://host/a.tar", "https://host/a.tar"]
)
def test_a_strangers_run_folder_runs_nothing_and_fetches_nothing(run, tmp_path, location, capsys):
    mark = tmp_path / "mark"
    noted = json.loads((run / "corpus.json").read_text())
    noted["location"] = location.format(mark=mark)
    (run / "corpus.json").write_text(json.dumps(noted))
    assert main(["export", str(run), "--out", str(tmp_path / "w.safetensors")]) == 2
    assert resume(run) == 2
    assert "give it with --corpus" in (said := capsys.readouterr().err) or "expected a path" in said
    assert not mark.exists() and not (tmp_path / "w.safetensors").exists()
    assert resume(run, "--corpus", str(tmp_path / "corpus")) == 0


class RunsCode:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_strangers_checkpoint_runs_nothing(run, tmp_path, capsys):
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    torch.save({**state, "step": RunsCode(tmp_path / "ran")}, run / "checkpoint.pt")
    assert main(["export", str(run), "--out", str(tmp_path / "w.safetensors")]) == 2
    assert resume(run) == 2
    assert capsys.readouterr().err.count("checkpoint.pt cannot be read") == 2
    assert not (tmp_path / "ran").exists()


def test_locations():
    assert is_remote("https://host/a-{0..9}.tar") and is_remote("HTTP://host/a.tar")
    assert not is_remote("/data/a.tar") and not is_remote("a-{0..9}.tar") and not is_remote("c:\\data")
    for bad in ("pipe:cat a.tar", "file:///a.tar", "gs://bucket/a.tar", "ssh:host"):
        with pytest.raises(ValueError, match="expected a path"):
            is_remote(bad)


def test_a_second_run_in_the_same_folder_is_refused(run, capsys):
    before = files(run)
    with sole_run(run):
        held = files(run)
        assert resume(run) == 2
        assert f"process {os.getpid()} on" in capsys.readouterr().err
        assert files(run) == held
    assert held.keys() == before.keys()
    assert resume(run) == 0


def test_a_corpus_that_has_grown_is_named_and_resumed_on_demand_only(run, tmp_path, capsys):
    sounds(tmp_path / "sounds", range(12, 15))
    assert main(["pack", str(tmp_path / "sounds"), "--out", str(tmp_path / "corpus"), "--jobs", "1"]) == 0
    before = files(run)
    assert resume(run) == 2
    said = capsys.readouterr().err
    assert "12 clips" in said and "15 clips" in said and files(run) == before
    assert resume(run, "--changed-corpus") == 0


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("config.yaml", "steps: [1", "not valid YAML"),
        ("config.yaml", "colour: 3", "unknown setting 'colour'"),
        ("corpus.json", "{", "not valid JSON"),
        ("corpus.json", '{"location": 3}', "the file is damaged"),
        ("checkpoint.pt", "cut", "cannot be read"),
    ],
)
def test_damaged_files_of_a_run_are_one_sentence(run, tmp_path, name, content, message, capsys):
    (run / name).write_text(content)
    assert resume(run) == 2
    assert main(["export", str(run), "--out", str(tmp_path / "w.safetensors")]) == 2
    said = capsys.readouterr().err
    assert said.count(message) == 2 and "Traceback" not in said


@pytest.mark.parametrize("error, code", [(KeyboardInterrupt(), 130), (PermissionError("read-only"), 2)])
def test_no_tracebacks(monkeypatch, error, code, capsys, tmp_path):
    def fail(args):
        raise error

    monkeypatch.setattr("pretrain.corpus.info.run", fail)
    assert program.main(["info", str(tmp_path)]) == code
    assert "python -m pretrain info: " in capsys.readouterr().err


def test_a_corpus_that_is_cut_under_a_run_is_named(run, tmp_path):
    audio = tmp_path / "corpus" / "audio.int16"
    source = PackedSource(tmp_path / "corpus")
    stream = source.batches(batch_size=2, segment_samples=15_600, seed=0)
    next(stream)
    os.truncate(audio, 1000)
    with pytest.raises(ValueError, match=r"audio\.int16 ends within clip \d+: it was cut"):
        for _ in range(10):
            next(stream)


def test_exported_weights_have_the_options_of_the_bundled_ones(run, tmp_path, monkeypatch):
    monkeypatch.setattr("pretrain.export.LEVEL_SEGMENTS", 64)
    product = load_weights(DEFAULT).info["options"]
    expected = {
        "a": ([], product),
        "b": (["--plain"], {}),
        "c": (["--option", "scene=mean"], {**product, "scene": "mean"}),
        "d": (["--no-levels"], {name: value for name, value in product.items() if name != "features"}),
    }
    for name, (arguments, options) in expected.items():
        out = tmp_path / f"{name}.safetensors"
        assert main(["export", str(run), "--out", str(out), *arguments]) == 0
        assert load_weights(out).info.get("options", {}) == options
    again = tmp_path / "again.safetensors"
    assert main(["export", str(run), "--out", str(again)]) == 0
    assert again.read_bytes() == (tmp_path / "a.safetensors").read_bytes()
