"""Raw data of full size, by name: clips, labels, splits and subsets are those of hear-preprocess.

The golden values are what hear-preprocess 2021.1.1 itself made of the same trees: its metadata, splits and
subsampling, run on ``raw_trees``. Of CREMA-D, GTZAN Genre and the spoken digits it had its own tables of
labels, written from TensorFlow datasets, so that these also hold the names that clips get there.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import soundfile
from raw_trees import TREES

from eval_tasks.adapters import maestro, speech_commands
from eval_tasks.adapters.hear_data_set import SMALL, HearDataSet, ModeOptions
from eval_tasks.adapters.plan import Plan
from eval_tasks.adapters.raw_data import DATA_SETS
from eval_tasks.errors import UserError
from eval_tasks.tasks.registry import hear_tasks, published
from hear_msss.audio import Measured

GOLDEN = json.loads((Path(__file__).parent / "golden" / "full_size.json").read_text(encoding="utf-8"))
TREE_OF = {
    "beehive_states_fold0": "beehive_states",
    "beehive_states_fold1": "beehive_states",
    "mridangam_stroke": "mridangam",
    "mridangam_tonic": "mridangam",
    "nsynth_pitch_kfold": "nsynth",
}
NAMES_ONLY = ("fsd50k", "nsynth", "nsynth_pitch_kfold", "maestro")  # trees without sound files
IS_FILE = Path.is_file


def case(folder_name: str) -> tuple[HearDataSet, str]:
    for data_set in DATA_SETS.values():
        for mode in data_set.modes:
            if data_set.folder_name(mode) == folder_name:
                return data_set, mode
    raise KeyError(folder_name)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Adapter's name -> its raw data; each is made once."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        name = TREE_OF.get(name, name)
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            TREES[name](made[name])
        return made[name]

    return make


def plan_of(data_set: HearDataSet, mode: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    if data_set.name in NAMES_ONLY:
        monkeypatch.setattr(Path, "is_file", lambda self: self.suffix in (".wav", ".midi") or IS_FILE(self))
        monkeypatch.setattr(maestro, "piano_events", lambda path: [{"label": 60, "start": 0.0, "end": 1.0}])
    # The tree's noise is at 8 Hz, which is no rate that sound is read at.
    monkeypatch.setattr(speech_commands, "measure", length_by_header)
    return data_set.plan([folder], ModeOptions(mode))


def length_by_header(path: Path) -> Measured:
    info = soundfile.info(path)
    return Measured(info.frames, info.samplerate, [])


def summary(plan: Plan) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for split, clips in plan.splits.items():
        labels = {clip.name: [] if split_has_events(plan) else sorted(clip.labels) for clip in clips}
        digest = hashlib.sha256(json.dumps(dict(sorted(labels.items()))).encode()).hexdigest()
        found[split] = {"clips": len(clips), "sha256": digest}
    return found


def split_has_events(plan: Plan) -> bool:
    return bool(plan.metadata["embedding_type"] == "event")


@pytest.mark.parametrize("folder_name", GOLDEN)
def test_clips_labels_and_splits_are_those_of_hear_preprocess(folder_name, tree, monkeypatch):
    data_set, mode = case(folder_name)
    plan = plan_of(data_set, mode, tree(data_set.name), monkeypatch)
    assert plan.folder_name == folder_name
    assert summary(plan) == GOLDEN[folder_name]


def test_clips_are_as_many_as_the_task_sheet_says():
    for folder_name, splits in GOLDEN.items():
        task = published(folder_name)
        if task is not None:
            assert sum(split["clips"] for split in splits.values()) == task.clips, folder_name


def test_every_task_of_the_benchmark_has_an_adapter_that_agrees_with_the_registry():
    for task in hear_tasks():
        for folder in task.folders:
            data_set, mode = case(folder)
            folds = data_set.modes[mode].folds
            if task.splits == "train/valid/test":
                assert data_set.split_mode == "trainvaltest" and folds is None
            else:
                assert task.splits == f"{folds or 5} folds", "ESC-50 brings its five"
            assert data_set.modes[mode].clip_s == task.clip_s
            assert data_set.scores[0] == task.score
            assert (data_set.is_event, data_set.multilabel or data_set.is_event) == (
                task.embedding == "event",
                task.prediction == "multilabel",
            )
            # DCASE 2016 and Gunshot Triangulation have their own tests: they are small.
            in_full_size = any(data_set.folder_name(name) in GOLDEN for name in data_set.modes)
            assert in_full_size or data_set.name in ("dcase2016_task2", "gunshot_triangulation")


@pytest.mark.parametrize("name", ["esc50", "gtzan", "libricount", "beijing_opera"])
def test_a_part_of_the_data_is_refused(name, tree):
    """One recording less, and hear-preprocess's folds would be others."""
    victim = sorted(tree(name).rglob("*.wav"))[3]
    victim.unlink()
    try:
        with pytest.raises(UserError, match="--mode small"):
            DATA_SETS[name].plan([tree(name)], ModeOptions())
    finally:
        victim.touch()


def test_part_of_the_authors_files_has_no_names(tree):
    for name in ("gtzan", "gtzan_music_speech", "crema_d", "spoken_digit"):
        with pytest.raises(UserError, match="cannot be known"):
            DATA_SETS[name].plan([tree(name)], ModeOptions(SMALL))


def test_equally_frequent_languages_are_refused(tree, tmp_path):
    tree_of_its_own = tmp_path / "dev"
    TREES["vox_lingua_top10"](tree_of_its_own)
    for number in range(62):  # the eleventh language has 28, the tenth 90
        (tree_of_its_own / "ka" / f"more{number}.wav").touch()
    with pytest.raises(UserError, match="ja and ka both have 90 recordings"):
        DATA_SETS["vox_lingua_top10"].plan([tree_of_its_own], ModeOptions())
