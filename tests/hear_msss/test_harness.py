"""The validator and both heareval runners, unmodified and as processes, on tasks made here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

RATE = 16_000
ENVIRONMENT = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "OMP_NUM_THREADS": "1"}


def _run(*command: str, cwd: Path) -> str:
    result = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert result.returncode == 0, result.stdout[-3000:]
    return result.stdout


def _sound(kind: str, samples: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "noise":
        return 0.2 * rng.standard_normal(samples)
    pitch_hz = rng.uniform(300, 900)
    return 0.3 * np.sin(2 * np.pi * pitch_hz * np.arange(samples) / RATE)


def _write_task(
    folder: Path, metadata: dict, clips: dict[str, dict[str, tuple[np.ndarray, list]]], labels: list[str]
) -> None:
    folder.mkdir(parents=True)
    (folder / "task_metadata.json").write_text(json.dumps({"version": "v1", "mode": "small", **metadata}))
    vocabulary = "".join(f"{number},{label}\n" for number, label in enumerate(labels))
    (folder / "labelvocabulary.csv").write_text("idx,label\n" + vocabulary)
    for split, files in clips.items():
        (folder / f"{split}.json").write_text(json.dumps({name: label for name, (_, label) in files.items()}))
        (folder / str(RATE) / split).mkdir(parents=True)
        for name, (signal, _) in files.items():
            sf.write(folder / str(RATE) / split / name, signal, RATE, subtype="PCM_16")


def _folds(folder: Path) -> None:
    rng, kinds = np.random.default_rng(0), ["tone", "noise"]
    clips = {
        f"fold0{fold}": {
            f"{kind}{fold}{i}.wav": (_sound(kind, 8000, rng), [kind]) for kind in kinds for i in range(8)
        }
        for fold in range(3)
    }
    metadata = {
        "task_name": "tone_or_noise",
        "embedding_type": "scene",
        "prediction_type": "multiclass",
        "split_mode": "presplit_kfold",
        "sample_duration": 0.5,
        "evaluation": ["top1_acc"],
        "splits": list(clips),
        "nfolds": 3,
    }
    _write_task(folder / "tone_or_noise-v1-small", metadata, clips, kinds)


def _scene(rng: np.random.Generator, seconds: int = 12) -> tuple[np.ndarray, list]:
    signal, events = 0.001 * rng.standard_normal(seconds * RATE), []
    for second in range(1, seconds - 1, 2):
        kind = "noise" if rng.random() < 0.5 else "tone"
        start = second * 1000 + rng.integers(0, 500)
        begin = int(start) * 16
        signal[begin : begin + 12_800] += _sound(kind, 12_800, rng)
        events.append({"label": kind, "start": float(start), "end": float(start + 800)})
    return signal, events


def _events(folder: Path) -> None:
    rng = np.random.default_rng(1)
    clips = {
        split: {f"{split}{i}.wav": _scene(rng) for i in range(count)}
        for split, count in [("train", 4), ("valid", 2), ("test", 2)]
    }
    metadata = {
        "task_name": "tone_and_noise_events",
        "embedding_type": "event",
        "prediction_type": "multilabel",
        "split_mode": "trainvaltest",
        "sample_duration": 12.0,
        "evaluation": ["event_onset_200ms_fms", "segment_1s_er"],
        "splits": ["train", "valid", "test"],
        "evaluation_params": {"task_specific_param_grid": {"check_val_every_n_epoch": [10]}},
    }
    _write_task(folder / "tone_and_noise_events-v1-small", metadata, clips, ["noise", "tone"])


def test_validator_is_content(tmp_path):
    output = _run("-m", "hearvalidator.validate", "hear_msss", cwd=tmp_path)
    assert "Looks good!" in output
    assert "timestamps begin" not in output and "timestamps end at" not in output
    assert "interval between timestamps less" not in output


@pytest.fixture(scope="module")
def scores(tmp_path_factory) -> dict[str, dict]:
    """Test scores of both tasks after embeddings and predictions runner."""
    folder = tmp_path_factory.mktemp("heareval")
    _folds(folder / "tasks")
    _events(folder / "tasks")
    _run("-m", "heareval.embeddings.runner", "hear_msss", "--tasks-dir", "tasks", cwd=folder)
    tasks = sorted((folder / "embeddings" / "hear_msss").iterdir())
    options = ["--grid", "faster", "--grid-points", "2"]
    _run("-m", "heareval.predictions.runner", *map(str, tasks), *options, cwd=folder)
    return {task.name: json.loads((task / "test.predicted-scores.json").read_text()) for task in tasks}


def test_a_scene_task_in_folds_runs_through_heareval(scores):
    assert scores["tone_or_noise-v1-small"]["aggregated_scores"]["test_top1_acc_mean"] > 0.5  # chance


def test_an_event_task_runs_through_heareval(scores):
    assert scores["tone_and_noise_events-v1-small"]["test"]["test_event_onset_200ms_fms"] > 0.1
