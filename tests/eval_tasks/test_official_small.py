"""HEAR's own small archives: the task folders made of them equal hear-preprocess's, audio included.

The golden files are what hear-preprocess 2021.1.1 itself made of the same archives: metadata, vocabulary,
labels, and the SHA-1 of each clip's 16-bit samples at its own rate. The archives are not in this
repository; the tests that read them skip without. What does not skip: test_full_size holds clips, labels and
splits of the same data sets against hear-preprocess on trees that it writes, and test_small_raw and
test_pcm16 hold the samples.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import soundfile

import eval_tasks
from eval_tasks.adapters.raw_data import DATA_SETS, raw_data_of

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*-small.json"))
DATA_SET_OF = {data_set.folder_name("small"): data_set for data_set in DATA_SETS.values()}


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_task_folder_is_that_of_hear_preprocess(golden, shared, tmp_path):
    expected = json.loads(golden.read_text(encoding="utf-8"))
    raw, missing = raw_data_of(golden.stem).look_in(shared / "hear-official-small", small=True)
    if missing:
        pytest.skip(f"not here: {missing}")
    rates = {
        row["rate_hz"] for split in expected["splits"].values() for row in split.values() if "rate_hz" in row
    }
    name = DATA_SET_OF[golden.stem].name
    task = eval_tasks.prepare(name, raw=raw, out=tmp_path, mode="small", sample_rates=sorted(rates), jobs=1)
    assert task.name == golden.stem
    assert task.vocabulary == expected["vocabulary"]
    assert {key: task.metadata[key] for key in expected["metadata"]} == expected["metadata"]
    for split, clips in expected["splits"].items():
        labels = json.loads((task.path / f"{split}.json").read_text(encoding="utf-8"))
        assert labels == {clip: row["labels"] for clip, row in clips.items()}
        for clip, row in clips.items():
            samples, _ = soundfile.read(task.audio_path(row["rate_hz"], split, clip), dtype="int16")
            assert hashlib.sha1(samples.tobytes()).hexdigest() == row["pcm16_sha1"], clip


def test_every_small_archive_here_has_a_golden_file(shared):
    for folder_name, data_set in DATA_SET_OF.items():
        missing = raw_data_of(folder_name).look_in(shared / "hear-official-small", small=True)[1]
        there = any(path.stem == folder_name for path in GOLDEN)
        assert there or missing or data_set.name == "speech_commands", "that one is in test_speech_commands"
