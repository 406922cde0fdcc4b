"""Kill, double and starve the verbs, and see whether they come to the undisturbed result all the same.

A trial runs a verb in a process forked from this one, so that imports are paid once.

- kill: SIGKILL or SIGTERM at a random moment, then the same command again;
- double: the same command twice at once;
- starve: no file may grow beyond a few bytes, then the same command again;
- full: the disk has room for a part of the result only, then the same command with more room;
- locked: the disk is read-only, then the same command on one that can be written to.

The last two mount a disk in memory, as only root may. A command that was starved of its disk ends with a
status that is not 0, in words and not in a traceback. After each trial the result must equal, byte for byte,
that of a run that was let alone, no process may be left, and no temporary file.
``python tests/disturb.py --trials 200`` tries hundreds and prints a table.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mounts import ROOMY, bytes_in, mount, mounted

Command = Callable[[Path], int]
MARK = "HEAR_MSSS_TRIAL"
PATIENCE_S = 120.0
KINDS = ("kill", "double", "starve", "full", "locked")
MOUNTED = ("full", "locked")
STARVED_BYTES = 600
writers: dict[int, subprocess.Popen[bytes]] = {}  # of the logs, by the process whose log it is
LEFT = ("*.tmp", "*.part", "*.partial")


@dataclass(frozen=True)
class Verb:
    """A command to be disturbed.

    Attributes:
        setup: makes the input in a folder.
        command: runs it on that folder, in this process, and returns its exit status.
        others: commands that run at the same time, each in a process of its own and disturbed as well.
        result: files that count, a glob pattern below the folder.
        ignore: words that lines of text files may hold and that are left out of the comparison.
        refusal: what the second of two at once may say when it ends with 2, if it does not wait.
    """

    name: str
    setup: Callable[[Path], None]
    command: Command
    result: str = "out/**/*"
    ignore: tuple[bytes, ...] = ()
    refusal: str = ""
    others: tuple[Command, ...] = ()

    @property
    def commands(self) -> tuple[Command, ...]:
        return (self.command, *self.others)


@dataclass
class Trial:
    """What came of one: problems are empty where all is well."""

    verb: str
    kind: str
    problems: list[str] = field(default_factory=list)


def digest(folder: Path, verb: Verb) -> dict[str, str]:
    """Relative name to hash of each file of the result; hidden files are locks and marks."""
    found = {}
    for path in sorted(folder.glob(verb.result)):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            lines = path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if not any(word in line for word in verb.ignore)]
            found[str(path.relative_to(folder))] = hashlib.sha256(b"".join(kept)).hexdigest()
    return found


def start(
    command: Command, folder: Path, log: Path, limit_bytes: int | None = None, boast: bool = False
) -> int:
    """Fork a process that runs a command; returns its id. All that it begins carries its mark.

    Args:
        limit_bytes: no file may be larger.
        boast: the disk claims to have room, so that no check of free space refuses to begin.
    """
    # Not a file, whose size would be limited, too.
    output = subprocess.Popen(["tee", "-a", str(log)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert output.stdin
    process = os.fork()
    if process:
        output.stdin.close()
        writers[process] = output
        return process
    status = 70
    try:
        os.setsid()
        os.environ[MARK] = str(folder)
        for stream in (1, 2):
            os.dup2(output.stdin.fileno(), stream)
        # The old ones may have been files, in which Python seeks.
        sys.stdout, sys.stderr = (os.fdopen(stream, "w", 1, closefd=False) for stream in (1, 2))
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
        if boast:
            usage = shutil.disk_usage(folder)
            shutil.disk_usage = lambda path: usage._replace(free=1 << 40)
        status = command(folder)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 71
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def marked(folder: Path) -> list[int]:
    """Processes that a trial on this folder has begun."""
    mark, found = f"{MARK}={folder}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:  # it has just ended
            continue
    return found


def wait_until_gone(folder: Path, patience_s: float = 20.0) -> list[str]:
    """Command lines of processes that outlive their parent by ``patience_s``; they are ended here."""
    deadline = time.monotonic() + patience_s
    while left := marked(folder):
        if time.monotonic() > deadline:
            found = []
            for process in left:
                with suppress(OSError):
                    found.append(Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")[:100])
                    os.kill(process, signal.SIGKILL)
            return found
        time.sleep(0.1)
    return []


def finish(process: int) -> int:
    """The exit status of a process, once it has ended; of its log no more can come but from orphans."""
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with suppress(subprocess.TimeoutExpired):
        writers.pop(process).wait(2.0)
    return status


def run(commands: Iterable[Command], folder: Path, log: Path) -> list[int]:
    """The exit statuses of commands that run at the same time."""
    return [finish(process) for process in [start(command, folder, log) for command in commands]]


@dataclass(frozen=True)
class Alone:
    """A run that was let alone: its input and result, the time that it took, and its bytes on disk."""

    inputs: Path
    result: dict[str, str]
    length_s: float
    grown_bytes: int


def first_run(verb: Verb, kind: str, folder: Path, log: Path, alone: Alone, chance: random.Random) -> str:
    """The run that is disturbed, any kind but "double"; returns what is wrong with how it ended."""
    if kind == "full":
        room = bytes_in(folder) + round(chance.uniform(0, 0.9) * alone.grown_bytes)
        mount(f"remount,size={room}", folder)
    elif kind == "locked":
        mount("remount,ro", folder)
    limit = STARVED_BYTES if kind == "starve" else None
    boast = kind == "full" and chance.random() < 0.7
    processes = [start(command, folder, log, limit, boast) for command in verb.commands]
    if kind == "kill":
        begun = time.monotonic()
        for moment_s, process in sorted((chance.uniform(0, alone.length_s), p) for p in processes):
            time.sleep(max(0.0, begun + moment_s - time.monotonic()))
            os.kill(process, chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
    statuses = [finish(process) for process in processes]
    if kind in MOUNTED:
        mount(f"remount,rw,{ROOMY}", folder)
    text = log.read_text(errors="replace")
    # A result may fit all the same, since what is temporary is counted, too.
    for status in statuses if kind != "kill" else ():
        if (status not in (1, 2) or "Traceback" in text) and (status or kind == "locked"):
            return f"ended with {status}: {text[-300:]}"
    return ""


def tracebacks(text: str) -> str:
    """All that begins as a traceback, but for joblib's when a parent is killed while its worker starts."""
    parts = text.split("Traceback (most recent call last)")[1:]
    return "".join(part for part in parts if "popen_loky_posix.py" not in part)


