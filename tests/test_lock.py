"""`make lock`: which of the installed packages are pinned, and where."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "lock.py"
NEEDS = {
    "hear-msss": [
        'hear_msss[a,b]; extra == "dev"',
        'pytest>=8; extra == "dev"',
        'Numbers; extra == "eval"',
        'h5; extra == "a"',
        "torch",
        'old; python_version < "3"',
    ],
    "numbers": ["numbers-c>=1"],
    "alone": ["llvm"],
    "torch": ["nvidia-blas"],
}


@pytest.fixture
def lock(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("lock", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "requirements", lambda: ["lightning_tool==1"])
    monkeypatch.setattr(module, "ALONE", ("alone",))
    monkeypatch.setattr(sys, "argv", ["lock.py"])
    monkeypatch.chdir(tmp_path)

    def run(*installed: str) -> None:
        found = [SimpleNamespace(name=name, version="1.0") for name in installed]
        with monkeypatch.context() as patched:
            patched.setattr(
                importlib.metadata, "requires", lambda name: NEEDS.get(name.replace("_", "-"), [])
            )
            patched.setattr(importlib.metadata, "distributions", lambda: found)
            module.main()

    return run


def pins(path: str) -> list[str]:
    return [line.removesuffix("==1.0") for line in Path(path).read_text().splitlines()[1:]]


def test_what_the_extras_need_is_pinned_and_nothing_else_that_is_installed(lock, capsys):
    needed = ["numbers-c", "Numbers", "pytest", "h5", "lightning_tool", "Alone", "llvm"]
    lock("uv", "mkdocs", "pytest-xdist", "pip", "hear_msss", "torch", "nvidia-blas", *needed)
    assert pins("requirements.lock") == ["Alone", "lightning_tool", "Numbers", "numbers-c"], "no llvm"
    assert "requirements.lock: 4 pins, changed: +Alone==1.0 +lightning_tool==1.0" in capsys.readouterr().out
    Path("requirements.lock").write_text(
        Path("requirements.lock").read_text().replace("Alone==1.0", "Alone==0.9")
    )
    lock("pytest", "hear_msss", "torch", *needed)
    assert capsys.readouterr().out.splitlines()[0] == (
        "requirements.lock: 4 pins, changed: -Alone==0.9 +Alone==1.0"
    )
    assert pins("requirements-dev.lock") == ["h5", "pytest"]


def test_a_need_that_is_not_installed_is_told_and_nothing_is_written(lock):
    with pytest.raises(SystemExit, match="not installed here: h5 numbers-c; pip install h5 numbers-c, then"):
        lock("Numbers", "pytest", "lightning_tool", "hear_msss", "torch", "alone")
    assert not list(Path().iterdir())
