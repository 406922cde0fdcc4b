"""A HEAR module of two numbers, and tasks that it solves without error."""

import numpy as np
import soundfile

from eval_tasks.runs import run
from eval_tasks.runs.run_settings import RunSettings
from eval_tasks.tasks.task_folder import write_description

RATE = 16000
SECONDS_TO_START = 120  # patience with a slow machine; no test waits that long on a sound one


# Energies of two bands: the low and the high beep are told apart without error.
MODULE = """
import os, time
import torch

class Model(torch.nn.Module):
    sample_rate = 16000
    scene_embedding_size = timestamp_embedding_size = 2

def load_model(model_file_path=""):
    return Model()

def bands(audio):
    power = torch.stft(audio, 800, hop_length=800, window=torch.ones(800), return_complex=True).abs()
    return torch.stack([power[:, :50].mean(1), power[:, 50:].mean(1)], -1)

def get_scene_embeddings(audio, model):
    time.sleep(float(os.environ.get("TINY_SLEEP_S", 0)))
    return bands(audio).mean(1)

def get_timestamp_embeddings(audio, model):
    embeddings = bands(audio)
    times = torch.arange(embeddings.shape[1], dtype=torch.float32) * 50
    return embeddings, times.expand(len(audio), -1)
"""


def beep(frequency_hz, duration_s):
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * RATE)) / RATE)


def make_task(folder, embedding_type, clips, duration_s):
    """``clips`` maps split to name to (audio, labels or events)."""
    for split, named in clips.items():
        (folder / str(RATE) / split).mkdir(parents=True)
        for name, (audio, _) in named.items():
            soundfile.write(folder / str(RATE) / split / name, audio, RATE)
    task_name, version, mode = folder.name.split("-")
    event = embedding_type == "event"
    metadata = {
        "task_name": task_name,
        "version": version,
        "mode": mode,
        "embedding_type": embedding_type,
        "prediction_type": "multilabel" if event else "multiclass",
        "split_mode": "trainvaltest",
        "sample_duration": duration_s,
        "evaluation": ["event_onset_200ms_fms", "segment_1s_er"] if event else ["top1_acc"],
        "splits": ["train", "valid", "test"],
    }
    labels = {split: {name: label for name, (_, label) in named.items()} for split, named in clips.items()}
    return write_description(folder, metadata, labels, ["high", "low"])


def tiny(folders, out, **options):
    results = run.run_tasks(
        "tiny_hear", folders, out, RunSettings(**{"grid": "faster", "grid_points": 1, **options})
    )
    return {result.task: result for result in results}
