"""Where the raw data of the benchmark's tasks is published, and how it is found on a disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import yaml

from eval_tasks.adapters import (
    beehive_states,
    beijing_opera,
    crema_d,
    dcase2016_task2,
    esc50,
    fsd50k,
    gtzan,
    gtzan_music_speech,
    gunshot_triangulation,
    libricount,
    maestro,
    mridangam,
    nsynth,
    speech_commands,
    spoken_digit,
    vocal_imitation,
    vox_lingua_top10,
)
from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet
from eval_tasks.tasks.registry import published

DATA_SETS: dict[str, HearDataSet] = {
    data_set.name: data_set
    for data_set in (
        speech_commands.DATA_SET,
        nsynth.PITCH,
        nsynth.PITCH_KFOLD,
        dcase2016_task2.DATA_SET,
        beehive_states.FOLD0,
        beehive_states.FOLD1,
        beijing_opera.DATA_SET,
        crema_d.DATA_SET,
        esc50.DATA_SET,
        fsd50k.DATA_SET,
        gtzan.DATA_SET,
        gtzan_music_speech.DATA_SET,
        gunshot_triangulation.DATA_SET,
        libricount.DATA_SET,
        maestro.DATA_SET,
        mridangam.STROKE,
        mridangam.TONIC,
        spoken_digit.DATA_SET,
        vocal_imitation.DATA_SET,
        vox_lingua_top10.DATA_SET,
    )
}


@dataclass(frozen=True)
class RawData:
    """Raw data as its authors publish it; the fields are those of ``raw_data.yaml``, which explains them."""

    title: str
    adapters: Sequence[str]
    url: str
    size_gb: float | None
    licence: str
    whole: Sequence[Sequence[str]]
    small: Sequence[Sequence[str]]

    def tasks(self, small: bool) -> list[tuple[HearDataSet, str]]:
        """What is made of it, data set and mode: what the benchmark has, or all the small tasks."""
        return [
            (DATA_SETS[name], mode)
            for name in self.adapters
            for mode in DATA_SETS[name].modes
            if (mode == SMALL if small else published(DATA_SETS[name].folder_name(mode)))
        ]

    def look_in(self, folder: Path, small: bool) -> tuple[list[Path], list[str]]:
        """What of it lies in a folder, or in one of its folders, and the names of what does not."""
        found, missing = [], []
        for names in self.small if small else self.whole:
            paths = [path for name in names for path in (folder / name, *sorted(folder.glob(f"*/{name}")))]
            there = [path for path in paths if path.exists()]
            found += there[:1]
            missing += [] if there else [" or ".join(names)]
        return found, missing


@cache
def raw_data() -> tuple[RawData, ...]:
    """The raw data of all the tasks, in the order of the benchmark's task sheet, then of the others."""
    text = resources.files("eval_tasks.adapters").joinpath("raw_data.yaml").read_text(encoding="utf-8")
    return tuple(RawData(**entry) for entry in yaml.safe_load(text))


def raw_data_of(folder_name: str) -> RawData | None:
    """What a task folder is made of; None for one that is not the benchmark's."""
    for entry in raw_data():
        for name in entry.adapters:
            if folder_name in map(DATA_SETS[name].folder_name, DATA_SETS[name].modes):
                return entry
    return None
