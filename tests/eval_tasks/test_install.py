"""`install`: what it does, what it checks, and what it says."""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eval_tasks.errors import UserError
from eval_tasks.install import check, install, packages, present, startup, tool


def args(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    install.add_arguments(parser)
    return parser.parse_args(words)


def test_installed_harness_is_the_released_one():
    """Every file of both wheels has the hash that its RECORD states."""
    for name, version in packages.HARNESS.items():
        distribution = importlib.metadata.distribution(name)
        assert distribution.version == version
        hashed = [file for file in distribution.files or [] if file.hash and file.parts[0] == name]
        assert len(hashed) >= 2
        for file in hashed:
            digest = hashlib.new(file.hash.mode, file.read_binary()).digest()
            assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == file.hash.value, file
        assert check.changed_files(name) == []


def test_a_changed_harness_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "heareval").mkdir()
    (tmp_path / "heareval-2021.1.3.dist-info").mkdir()
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"as released").digest()).rstrip(b"=").decode()
    lines = [f"heareval/{name}.py,sha256={digest},11" for name in ("same", "edited", "gone")]
    (tmp_path / "heareval-2021.1.3.dist-info" / "RECORD").write_text("\n".join(lines))
    (tmp_path / "heareval-2021.1.3.dist-info" / "METADATA").write_text("Name: heareval\nVersion: 2021.1.3\n")
    (tmp_path / "heareval" / "same.py").write_bytes(b"as released")
    (tmp_path / "heareval" / "edited.py").write_bytes(b"edited here")
    monkeypatch.syspath_prepend(tmp_path)
    assert check.changed_files("heareval") == ["heareval/edited.py", "heareval/gone.py"]


