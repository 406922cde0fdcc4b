"""What the unmodified harness needs, and why where it is not plain.

heareval and hearvalidator pin versions of 2021, among them a Python below 3.9, so both are installed
without their dependencies, and what they import is named here.
"""

from __future__ import annotations

import platform
import sys

PYTHONS = ((3, 11), (3, 14))  # the oldest and the newest that this is meant for

HARNESS = {"heareval": "2021.1.3", "hearvalidator": "2021.0.6"}
LIGHTNING = "1.8.6"  # lightning_trouble says why
PYNVML = "11.4.1"  # heareval decodes the GPU's name, which later releases return as text; GPU machines only
SETUPTOOLS_BELOW = 81  # Lightning 1.8 and dcase_util import pkg_resources, which later ones drop
NUMPY_FROM = 2  # current pandas, SciPy and scikit-learn are built for it
IMPORTED = (
    "PyYAML",
    "click",
    "future",
    "intervaltree",
    "lazy_loader",
    "more-itertools",
    "pandas",
    "python-slugify",
    "scikit-learn",
    "scipy",
    "six",
    "soundfile",
    "torch",
    "torchinfo",
    "tqdm",
    "validators",
)
# These are installed without their dependencies, too; IMPORTED names what they import. heareval uses only
# lists of events from dcase_util, which imports librosa for sounds and features. librosa requires numba,
# whose LLVM takes 195 MB, and imports it only when a function of librosa is used.
ALONE = ("dcase_util", "librosa", "sed_eval")


def harness_requirements() -> list[str]:
    return [f"{name}=={version}" for name, version in HARNESS.items()]


def requirements() -> list[str]:
    """What both packages of the harness import, but for ALONE, as pip and uv read it."""
    pinned = [f"pytorch-lightning=={LIGHTNING}", f"pynvml=={PYNVML}", f"setuptools<{SETUPTOOLS_BELOW}"]
    return [*pinned, f"numpy>={NUMPY_FROM}", *IMPORTED]


def tensorflow_requirement(cuda: bool, system: str = sys.platform, machine: str = platform.machine()) -> str:
    """The build of TensorFlow for this machine: heareval wants one that sees the GPU, if torch does."""
    if system == "linux" and cuda:
        return "tensorflow[and-cuda]"
    if system == "linux" and machine in ("x86_64", "AMD64"):
        return "tensorflow-cpu"
    return "tensorflow"


def lightning_trouble(found: str) -> str:
    """Why heareval cannot train with this version of pytorch-lightning; empty where it can."""
    if found == LIGHTNING:
        return ""
    why = "2 lacks gpus= and validation_epoch_end, which heareval needs; 1.9 ends event tasks in a KeyError"
    return f"pytorch-lightning {found or 'is not installed'}: expected {LIGHTNING} ({why})"


def release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, ``80.10.2`` as ``(80, 10, 2)``, for comparing."""
    numbers: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def python_fits() -> bool:
    return PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]
