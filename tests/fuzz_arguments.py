"""Random command lines for the three programs, in this process: argparse's exit, or a sentence, and no more.

Each begins as a command that is right, and has words replaced, left out, doubled or added. Nothing is
computed, started or fetched: what takes long is replaced by nothing, and processes and connections are
denied.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import disturbed_verbs
import soundfile
import torch

import eval_tasks.__main__
import hear_msss.__main__
import pretrain.__main__
from pretrain.checkpoint import save_checkpoint
from pretrain.config_layers import layered, read_config
from pretrain.corpus.packed import PackedSource
from pretrain.run_folder import write_settings
from pretrain.run_state import RunState

WORDS = (
    *("", "-", "--", ".", "..", "/", "/dev/null", "/dev/full", "nowhere", "no/where", "x" * 300),
    *("0", "-1", "1", "2", "1.5", "nan", "inf", "-inf", "1e400", str(2**31), str(2**63), "0x10", "1_0", "٣"),
    *("é", "\udce9.wav", "a\nb", "a b", "*", "[", "{a,b}", "{0..3}", "%s", "$HOME", "`id`", "pipe:id"),
    *("all", "none", "auto", "null", "true", "[]", "{}", '{"hop_ms": 20}', "hop_ms=20", "hop_ms=0"),
    *("hop_ms=", "x=y", "=", "a=b=c", "seed=1", "steps=1", "steps=-1", "batch_size=1e9", "https://x/{0..9}"),
    *("--help", "--version", "--out", "--jobs", "--model", "--seed", "-h"),
)
JOBS = ["--jobs", "1"]
MODEL = ["--model", "untrained"]


def commands(folder: Path, out: Path) -> dict[str, list[list[str]]]:
    """Program to commands that are right; ``folder`` holds their input."""
    sounds, task, results = folder / "audio", folder / "task/out/x-v1-full", folder / "scores/out/model"
    corpus, run = folder / "corpus", folder / "run"
    table: list[object] = ["prepare", "csv", "--csv", folder / "table/table.csv", "--out", out, *JOBS]
    table += ["--audio", folder / "table/audio", "--name", "x", "--type", "scene", "--sample-rate", "16000"]
    archive = folder / "archive/task.tar.gz"
    evaluate = ["run", "--tasks", task, "--out", out]
    listed: dict[str, list[list[object]]] = {
        "hear_msss": [
            ["embed", sounds, "--out", out, *MODEL, "--format", "npy", *JOBS],
            ["embed", sounds, "--out", out, *MODEL, "--option", "hop_ms=20", "--timestamps"],
            ["info", *MODEL, "--full"],
            ["export", "--what", "h", "--out", out / "h.onnx", *MODEL, "--option", "scene=mean"],
        ],
        "pretrain": [
            ["pack", sounds, "--out", out, *JOBS, "--clip-s", "5", "--exclude", "0.wav"],
            ["pack", f"a={sounds}", "--out", out, *JOBS, "--kind", "a=music", "--min-clip-s", "0.1"],
            ["info", corpus],
            ["overlap", corpus, sounds, "--out", out / "list.txt"],
            ["train", "--config", "cpu", "--set", "steps=1", "--corpus", corpus, "--out", out],
            ["train", "--config", "paper", "--corpus", corpus, "--out", out, "--resume"],
            ["export", run, "--out", out / "w", "--option", "hop_ms=20", "--no-levels", "--half"],
            ["plot", run, "--out", out / "x.png"],
            ["pool", out, "--kind", "music", "--source", "x"],
        ],
        "eval_tasks": [
            ["list", "--tasks", folder / "task/out", "--json"],
            ["install", "--check", "--tool", "pip"],
            ["download", "esc50", "--out", out, "--retries", "0", "--quiet", "--record", "1"],
            ["download", "--from-file", archive, "--out", out, "--keep-archives"],
            [*table, "--folds", "3"],
            [*table, "--clip-seconds", "0.2", "--ratios", "60", "20", "20", "--metric", "mAP"],
            ["prepare", "esc50", "--raw", sounds, "--mode", "small", "--out", out],
            ["prepare", "--all", sounds, "--small", "--out", out, *JOBS],
            ["resample", task, "--sample-rate", "4000", "--from-rate", "8000", *JOBS, "--quiet"],
            ["check", task, "--sample-rate", "8000", "--quick", "--embedding-size", "9", *JOBS],
            [*evaluate, "--module", "no_module", *JOBS, "--gpus", "none", "--name", "x"],
            [*evaluate, "--module", "m", "--model-options", "{}", "--grid", "fast", "--threads", "1"],
            ["probe", "--out", results, "--seeds", "1", "--epochs", "1", "--batch-size", "64"],
            ["probe", "--out", results, "--learning-rate", "0.1", "--dropout", "0.1", "--epochs", "1"],
            ["report", results, "--out", out, "--title", "x"],
            ["paper", results, "--sc", "x0-v1-full"],
            ["submit", results, "--out", out / "entry", "--model-name", "x", "--url", "y"],
            ["demo", "--module", "m", "--out", out, *JOBS],
        ],
    }
    return {program: [[str(word) for word in words] for words in right] for program, right in listed.items()}


def inputs(folder: Path) -> None:
    """What the commands name: sounds, a table, a task, an archive, scores, a corpus, a run."""
    (folder / "run").mkdir()
    for name, make in (("table", disturbed_verbs.make_table), ("task", disturbed_verbs.make_task)):
        (folder / name).mkdir()
        make(folder / name)
    for name, make in (("archive", disturbed_verbs.make_archive), ("scores", disturbed_verbs.make_scores)):
        (folder / name).mkdir()
        make(folder / name)
    (folder / "audio").mkdir()
    for number in range(2):
        path, noise = folder / f"audio/{number}.wav", disturbed_verbs.sound(number, 1.0)
        soundfile.write(path, noise, disturbed_verbs.RATE)
    command = ["pack", str(folder / "audio"), "--out", str(folder / "corpus"), "--jobs", "1"]
    assert pretrain.__main__.main(command) == 0
    settings = layered([read_config("cpu"), read_config("cola")])
    save_checkpoint(folder / "run", RunState.fresh(settings, torch.device("cpu")).checkpoint(0.0))
    write_settings(folder / "run", settings, PackedSource(folder / "corpus"))
    records = ({"step": step, "phase": "train", "loss": 1 / step, "clip": 1 / step} for step in (1, 2, 3))
    (folder / "run/log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def changed(command: list[str], chance: random.Random) -> list[str]:
    """A command with one to three words of it changed; the verb stays, mostly."""
    words = list(command)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        values = [n for n, word in enumerate(words) if n and not word.startswith("--")]
        how = chance.random()
        place = chance.choice(values) if values and how < 0.5 else chance.randrange(len(words) + 1)
        if how < 0.6:
            words[place : place + 1] = [chance.choice(WORDS)]
        elif how < 0.75:
            del words[place : place + 1]
        elif how < 0.9:
            words.insert(place, chance.choice(WORDS))
        else:
            words.insert(place, chance.choice(words))
    return words


def denied(*arguments: Any, **options: Any) -> Any:
    raise PermissionError(errno.EACCES, "not in these trials")


@contextlib.contextmanager
def harmless(folder: Path) -> Iterator[None]:
    """Nothing is computed, started or fetched, and the current folder is ``folder``."""
    idle = {
        "hear_msss.cli.spread": ("outcomes", lambda *rest: (outcome for outcome in ())),
        "hear_msss.cli.export": ("export_graph", lambda *rest: 0.0),
        "pretrain.train": ("train", lambda *rest: 0),
        "eval_tasks.probe.probe": ("probe_task", lambda *rest: "not in these trials"),
    }
    with contextlib.ExitStack() as stack:
        for module, (name, nothing) in idle.items():
            stack.enter_context(mock.patch.object(import_module(module), name, nothing))
        stack.enter_context(mock.patch.object(subprocess, "Popen", denied))
        stack.enter_context(mock.patch.object(socket.socket, "connect", denied))
        stack.enter_context(mock.patch.object(socket, "getaddrinfo", denied))
        stack.enter_context(contextlib.chdir(folder))
        yield


def run(program: str, words: list[str]) -> tuple[int, str]:
    """Exit status and output. What else the program raises is raised."""
    module = {"hear_msss": hear_msss, "pretrain": pretrain, "eval_tasks": eval_tasks}[program]
    raw = io.BytesIO()
    output = io.TextIOWrapper(raw, encoding="utf-8")  # as strict as a terminal's
    errors = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace")
    with mock.patch.object(sys, "stdout", output), mock.patch.object(sys, "stderr", errors):
        try:
            status = module.__main__.main(words)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        finally:
            for stream in (output, errors):
                stream.flush()
    return status, raw.getvalue().decode("utf-8", "replace")


def try_one(folder: Path, chance: random.Random) -> None:
    """
    Raises:
        ValueError: refused, as documented.
    """
    out = folder / "out"
    out.mkdir()
    program, right = chance.choice([(p, c) for p, listed in commands(made(), out).items() for c in listed])
    words = changed(right, chance)
    with harmless(folder):
        try:
            status, said = run(program, words)
        except BaseException as error:
            error.add_note(f"{program} {words}")
            raise
    if status not in (0, 1, 2) or "Traceback" in said or (status and not said.strip()):
        raise AssertionError(f"{program} {words} ended with {status}: {said[-300:]}")
    if status:
        raise ValueError(said[-200:])


def made(folders: list[Path] = []) -> Path:  # noqa: B006
    """The folder of the input, made once."""
    if not folders:
        import atexit
        import shutil
        import tempfile

        folder = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, folder, True)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            inputs(folder)
        folders.append(folder)
    return folders[0]


os.environ.setdefault("COLUMNS", "100")
