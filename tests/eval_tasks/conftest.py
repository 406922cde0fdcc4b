"""What more than one file of tests evaluates or prepares."""

import numpy as np
import pytest
import soundfile
from csv_tables import write_csv
from tiny_tasks import MODULE, RATE, beep, make_task

from eval_tasks.runs import harness


@pytest.fixture
def birds(tmp_path):
    """24 recordings of two kinds by eight recordists, of 0.5 to 0.73 s, some in stereo."""
    rows = []
    for number in range(24):
        file = f"{number % 3}/song{number}.wav"
        path = tmp_path / "audio" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        audio = np.random.default_rng(number).uniform(-0.5, 0.5, (4000 + 80 * number, 1 + number % 2))
        soundfile.write(path, audio, 8000)
        rows.append({"file": file, "label": "wren" if number % 4 else "robin", "by": f"r{number // 3}"})
    write_csv(tmp_path / "birds.csv", rows)
    return tmp_path


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A scene task of single beeps, and an event task of scenes with one beep of each kind."""
    folder = tmp_path_factory.mktemp("tasks")
    frequencies_hz = {"low": 400, "high": 3000}
    scenes = {
        split: {
            f"{split}{number}-{label}.wav": (beep(frequencies_hz[label], 0.3), [label])
            for number in range(count)
            for label in frequencies_hz
        }
        for split, count in (("train", 40), ("valid", 5), ("test", 5))
    }
    make_task(folder / "beeps-v1-full", "scene", scenes, 0.3)
    events = {}
    for split, count in (("train", 6), ("valid", 2), ("test", 2)):
        events[split] = {}
        for number in range(count):
            audio, truth = np.zeros(4 * RATE), []
            for place, (label, frequency_hz) in enumerate(frequencies_hz.items()):
                start_s = 0.5 + 2 * place + 0.1 * number
                start = round(start_s * RATE)
                audio[start : start + RATE] += beep(frequency_hz, 1.0)
                truth.append({"label": label, "start": start_s * 1000, "end": start_s * 1000 + 1000})
            events[split][f"{split}{number}.wav"] = (audio, truth)
    make_task(folder / "chirps-v1-full", "event", events, 4.0)
    return folder


@pytest.fixture(scope="module")
def module_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modules")
    (folder / "tiny_hear.py").write_text(MODULE)
    return folder


@pytest.fixture
def started(monkeypatch):
    """Commands that would have been run; each process 'fails', leaving a line in its log."""
    commands = []

    def process(command, env, log, lock_fd=-1):
        commands.append(command)
        log.write_text("first\r  50%|\rlast state\nValueError: no luck\n")
        return 1

    monkeypatch.setattr(harness, "run_process", process)
    return commands
