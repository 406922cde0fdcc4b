import csv
import json
from pathlib import Path

import pytest

from eval_tasks.__main__ import VERBS, main, usage
from eval_tasks.errors import UserError
from eval_tasks.report.leaderboard import leaderboard
from eval_tasks.tasks.check_description import EMBEDDING_TYPES, PREDICTION_TYPES, SCORES
from eval_tasks.tasks.registry import hear_tasks, published, select_folders
from eval_tasks.tasks.task_folder import write_description
from eval_tasks.tasks.transfer import Archive, archive_of


def test_scores_are_those_of_heareval():
    score = pytest.importorskip("heareval.score")
    assert set(SCORES) == set(score.available_scores)


# As public scripts name them, in Zenodo record 6332517 ("HEAR 2021.3").
PUBLISHED_ARCHIVES = [
    "hear2021-beehive_states_fold0-v2-full-48000.tar.gz",
    "hear2021-beehive_states_fold1-v2-full-48000.tar.gz",
    "hear2021-beijing_opera-v1.0-hear2021-full-48000.tar.gz",
    "hear2021-dcase2016_task2-hear2021-full-48000.tar.gz",
    "hear2021-esc50-v2.0.0-full-48000.tar.gz",
    "hear2021-fsd50k-v1.0-full-48000.tar.gz",
    "hear2021-gunshot_triangulation-v1.0-full-48000.tar.gz",
    "hear2021-libricount-v1.0.0-hear2021-full-48000.tar.gz",
    "hear2021-maestro-v3.0.0-5h-48000.tar.gz",
    "hear2021-mridangam_stroke-v1.5-full-48000.tar.gz",
    "hear2021-mridangam_tonic-v1.5-full-48000.tar.gz",
    "hear2021-nsynth_pitch-v2.2.3-50h-48000.tar.gz",
    "hear2021-nsynth_pitch-v2.2.3-5h-48000.tar.gz",
    "hear2021-speech_commands-v0.0.2-5h-48000.tar.gz",
    "hear2021-speech_commands-v0.0.2-full-48000.tar.gz",
    "hear2021-tfds_crema_d-1.0.0-full-48000.tar.gz",
    "hear2021-tfds_gtzan-1.0.0-full-48000.tar.gz",
    "hear2021-tfds_gtzan_music_speech-1.0.0-full-48000.tar.gz",
    "hear2021-vocal_imitation-v1.1.3-full-48000.tar.gz",
    "hear2021-vox_lingua_top10-hear2021-full-48000.tar.gz",
]


def test_every_task_folder_finds_its_published_archive():
    files = {name: Archive(name, "", "md5:0", 1) for name in [*PUBLISHED_ARCHIVES, "hear2021-other.tar.gz"]}
    folders = [folder for task in hear_tasks() for folder in task.folders]
    assert sorted(archive_of(folder, files, "record").name for folder in folders) == PUBLISHED_ARCHIVES


def test_nineteen_tasks():
    tasks = hear_tasks()
    assert len(tasks) == 19 and len({task.title for task in tasks}) == 19
    folders = [folder for task in tasks for folder in task.folders]
    assert len(set(folders)) == 20, "Beehive States has two"
    for task in tasks:
        assert task.embedding in EMBEDDING_TYPES and task.prediction in PREDICTION_TYPES
        assert task.score in SCORES
        assert task.splits == "train/valid/test" or task.splits.split()[1] == "folds"
        if task.clip_s:
            assert task.hours == pytest.approx(task.clips * task.clip_s / 3600, abs=0.06)


