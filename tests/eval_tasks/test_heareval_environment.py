"""What runs when the harness starts: its settings, and a stand-in for TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eval_tasks.install import install, startup
from eval_tasks.install.heareval_environment import SETTINGS, program

MODULES = Path(install.__file__).parent


@pytest.fixture
def harness(tmp_path):
    """Stands where heareval stands: a module of its name that shows what it meets."""
    for name in ("embeddings", "predictions"):
        folder = tmp_path / "heareval" / name
        folder.mkdir(parents=True)
        (tmp_path / "heareval" / "__init__.py").touch()
        (folder / "runner.py").write_text("from heareval.show import *\n")
    (tmp_path / "heareval" / "show.py").write_text(
        "import os\n"
        "print(*(os.environ.get(name) for name in ('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD',"
        " 'CUBLAS_WORKSPACE_CONFIG')))\n"
    )
    (tmp_path / "heareval" / "use_tensorflow.py").write_text("import tensorflow as tf\n")
    return tmp_path


def start(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A Python that starts as in an environment where the installer has been, without site-packages' own."""
    (folder / "sitecustomize.py").write_text(startup.START)
    env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{MODULES}", **variables}
    for name in SETTINGS:
        if name not in variables:
            env.pop(name, None)
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("python -m heareval.predictions.runner a b", "heareval.predictions.runner"),
        ("python -um heareval.predictions.runner", "heareval.predictions.runner"),
        ("python -mheareval.embeddings.runner", "heareval.embeddings.runner"),
        ("python -X dev -W ignore -m heareval.embeddings.runner", "heareval.embeddings.runner"),
        ("python -Xdev -I --check-hash-based-pycs never -m a.b", "a.b"),
        ("python /env/heareval/predictions/runner.py x", "heareval.predictions.runner"),
        ("python -c code -m heareval.predictions.runner", ""),
        ("python tool.py -m heareval.predictions.runner", "tool"),
        ("python", ""),
        ("python -", ""),
    ],
)
def test_what_a_command_line_runs(line, expected):
    assert program(line.split()) == expected


def test_settings_are_for_the_runners_alone(harness):
    for kind in ("embeddings", "predictions"):
        assert start(harness, "-m", f"heareval.{kind}.runner").stdout.split() == ["1", ":4096:8"]
    assert start(harness, "-m", "heareval.show").stdout.split() == ["None", "None"]
    assert start(harness, "-c", "import heareval.show").stdout.split() == ["None", "None"]


def test_settings_that_the_user_made_stay(harness):
    done = start(harness, "-m", "heareval.predictions.runner", CUBLAS_WORKSPACE_CONFIG=":16:8")
    assert done.stdout.split() == ["1", ":16:8"]


def no_tensorflow(code: str) -> str:
    """The code, in a process where no real TensorFlow can be found."""
    return (
        "import importlib.machinery as m\n"
        "real = m.PathFinder.find_spec\n"
        "m.PathFinder.find_spec = classmethod(lambda cls, name, path=None, target=None: None"
        " if name.split('.')[0] == 'tensorflow' else real(name, path, target))\n" + code
    )


def test_the_harness_gets_the_stand_in_and_nobody_else(harness):
    code = """
import importlib.util, torch
assert importlib.util.find_spec("tensorflow") is None
try:
    import tensorflow
except ModuleNotFoundError:
    print("nobody")
from heareval.use_tensorflow import tf
sees_gpu = tf.test.is_gpu_available(cuda_only=False, min_cuda_compute_capability=None)
assert sees_gpu == torch.cuda.is_available()
assert not isinstance(torch.nn.Linear(1, 1), tf.Module)
print("stand-in")
"""
    done = start(harness, "-c", no_tensorflow(code))
    assert done.stdout.split() == ["nobody", "stand-in"], done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        "tf.convert_to_tensor([1])",
        "tf.test.gpu_device_name()",
        "class M(tf.Module): pass",
        "import tensorflow.keras",
    ],
)
def test_every_other_part_of_tensorflow_names_the_remedy(harness, wrong):
    done = start(harness, "-c", no_tensorflow(f"from heareval.use_tensorflow import tf\n{wrong}"))
    assert "python -m eval_tasks install --tensorflow" in done.stderr.splitlines()[-1]


def test_the_stand_in_has_no_part_that_a_library_could_probe_for(harness):
    code = "from heareval.use_tensorflow import tf\nprint(hasattr(tf, 'io'), hasattr(tf, '__version__'))"
    assert start(harness, "-c", no_tensorflow(code)).stdout.split() == ["False", "False"]


def test_the_real_tensorflow_wins(harness):
    (harness / "tensorflow.py").write_text("real = True\n")
    done = start(harness, "-c", "from heareval.use_tensorflow import tf; print(tf.real)")
    assert done.stdout == "True\n", done.stderr


def test_files_are_written_once_and_found_whole(tmp_path):
    assert len(startup.missing(tmp_path)) == 3
    startup.write(tmp_path)
    assert startup.missing(tmp_path) == []
    (tmp_path / "heareval_environment.pth").write_text("import os\n")  # an earlier version's
    assert startup.missing(tmp_path) == [tmp_path / "heareval_environment.pth"]
    startup.write(tmp_path)
    assert startup.missing(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "heareval_environment",
        "heareval_environment.pth",
    ]
