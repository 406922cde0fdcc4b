"""A stand-in for TensorFlow: it answers what heareval and hearvalidator ask of it for torch modules.

They ask whether TensorFlow sees a GPU, where torch sees one, and whether a model is a ``tf.Module``.
Whatever else is asked for is an error that says how to get the real TensorFlow.
"""

from __future__ import annotations

from importlib.abc import Loader as AbstractLoader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn

from heareval_environment import REMEDY


class NotInStandIn(AttributeError):
    """A part of TensorFlow that the stand-in does not have; ``hasattr`` says no."""


def refuse(name: str) -> NoReturn:
    raise NotInStandIn(f"{name}: only a stand-in for TensorFlow is installed here, {REMEDY}")


class Module:
    """No model is one; a class that wants to be one is refused."""

    def __init_subclass__(cls) -> None:
        refuse("tensorflow.Module")

    def __init__(self) -> None:
        refuse("tensorflow.Module")


class Test:
    """``tensorflow.test``."""

    @staticmethod
    def is_gpu_available(cuda_only: bool = False, min_cuda_compute_capability: object = None) -> bool:
        """What torch says, since torch is what computes."""
        import torch

        return torch.cuda.is_available()

    def __getattr__(self, name: str) -> NoReturn:
        refuse(f"tensorflow.test.{name}")


class StandIn(ModuleType):
    """The module ``tensorflow``."""

    is_stand_in = True
    Module = Module
    test = Test()

    def __getattr__(self, name: str) -> NoReturn:
        refuse(f"tensorflow.{name}")


class Loader(AbstractLoader):
    """Makes the module."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return StandIn(spec.name, __doc__)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to execute."""
