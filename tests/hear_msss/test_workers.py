"""Processes that die cost their job alone, and end with their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import odd_jobs

from hear_msss.workers import Died, map_in_order, map_unordered


def test_each_job_has_its_answer_and_the_dead_are_told_by_name():
    answers = dict(map_unordered(odd_jobs.square_or_die, range(9), 2))
    killed, ended = answers.pop(3), answers.pop(5)
    assert answers == {n: n * n for n in range(9) if n not in (3, 5)}
    assert isinstance(killed, Died) and str(killed) == "its process was ended by SIGKILL: out of memory?"
    assert isinstance(ended, Died) and "exit code 7" in str(ended)


def test_answers_in_order_and_no_more_than_ahead_of_the_turn():
    taken = []

    def jobs():
        for number in range(12):
            taken.append(number)
            yield number

    for turn, (number, answer) in enumerate(map_in_order(odd_jobs.slow_if_even, jobs(), 2, 3)):
        assert turn == number == answer
        assert len(taken) <= turn + 3
    assert turn == 11
    answers = [answer for _, answer in map_in_order(odd_jobs.square_or_die, range(7), 2, 4)]
    assert [n for n, answer in enumerate(answers) if isinstance(answer, Died)] == [3, 5]


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_processes_end_with_a_parent_that_is_killed(tmp_path):
    code = "import sys, odd_jobs\nif __name__ == '__main__': odd_jobs.two_that_wait(sys.argv[1])"
    path = os.pathsep.join([str(Path(odd_jobs.__file__).parent), *sys.path])
    (tmp_path / "main.py").write_text(code)
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "main.py", tmp_path], env={**os.environ, "PYTHONPATH": path}
    )
    children = [tmp_path / "0", tmp_path / "1"]
    until = time.monotonic() + 60
    while time.monotonic() < until and not all(c.exists() and c.read_text() for c in children):
        time.sleep(0.05)
    pids = [int(child.read_text()) for child in children]
    assert all(map(is_running, pids))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 30
    while time.monotonic() < until and any(map(is_running, pids)):
        time.sleep(0.05)
    assert not any(map(is_running, pids))
