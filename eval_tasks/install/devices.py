"""What torch, TensorFlow and pynvml say of this machine's GPUs, and whether heareval can use them.

``python -m eval_tasks.install.devices`` prints it as JSON, for callers that shall not import torch.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Mapping
from typing import Any

from eval_tasks.install.packages import PYNVML

Devices = Mapping[str, Any]


def devices() -> dict[str, Any]:
    """Ask them.

    Returns:
        ``torch``: its version. ``gpus``: names of the CUDA GPUs that it sees. ``mps``: whether it sees
        Apple's. ``tensorflow_gpus``: how many the real TensorFlow sees, None where it is not installed.
        ``name_error``: what keeps heareval from reading the first GPU's name, empty where nothing does.
    """
    import torch

    found: dict[str, Any] = {
        "torch": torch.__version__,
        "gpus": [],
        "tensorflow_gpus": None,
        "name_error": "",
    }
    found["mps"] = bool(torch.backends.mps.is_available())
    if not torch.cuda.is_available():
        return found
    found["gpus"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    if importlib.util.find_spec("tensorflow") is not None:
        import tensorflow

        found["tensorflow_gpus"] = len(tensorflow.config.list_physical_devices("GPU"))
    try:
        import pynvml

        pynvml.nvmlInit()
        pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0)).decode("utf-8")
    except Exception as error:
        found["name_error"] = repr(error)
    return found


def trouble(found: Devices) -> list[tuple[str, str]]:
    """Why the unmodified heareval would fail on these GPUs, each with what to do."""
    pairs = []
    if found["gpus"] and found["tensorflow_gpus"] == 0:
        pairs.append(
            (
                "TensorFlow sees no GPU where torch sees one, which heareval's embeddings runner refuses",
                "`pip uninstall tensorflow tensorflow-cpu` (the stand-in takes its place), then, for "
                "modules written in TensorFlow, `python -m eval_tasks install --tensorflow`",
            )
        )
    if found["name_error"]:
        pairs.append(
            (
                f"heareval cannot read the GPU's name: {found['name_error']}",
                f"`python -m eval_tasks install` (pynvml {PYNVML} returns it as heareval expects)",
            )
        )
    return pairs


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m eval_tasks.install.devices", description=__doc__).parse_args()
    print("DEVICES " + json.dumps(devices()))
