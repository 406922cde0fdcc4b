"""heareval's two runners as processes: their environment, command lines, and a clean end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from eval_tasks.locks import Stopped

GRIDS = ("default", "fast", "faster")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


_children: set[subprocess.Popen[bytes]] = set()
_stopping = threading.Event()


def usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads(jobs: int) -> int:
    """Threads of a process where ``jobs`` run at once: OMP_NUM_THREADS if set, else a fair share."""
    return int(os.environ.get("OMP_NUM_THREADS") or max(1, usable_cores() // jobs))


def environment(threads: int = 1, gpu: str | None = None) -> dict[str, str]:
    """This process's environment with what the runners need added.

    Args:
        threads: threads of one process in torch, NumPy and TensorFlow.
        gpu: value of ``CUDA_VISIBLE_DEVICES``; ``""`` hides every GPU, ``None`` leaves the variable
            as it is. The predictions runner always takes the first GPU it sees.
    """
    variables = dict(os.environ)
    variables.update({name: str(threads) for name in THREAD_VARIABLES})
    # heareval's own checkpoints hold classes, which torch >= 2.6 loads only so.
    variables.pop("TORCH_FORCE_WEIGHTS_ONLY_LOAD", None)
    variables["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    # The predictions runner asks for deterministic kernels, which cuBLAS has only with a fixed workspace.
    variables["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    # TensorFlow is imported together with torch: it must not take the whole GPU.
    variables["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    variables["TF_CPP_MIN_LOG_LEVEL"] = "3"
    variables["PYTHONUNBUFFERED"] = "1"
    variables["PYTHONWARNINGS"] = variables.get("PYTHONWARNINGS", "ignore")
    if gpu is not None:
        variables["CUDA_VISIBLE_DEVICES"] = gpu
    return variables


def embeddings_command(
    module: str,
    task_path: Path,
    embeddings_dir: Path,
    model: str = "",
    model_options: Mapping[str, Any] | None = None,
) -> list[str]:
    """The runner writes ``embeddings_dir/<module and options>/<task>``."""
    command = [sys.executable, "-m", "heareval.embeddings.runner", module]
    if model:
        command += ["--model", model]
    if model_options:
        command += ["--model-options", json.dumps(model_options)]
    command += ["--tasks-dir", str(task_path.parent), "--task", task_path.name]
    return [*command, "--embeddings-dir", str(embeddings_dir)]


def predictions_command(task_dir: Path, grid: str, grid_points: int | None = None) -> list[str]:
    """The runner reads a task's embeddings from ``task_dir`` and writes its scores there, too."""
    command = [sys.executable, "-m", "heareval.predictions.runner", str(task_dir), "--grid", grid]
    if grid_points is not None:
        command += ["--grid-points", str(grid_points)]
    return command


def run_process(command: Sequence[str], env: Mapping[str, str], log: Path, lock_fd: int = -1) -> int:
    """Run to the end, output into ``log``, and return the exit status.

    Where ``setpriv`` exists, the kernel ends the process with its parent, even after kill -9. The
    inherited lock covers the rest: no later run touches the folder before the process is gone.

    Raises:
        Stopped: the run is being stopped; the process has been ended.
    """
    if shutil.which("setpriv"):
        command = ["setpriv", "--pdeathsig", "KILL", *command]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        if _stopping.is_set():
            raise Stopped
        process = subprocess.Popen(
            command,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C at the terminal reaches us alone, and we end the children
            pass_fds=() if lock_fd < 0 else (lock_fd,),
        )
        _children.add(process)
        try:
            if _stopping.is_set():
                end_children()
            status = process.wait()
        finally:
            _children.discard(process)
    if _stopping.is_set():
        raise Stopped
    return status


def end_children(patience_s: float = 5.0) -> None:
    """End every running child and its own children: ask first, then kill."""
    deadline = time.monotonic() + patience_s
    for kind in (signal.SIGTERM, signal.SIGKILL):
        for child in list(_children):
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, kind)
        while kind is signal.SIGTERM and time.monotonic() < deadline and _alive():
            time.sleep(0.05)


def _alive() -> bool:
    return any(child.poll() is None for child in list(_children))


@contextmanager
def children_end_with_us() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the children first, then raise KeyboardInterrupt here."""

    def stop(signal_number: int, frame: Any) -> None:
        _stopping.set()
        end_children()
        raise KeyboardInterrupt

    _stopping.clear()
    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = {}
    if in_main_thread:  # signal handlers can be set nowhere else
        previous = {kind: signal.signal(kind, stop) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for kind, handler in previous.items():
            signal.signal(kind, handler)


def stopping() -> bool:
    """True once Ctrl-C or SIGTERM has come."""
    return _stopping.is_set()
