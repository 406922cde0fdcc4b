"""Embeddings folders as heareval's runner leaves them, from numbers made up in a test."""

import pickle

import numpy as np
import torch

from eval_tasks.files import write_json
from eval_tasks.tasks.task_folder import write_description


def embeddings_folder(folder, splits, vocabulary, evaluation, split_mode="trainvaltest", **more):
    """Files as heareval's embeddings runner leaves them.

    ``splits`` maps split to (embeddings, labels of each row), and for event tasks also the rows'
    (file, ms) and the events of each file. ``more`` is further metadata.
    """
    event = any(len(parts) > 2 for parts in splits.values())
    metadata = {
        "task_name": "task",
        "version": "v1",
        "mode": "full",
        "embedding_type": "event" if event else "scene",
        "prediction_type": "multilabel" if event else "multiclass",
        "split_mode": split_mode,
        "sample_duration": 1.0,
        "evaluation": evaluation,
        "splits": list(splits),
        **more,
    }
    labels = {}
    for split, parts in splits.items():
        labels[split] = parts[3] if event else {f"{row}.wav": label for row, label in enumerate(parts[1])}
    task = write_description(folder, metadata, labels, vocabulary)
    for split, parts in splits.items():
        parts[0].astype(np.float32).tofile(folder / f"{split}.embeddings.npy")
        write_json(folder / f"{split}.embedding-dimensions.json", parts[0].shape)
        (folder / f"{split}.target-labels.pkl").write_bytes(pickle.dumps(parts[1]))
        if event:
            write_json(folder / f"{split}.filename-timestamps.json", parts[2])
    (folder / ".done.embeddings").touch()
    return task


def clouds(count, spread, seed, classes=3, size=8):
    """Normal clouds around one point a class: embeddings ``(count, size)`` and labels."""
    rng = np.random.default_rng(seed)
    centres = 2 * np.eye(classes, size)
    labels = rng.integers(classes, size=count)
    return centres[labels] + spread * rng.standard_normal((count, size)), [[f"c{label}"] for label in labels]


def identity(size):
    """A linear layer whose output is its input."""
    layer = torch.nn.Linear(size, size)
    torch.nn.init.eye_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    return layer