NOT_INSTALLED = ("audioread", "decorator", "llvmlite", "magic", "msgpack", "numba", "pydot_ng")
SCORE = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))  # importing one of these is an ImportError
import heareval.embeddings.runner, heareval.predictions.runner, hearvalidator.validate
from heareval.score import available_scores
score = available_scores["event_onset_200ms_fms"](label_to_idx={"bark": 0})
truth = {"a.wav": [{"label": "bark", "start": start, "end": start + 300.0} for start in (0.0, 1000.0)]}
print(score({"a.wav": truth["a.wav"][:1]}, truth)[0][1])
"""


def test_the_harness_runs_without_what_dcase_util_and_librosa_require_but_do_not_import():
    required = {
        line for name in packages.ALONE for line in importlib.metadata.requires(name) or [] if ";" not in line
    }
    assert any(line.startswith("numba") for line in required)
    done = subprocess.run([sys.executable, "-c", SCORE, *NOT_INSTALLED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) == pytest.approx(2 / 3), "precision 1, recall 1/2"


def said(monkeypatch, part, **versions: str) -> list[check.Finding]:
    monkeypatch.setattr(check, "installed", lambda name: versions.get(name.replace("-", "_"), "1.0"))
    monkeypatch.setattr(check, "changed_files", lambda name: [])
    return list(part())


RIGHT = {
    "heareval": "2021.1.3",
    "hearvalidator": "2021.0.6",
    "pytorch_lightning": "1.8.6",
    "setuptools": "80.1",
    "numpy": "2.4.6",
}


def test_right_versions_are_good(monkeypatch):
    assert all(finding.good for finding in said(monkeypatch, check.python_and_versions, **RIGHT))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"pytorch_lightning": "2.5.1"}, "pytorch-lightning 2.5.1: expected 1.8.6"),
        ({"pytorch_lightning": ""}, "pytorch-lightning is not installed: expected 1.8.6"),
        ({"setuptools": "82.0.1"}, "pkg_resources, which is in setuptools below 81"),
        ({"hearvalidator": "2021.0.2"}, "hearvalidator 2021.0.2: expected 2021.0.6"),
        ({"sed_eval": ""}, "not installed: sed_eval"),
        ({"lazy_loader": ""}, "not installed: lazy_loader"),
        ({"numpy": "1.26.4"}, "numpy 1.26.4: expected 2 or newer, as current releases of pandas, SciPy and"),
    ],
)
def test_wrong_versions_are_named_with_the_remedy(monkeypatch, wrong, words):
    (bad,) = [f for f in said(monkeypatch, check.python_and_versions, **RIGHT | wrong) if not f.good]
    assert words in bad.what and bad.remedy == "python -m eval_tasks install"


def test_a_librosa_without_its_dependencies_is_good_with_a_word_to_who_uses_it(monkeypatch):
    (found,) = said(monkeypatch, check.librosa, numba="", msgpack="")
    assert found.good and found.what == (
        "librosa is here without numba, msgpack, which heareval does not need"
    )
    assert found.remedy == "if your own module uses librosa: pip install librosa"
    (found,) = said(monkeypatch, check.librosa)
    assert str(found) == "ok   librosa 1.0"
    assert said(monkeypatch, check.librosa, librosa="") == []


def test_only_versions_of_what_is_installed_are_listed(monkeypatch):
    findings = said(monkeypatch, check.python_and_versions, **RIGHT, pandas="", torch="2.13.0")
    assert findings[-1].what == "torch 2.13.0, numpy 2.4.6"


@pytest.mark.parametrize(
    ("real", "written", "good", "words"),
    [
        (False, True, True, "the stand-in, which is all that torch modules need"),
        (False, False, False, "neither the real one nor the stand-in, which is in heareval_environment"),
        (True, False, True, "TensorFlow 2.21.0, the real one"),
    ],
)
def test_which_tensorflow_there_is(monkeypatch, tmp_path, real, written, good, words):
    monkeypatch.setattr(startup, "folder", lambda: tmp_path)
    if written:
        startup.write(tmp_path)
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda name: object() if real else None)
    (found,) = said(monkeypatch, check.tensorflow, tensorflow="", tensorflow_cpu="2.21.0")
    assert found.good == good and words in found.what
    assert found.remedy == ("" if good else "python -m eval_tasks install")


CPU = {"torch": "2.13.0+cpu", "gpus": [], "tensorflow_gpus": None, "name_error": "", "mps": False}
GPU = {**CPU, "torch": "2.13.0", "gpus": ["NVIDIA H100"]}


@pytest.mark.parametrize(
    ("found", "good", "words"),
    [
        (CPU, True, "no CUDA GPU"),
        (CPU | {"mps": True}, True, "MPS"),
        (GPU, True, "NVIDIA H100"),
        (GPU | {"tensorflow_gpus": 1}, True, "NVIDIA H100"),
        (GPU | {"tensorflow_gpus": 0}, False, "pip uninstall tensorflow"),
        (GPU | {"name_error": "AttributeError"}, False, "pynvml 11.4.1"),
    ],
)
def test_what_is_said_of_gpus(found, good, words):
    findings = list(check.judge_gpus(found))
    assert all(finding.good for finding in findings) == good
    assert any(words in str(finding) for finding in findings)


def test_a_dry_run_says_every_step_and_does_none(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(install, "call", lambda command: pytest.fail(f"called {command}"))
    monkeypatch.setattr(startup, "folder", lambda: tmp_path)
    assert install.run(args("--dry-run", "--tensorflow")) == 0
    said = capsys.readouterr().out
    assert "pytorch-lightning==1.8.6" in said and "pynvml==11.4.1" in said
    assert "--no-deps dcase_util librosa sed_eval" in said
    assert "--no-deps --ignore-requires-python heareval==2021.1.3 hearvalidator==2021.0.6" in said
    assert "tensorflow" in said.splitlines()[0] and "librosa" not in said.splitlines()[0]
    assert not list(tmp_path.iterdir())


def test_uv_installs_where_there_is_no_pip(monkeypatch):
    monkeypatch.setattr(tool.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("UV", "/tools/uv")
    found = tool.find_tool()
    assert found.name == "uv" and found.any_python == ()
    assert found.install(["a"]) == ["/tools/uv", "pip", "install", "--python", sys.executable, "a"]


def test_without_pip_and_uv_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(tool.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(tool.shutil, "which", lambda name: None)
    monkeypatch.delenv("UV", raising=False)
    with pytest.raises(UserError, match="ensurepip"):
        tool.find_tool()


def test_the_systems_own_python_is_left_alone(monkeypatch, tmp_path):
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(tool.sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(tool.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(UserError, match="make an environment first"):
        tool.find_tool()


def test_a_failed_command_is_an_error():
    with pytest.raises(UserError, match="ended with status 3"):
        tool.call([sys.executable, "-c", "raise SystemExit(3)"])


@pytest.mark.parametrize(
    ("cuda", "system", "machine", "expected"),
    [
        (False, "linux", "x86_64", "tensorflow-cpu"),
        (True, "linux", "x86_64", "tensorflow[and-cuda]"),
        (False, "linux", "aarch64", "tensorflow"),
        (False, "darwin", "arm64", "tensorflow"),
    ],
)
def test_the_build_of_tensorflow(cuda, system, machine, expected):
    assert packages.tensorflow_requirement(cuda, system, machine) == expected


def test_windows_is_told_of_wsl(monkeypatch):
    monkeypatch.setattr(present.sys, "platform", "win32")
    for begin in (present.require_harness, lambda: install.run(args())):
        with pytest.raises(UserError, match="use WSL"):
            begin()


def test_a_missing_harness_is_named(monkeypatch):
    monkeypatch.setattr(present.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match="heareval and hearvalidator not installed here: run `python -m eval_tasks"
    ):
        present.require_harness()


@pytest.mark.parametrize("version", ["2.6.6", "1.9.5", ""])
def test_a_lightning_that_cannot_train_is_refused_before_anything_runs(monkeypatch, version):
    monkeypatch.setattr(present, "installed", lambda name: {"pytorch-lightning": version}[name])
    words = f"pytorch-lightning {version or 'is not installed'}: expected 1.8.6"
    with pytest.raises(UserError, match=rf"{re.escape(words)}.*: run `python -m eval_tasks install` first"):
        present.require_harness()


def test_every_folder_of_code_is_packaged():
    """A folder without an __init__.py works in a checkout, and is missing in what pip installs."""
    root = Path(install.__file__).parents[2]
    code = [
        file for package in ("hear_msss", "pretrain", "eval_tasks") for file in (root / package).rglob("*.py")
    ]
    assert len(code) > 80
    assert [
        folder for folder in {file.parent for file in code} if not (folder / "__init__.py").is_file()
    ] == []
