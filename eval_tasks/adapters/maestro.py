"""MAESTRO 3.0.0, piano performances, five hours: the first two minutes of 185 of them, in five folds.

--raw: maestro-v3.0.0.zip, or its folder, with maestro-v3.0.0.csv, the recordings and the MIDI files. Notes
become events, made longer where the sustain pedal holds them. The recordings have several sample rates:
give --sample-rate.

  python -m eval_tasks prepare maestro --raw maestro-v3.0.0.zip --sample-rate 16000 --out tasks/
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, Mode, Recording, find_one
from eval_tasks.adapters.piano_events import piano_events
from eval_tasks.errors import UserError

CLIP_S = 120.0
HOURS = 5  # of four of the five folds
# How heareval shall train on it: sed_eval is slow with as many events.
TRAINING = {
    "use_scoring_for_early_stopping": False,
    "evaluation_params": {
        "event_postprocessing_grid": {"median_filter_ms": [150], "min_duration": [50]},
        "task_specific_param_grid": {"max_epochs": [50], "check_val_every_n_epoch": [1]},
    },
}


def find(folders: Sequence[Path], small: bool) -> list[Recording]:
    table = find_one(folders, "maestro-v3.0.0.csv", "MAESTRO")
    recordings = []
    with table.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            try:
                source, midi = (table.parent / row[f"{kind}_filename"] for kind in ("audio", "midi"))
            except KeyError as error:
                raise UserError(f"{table}: no column {error}") from None
            if source.is_file() and not midi.is_file():
                raise UserError(f"{midi} is missing, {table} names it: fetch the archive again")
            # Read for those that are chosen: a second each.
            recordings.append(Recording(source.stem, source, partial(piano_events, midi)))
    return recordings


DATA_SET = HearDataSet(
    name="maestro",
    about=__doc__ or "",
    task_name="maestro",
    version="v3.0.0",
    split_mode="new_split_kfold",
    modes={"5h": Mode(CLIP_S, int(3600 * HOURS / 4 / CLIP_S), folds=5), SMALL: Mode(5.0, folds=4)},
    find=find,
    recordings=1276,
    scores=("event_onset_50ms_fms", "event_onset_offset_50ms_20perc_fms"),
    is_event=True,
    metadata=TRAINING,
)
