"""The probe on event tasks: sed_eval, known cases, and the choice of postprocessing."""

import json

import numpy as np
import pytest
import sed_eval
import torch
from dcase_util.containers import MetaDataContainer
from made_embeddings import embeddings_folder, identity

from eval_tasks.probe.linear import Protocol, Scorer, load_splits, probe_split
from eval_tasks.probe.probe import probe_task

QUICK = Protocol(epochs=60, learning_rate=1e-2)
TRUTH = [(0, 1000, 2000), (1, 4000, 5000), (0, 7000, 8000)]
BLIP = (1, 9000, 9150)


def event_task(folder, with_blips=(), hearing_blips=()):
    """One scene a split, 10 s, a frame each 50 ms; the embedding is the logit of each class.

    Truth: a at 1.0 s, b at 4.0 s, a at 7.0 s, of 1 s each. The test frames say: the first a at its
    place, b 500 ms late, a blip of 150 ms of a at 9.0 s. The splits ``with_blips`` have another event of
    150 ms; those ``hearing_blips`` hear it without its being there.
    """
    times_ms = np.arange(0, 10_000, 50.0)

    def frames(*spans):
        logits = np.full((200, 2), -5.0)
        for column, start_ms, end_ms in spans:
            logits[(times_ms >= start_ms) & (times_ms <= end_ms), column] = 5.0
        return logits

    heard = [(0, 1000, 2000), (1, 4500, 5500), (0, 9000, 9150)]
    splits = {}
    for split in ("train", "valid", "test"):
        truth = [*TRUTH, BLIP] if split in with_blips else TRUTH
        values = frames(*(heard if split == "test" else [*truth, BLIP] if split in hearing_blips else truth))
        events = [{"label": "ab"[column], "start": start, "end": end} for column, start, end in truth]
        labels = [[] for _ in times_ms]
        for column, start, end in truth:
            for row in np.flatnonzero((times_ms >= start) & (times_ms <= end)):
                labels[row].append("ab"[column])
        located = [(f"/somewhere/{split}.wav", time_ms) for time_ms in times_ms]
        splits[split] = (values, labels, located, {f"{split}.wav": events})
    return embeddings_folder(folder, splits, ["a", "b"], ["event_onset_200ms_fms", "segment_1s_er"])


def test_event_scores_of_a_known_case(tmp_path):
    task = event_task(tmp_path / "task")
    data = load_splits(task, ["test"])
    scores = Scorer(task)(identity(2), data, {"median_filter_ms": 250, "min_duration": 125})
    # The blip of 4 frames outlives the filter, as 9.0 to 9.15 s: 3 heard, 3 true, 1 onset right.
    assert scores["event_onset_200ms_fms"] == pytest.approx(1 / 3)
    stricter = Scorer(task)(identity(2), data, {"median_filter_ms": 250, "min_duration": 250})
    assert stricter["event_onset_200ms_fms"] == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))

    heard = [("a", 1.0, 2.0), ("b", 4.5, 5.5)]
    metric = sed_eval.sound_event.SegmentBasedMetrics(["a", "b"], time_resolution=1.0)
    metric.evaluate(
        MetaDataContainer([{"event_label": e["label"], "onset": e["start"] / 1000, "offset": e["end"] / 1000,
                            "file": "f"} for e in data.events["test.wav"]]),
        MetaDataContainer([{"event_label": label, "onset": start, "offset": end, "file": "f"}
                           for label, start, end in heard]),
    )  # fmt: skip
    assert stricter["segment_1s_er"] == pytest.approx(
        metric.results_overall_metrics()["error_rate"]["error_rate"]
    )


@pytest.mark.parametrize(("with_blips", "expected"), [("valid", 125), ("train", 250)])
def test_postprocessing_is_chosen_on_the_validation_split(tmp_path, with_blips, expected):
    """In one split short events are real, in the other they are false alarms."""
    (false,) = {"train", "valid"} - {with_blips}
    task = event_task(tmp_path / "task", with_blips=[with_blips], hearing_blips=[false])
    found = probe_split(task, (["train"], ["valid"], ["test"]), QUICK, 0)
    assert found["postprocessing"]["min_duration"] == expected


def test_silence_scores_zero_and_not_nan(tmp_path):
    task = event_task(tmp_path / "task")
    layer = identity(2)
    torch.nn.init.constant_(layer.bias, -100.0)
    scores = Scorer(task)(layer, load_splits(task, ["test"]), {"median_filter_ms": 250, "min_duration": 125})
    assert scores["event_onset_200ms_fms"] == 0.0 and scores["segment_1s_er"] == 1.0


def test_event_task_end_to_end(tmp_path):
    task = event_task(tmp_path / "task")
    assert not probe_task(task.path, tmp_path / "probe", QUICK, seeds=1)
    content = json.loads((tmp_path / "probe/seed0.json").read_text())
    assert content["parts"][0]["postprocessing"]["min_duration"] in (125, 250)
    assert 1 / 3 <= content["scores"]["event_onset_200ms_fms"] <= 0.4 + 1e-9
