"""What heareval needs of the Python that it runs in; every other program is left as it is.

``python -m eval_tasks install`` copies this package into the environment, together with a ``.pth`` file
that calls :func:`activate` whenever a Python of the environment starts. It therefore imports only what
every start imports anyway, and is quick. heareval and hearvalidator themselves stay unmodified.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

RUNNERS = ("heareval.embeddings.runner", "heareval.predictions.runner")
SETTINGS = {
    # heareval's own checkpoints hold classes, which torch >= 2.6 loads only if told so.
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
    # heareval's predictors ask for deterministic algorithms, which cuBLAS has only with a fixed workspace.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
HARNESS = ("heareval", "hearvalidator")
STAND_IN = "tensorflow"
REMEDY = "`python -m eval_tasks install --tensorflow` installs the real TensorFlow"


def activate() -> None:
    """Set what heareval's runners need, where this process is one, and offer them the stand-in."""
    if program(sys.orig_argv) in RUNNERS:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
    if not any(isinstance(finder, StandInFinder) for finder in sys.meta_path):
        sys.meta_path.append(StandInFinder())


def program(argv: Sequence[str]) -> str:
    """The module that a Python command line runs: of ``-m``, or of a script's path; else an empty string.

    >>> program(["python", "-u", "-m", "heareval.predictions.runner", "embeddings/hear_msss"])
    'heareval.predictions.runner'
    >>> program(["python", "-c", "print()", "-m", "heareval.predictions.runner"])
    ''
    """
    arguments = iter(argv[1:])
    for argument in arguments:
        if argument == "--check-hash-based-pycs":
            next(arguments, None)
        elif argument == "-" or argument.startswith("--"):
            continue
        elif argument.startswith("-"):
            # Flags can be joined, as in -Im; the first that takes a value has the rest, or the next argument.
            taking = next((place for place, flag in enumerate(argument) if flag in "cmWX"), None)
            if taking is None:
                continue
            value = argument[taking + 1 :] or next(arguments, "")
            if argument[taking] == "m":
                return value
            if argument[taking] == "c":
                return ""
        else:
            return ".".join(argument.removesuffix(".py").replace("\\", "/").split("/")[-3:])
    return ""


class StandInFinder:
    """Finds a stand-in for TensorFlow where no other finder has the real one, for the harness alone.

    It comes last, so the real TensorFlow always wins, wherever it lies. Other importers are told, as
    without it, that there is no TensorFlow.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == STAND_IN and _importer().partition(".")[0] in HARNESS:
            from importlib.machinery import ModuleSpec

            from heareval_environment.tensorflow_stand_in import Loader

            return ModuleSpec(fullname, Loader(), is_package=True)
        if fullname.startswith(f"{STAND_IN}.") and getattr(sys.modules.get(STAND_IN), "is_stand_in", False):
            raise ModuleNotFoundError(f"No module named {fullname!r}: {REMEDY}", name=fullname)
        return None


def _importer() -> str:
    """Name of the module that is importing: the first frame outside of Python's import system."""
    frame = sys._getframe(1)
    while frame.f_back and (frame.f_globals is globals() or "<frozen importlib" in frame.f_code.co_filename):
        frame = frame.f_back
    spec = frame.f_globals.get("__spec__")  # of a module run by -m, whose own name is __main__
    return str(spec.name if spec else frame.f_globals.get("__name__", ""))
