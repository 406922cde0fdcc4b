"""What the display reads from the runners' output."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from eval_tasks.runs.display import RunDisplay, progress_of
from eval_tasks.runs.run import TaskResult
from eval_tasks.runs.scores import Score

EMBEDDINGS = b"""Importing tiny
Getting embeddings for split: train
  0%|          | 0/4 [00:00<?, ?it/s]\r100%|##########| 4/4 [00:01<00:00]
Getting embeddings for split: valid
  0%|          | 0/4 [00:00<?, ?it/s]\r 25%|##5       | 1/4 [00:01<00:03]"""
PREDICTIONS = b"""Global seed set to 42
predict - tiny - Grid point 1 of 8: {}
 50%|#####     | 1/2
predict - tiny - Grid point 3 of 8: {}"""


@pytest.mark.parametrize(
    ("stage", "text", "percent", "state"),
    [
        ("embeddings", b"", 0, "embeddings: loading"),
        ("embeddings", EMBEDDINGS, 25, "embeddings valid"),
        ("predictions", b"TensorFlow", 0, "predictions: loading"),
        ("predictions", PREDICTIONS, 25, "predictions grid point 3/8"),
        ("predictions", PREDICTIONS + b"\nTraining split 4 of 5: {}", 60, "predictions fold 4/5"),
    ],
)
def test_progress_is_read_from_the_log(tmp_path, stage, text, percent, state):
    (tmp_path / "log").write_bytes(text)
    assert progress_of(stage, tmp_path / "log") == (percent, state)


def test_summary_shows_scores_and_why_tasks_failed():
    output = io.StringIO()
    results = [
        TaskResult("good-v1-5h", "m", "done", {"top1_acc": Score(0.5)}, 3.0, 4.0),
        TaskResult("bad-v1-5h", "m", "failed", error="embeddings ended with status 1\nValueError: [no luck]"),
    ]
    with RunDisplay(Console(file=output, width=100)) as display:
        display.start([])
        for result in results:
            display.finished(result)
    display.summary(results, Path("my results"))
    text = output.getvalue()
    assert "good-v1-5h: accuracy 0.500 (embeddings 3 s, predictions 4 s)" in text
    assert "bad-v1-5h: failed: embeddings ended with status 1" in text
    assert "ValueError: [no luck]" in text
    assert "results: my results/m" in text
    assert "next: mend what failed" in text and "eval_tasks report" not in text
    display.summary(results[:1], Path("my results"))
    assert "next: python -m eval_tasks report 'my results' --out report" in output.getvalue()
