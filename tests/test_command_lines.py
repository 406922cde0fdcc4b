"""What each command line says where the packages of an extra are not installed."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import hear_msss


def without(package: str, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m module arguments`` where ``package`` cannot be imported."""
    code = f"import runpy, sys; sys.modules[{package!r}] = None; sys.argv[1:] = {list(arguments)}\n"
    # None in sys.modules is a ModuleNotFoundError, as for a package that is not there.
    code += f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("package", "module", "arguments", "expected"),
    [
        ("rich", "eval_tasks", ["list"], "error: list needs the package rich: pip install 'hear_msss[eval]'"),
        ("pooch", "eval_tasks", ["download", "--help"], "pip install 'hear_msss[eval]'"),
        (
            "yaml",
            "pretrain",
            ["train", "--help"],
            "train: needs the package yaml: pip install 'hear_msss[pretrain",
        ),
        ("matplotlib", "pretrain", ["plot", "--help"], "pip install 'hear_msss[pretrain]'"),
    ],
)
def test_a_missing_extra_is_one_sentence(package, module, arguments, expected):
    done = without(package, module, *arguments)
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode in (1, 2) and expected in line


def test_a_package_that_does_not_start_is_one_sentence(tmp_path):
    (tmp_path / "pandas.py").write_text("raise ImportError('C extension: None not built.')\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    code += "from eval_tasks.__main__ import main\nsys.exit(main(['report', 'results', '--out', 'report']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 1 and line == (
        "error: report cannot import what it needs: C extension: None not built; "
        "`python -m eval_tasks install --check` says which packages do not fit"
    )


def test_version():
    done = subprocess.run(
        [sys.executable, "-m", "hear_msss", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"hear_msss {hear_msss.__version__}\n"


@pytest.mark.parametrize(
    "code", ["import hear_msss", "from hear_msss.__main__ import main; main(['--help'])"]
)
def test_help_and_import_need_no_torch(code):
    heavy = ("torch", "numpy", "onnxruntime", "soundfile")
    code = f"import contextlib, sys\nwith contextlib.suppress(SystemExit):\n    {code}\n"
    code += f"assert not set({heavy}) & sys.modules.keys(), sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


ROOT = Path(__file__).parents[1]
PROGRAMS = [
    path
    for folder in ("hear_msss", "pretrain", "eval_tasks", "benchmarks", ".ci", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if '\nif __name__ == "__main__":\n' in path.read_text(encoding="utf-8")
]


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_help_of_every_program_explains_and_does_nothing_else(program, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program), "--help"])
    parts = program.relative_to(ROOT).with_suffix("").parts
    with pytest.raises(SystemExit) as stop:
        if parts[0] in (".ci", "tests"):
            runpy.run_path(str(program), run_name="__main__")
        else:
            runpy.run_module(".".join(parts), run_name="__main__")
    text = capsys.readouterr().out
    assert stop.value.code in (0, None) and "--help" in text
    assert not list(tmp_path.iterdir())