def test_registry_agrees_with_the_task_sheet():
    """golden/task_sheet.csv holds the figures of the benchmark's own sheet, in its order."""
    with (Path(__file__).parent / "golden/task_sheet.csv").open(newline="") as file:
        sheet = list(csv.DictReader(file))
    for task, row in zip(hear_tasks(), sheet, strict=True):
        assert task.title.lower().rstrip("h") in row["name"].lower().replace("hr", "h")
        assert task.clips == int(row["num-clips"]), task.title
        assert task.embedding == {"S": "scene", "T": "event"}[row["embed-type"]]
        assert task.prediction == {"C": "multiclass", "L": "multilabel"}[row["predictor-type"]]
        assert (
            task.splits.replace(" folds", "-fold").replace("train/valid/test", "TVT") == row["split-method"]
        )
        assert task.clip_s == (None if row["name"] == "FSD50K" else float(row["duration"]))
    assert sorted(task.leaderboard for task in hear_tasks()) == sorted(leaderboard().index)


def test_published():
    assert published("speech_commands-v0.0.2-5h").title == "Speech Commands 5h"
    assert published("beehive_states_fold1-v2-full") is published("beehive_states_fold0-v2-full")
    assert published("speech_commands-v0.0.2-small") is None


def test_select_folders():
    assert select_folders(["esc50"]) == ["esc50-v2.0.0-full"]
    assert select_folders(["speech_commands"]) == ["speech_commands-v0.0.2-5h", "speech_commands-v0.0.2-full"]
    assert select_folders(["nsynth_pitch-v2.2.3-5h", "nsynth"]) == [
        "nsynth_pitch-v2.2.3-5h",
        "nsynth_pitch-v2.2.3-50h",
    ]
    assert len(select_folders(["beehive states"])) == 2 and len(select_folders(["all"])) == 20
    with pytest.raises(UserError, match="no task 'imagenet': expected all"):
        select_folders(["esc50", "imagenet"])


def make_task(path: Path, rate: int) -> None:
    metadata = {
        "task_name": path.name,
        "version": "v1",
        "mode": "full",
        "embedding_type": "scene",
        "prediction_type": "multiclass",
        "split_mode": "trainvaltest",
        "sample_duration": 1.0,
        "evaluation": ["top1_acc"],
        "splits": ["train", "valid", "test"],
    }
    write_description(path, metadata, {}, ["a"])
    (path / str(rate)).mkdir()


def test_list(tmp_path, capsys):
    make_task(tmp_path / "esc50-v2.0.0-full", 48000)
    make_task(tmp_path / "mine-v1-full", 22050)
    assert main(["list", "--tasks", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if "esc50-v2.0.0-full" in line]
    assert "ESC-50" in row and "5 folds" in row and "2000" in row and row.rstrip().endswith("48 kHz")
    assert any("1 of 20 folders of 19 tasks" in line for line in lines)
    assert any("mine-v1-full (22.05 kHz)" in line for line in lines)
    assert main(["list", "--tasks", str(tmp_path), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["others"] == {"mine-v1-full": [22050]}
    (esc50,) = [task for task in listed["tasks"] if task["title"] == "ESC-50"]
    assert esc50["sample_rates"] == {"esc50-v2.0.0-full": [48000]}


def test_list_goes_on_after_a_broken_folder(tmp_path, capsys):
    make_task(tmp_path / "mine-v1-full", 22050)
    for name in ("esc50-v2.0.0-full", "yours-v1-full"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "task_metadata.json").write_text("{")
    assert main(["list", "--tasks", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.count("broken, see check") == 2 and "mine-v1-full (22.05 kHz)" in text


def test_list_without_any_task(tmp_path, capsys):
    assert main(["list", "--tasks", str(tmp_path / "nowhere")]) == 0
    assert "0 of 20 folders" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_usage_names_every_verb(arguments, capsys):
    assert main(arguments) == (0 if arguments else 2)
    text = capsys.readouterr().out
    assert text.strip() == usage().strip() and all(verb in text for verb in VERBS)


@pytest.mark.parametrize("verb", ["list", "download", "prepare", "resample", "check"])
def test_help_of_a_verb_explains_it(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and f"python -m eval_tasks {verb}" in text and len(text.splitlines()) > 12