def disturb(verb: Verb, kind: str, alone: Alone, seed: int) -> Trial:
    """One trial on a copy of the input."""
    trial, chance = Trial(verb.name, kind), random.Random(seed)
    with ExitStack() as stack:
        temporary = stack.enter_context(tempfile.TemporaryDirectory())
        folder, log = Path(temporary) / "work", Path(temporary) / "log"
        if kind in MOUNTED:
            stack.enter_context(mounted(folder))
        shutil.copytree(alone.inputs, folder, symlinks=True, dirs_exist_ok=True)
        if kind == "double":
            statuses = run(verb.commands * 2, folder, log)
        else:
            if problem := first_run(verb, kind, folder, log, alone, chance):
                trial.problems.append(problem)
            if left := wait_until_gone(folder):
                trial.problems.append(f"{len(left)} orphans: {left}")
            statuses = run(verb.commands, folder, log)
        if left := wait_until_gone(folder):
            trial.problems.append(f"{len(left)} orphans in the end: {left}")
        refused = verb.refusal and kind == "double" and verb.refusal in log.read_text(errors="replace")
        if any(statuses) and not (refused and sorted(statuses) == [0, 2]):
            trial.problems.append(f"statuses {statuses}: {log.read_text(errors='replace')[-300:]}")
        if digest(folder, verb) != alone.result:
            differing = set(digest(folder, verb).items()) ^ set(alone.result.items())
            trial.problems.append(f"another result: {sorted({name for name, _ in differing})[:3]}")
        if remains := [path.name for pattern in LEFT for path in folder.rglob(pattern)]:
            trial.problems.append(f"left: {remains[:3]}")
        text = tracebacks(log.read_text(errors="replace"))
        if text:
            trial.problems.append("a traceback: " + text[:1500])
    return trial


def trials(verb: Verb, kinds: list[str], seed: int = 0) -> list[Trial]:
    """A trial for each of ``kinds``, after one run that is let alone."""
    with tempfile.TemporaryDirectory() as temporary:
        inputs, folder, log = (Path(temporary) / name for name in ("inputs", "alone", "log"))
        inputs.mkdir()
        # In a process of its own, too: a fork of one that has used autograd cannot use it.
        made = run([lambda folder: verb.setup(folder) or 0], inputs, log)
        assert made == [0], f"the input of {verb.name}: {log.read_text()}"
        shutil.copytree(inputs, folder, symlinks=True)
        begun = time.monotonic()
        statuses = run(verb.commands, folder, log)
        length_s = time.monotonic() - begun
        alone = Alone(inputs, digest(folder, verb), length_s, bytes_in(folder) - bytes_in(inputs))
        assert not any(statuses) and alone.result, f"{verb.name} ended with {statuses}: {log.read_text()}"
        return [disturb(verb, kind, alone, seed + n) for n, kind in enumerate(kinds)]


def main() -> int:
    from disturbed_verbs import VERBS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=20, help="for each verb (default: %(default)s)")
    parser.add_argument("--verbs", nargs="+", choices=[verb.name for verb in VERBS])
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=["kill", "kill", "kill", "double", "starve"]
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print("| verb | " + " | ".join(KINDS) + " | problems |\n|---|" + "---:|" * (len(KINDS) + 1))
    failed = 0
    for verb in VERBS:
        if args.verbs and verb.name not in args.verbs:
            continue
        kinds = [args.kinds[number % len(args.kinds)] for number in range(args.trials)]
        done = trials(verb, kinds, args.seed)
        counts = Counter(trial.kind for trial in done)
        bad = [trial for trial in done if trial.problems]
        failed += len(bad)
        cells = [verb.name, *(str(counts[kind]) for kind in KINDS), str(len(bad))]
        print(f"| {' | '.join(cells)} |", flush=True)
        for trial in bad:
            print(f"  {trial.kind}: {'; '.join(trial.problems)}", file=sys.stderr, flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
