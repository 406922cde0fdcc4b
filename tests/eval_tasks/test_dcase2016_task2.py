"""DCASE 2016 task 2 from a small folder."""

import random
from pathlib import Path

from raw_sounds import prepare, write_noise

from eval_tasks.adapters import dcase2016_task2
from eval_tasks.adapters.hear_data_set import ModeOptions
from eval_tasks.tasks.check import check_tasks
from eval_tasks.tasks.task_folder import TaskFolder


def make_dcase(root: Path, scenes: int) -> list[Path]:
    """The two archives' layouts, a quarter of the scenes in the first."""
    folders = [
        root / "dcase2016_task2_train_dev" / "dcase2016_task2_dev",
        root / "dcase2016_task2_test_public",
    ]
    for number in range(scenes):
        folder = folders[number * 4 // scenes > 0]
        name = f"{'eval' if number * 4 // scenes else 'dev'}_1_ebr_-6_nec_{number}_poly_0"
        write_noise(folder / "sound" / f"{name}.wav", 8000, 8000)
        (folder / "annotation").mkdir(exist_ok=True)
        (folder / "annotation" / f"{name}.txt").write_text(
            "2.5\t3.25\tcough\n1.0\t1.5\tdrawer\n119.5\t121.0\tkeys\n120.0\t122.0\tphone\n"
        )
    return [root / "dcase2016_task2_train_dev", root / "dcase2016_task2_test_public"]


def test_dcase_splits(tmp_path):
    raw = make_dcase(tmp_path, 72)
    made = dcase2016_task2.DATA_SET.plan(raw, ModeOptions("full"))
    stems = sorted(path.stem for folder in raw for path in folder.rglob("*.txt"))
    random.Random("split_train_test_val").shuffle(stems)
    names = {split: {Path(clip.name).stem for clip in clips} for split, clips in made.splits.items()}
    assert names == {"valid": set(stems[:14]), "test": set(stems[14:28]), "train": set(stems[28:])}


def test_dcase_events(tmp_path, capsys):
    raw = make_dcase(tmp_path / "raw", 8)
    assert prepare("dcase2016_task2", raw, tmp_path) == 1
    assert "found 8 recordings of dcase2016_task2, expected 72" in capsys.readouterr().err
    assert prepare("dcase2016_task2", raw, tmp_path, "--mode", "small") == 0
    task = TaskFolder.open(tmp_path / "dcase2016_task2-hear2021-small")
    assert task.is_event and task.is_multilabel and task.vocabulary == ["cough", "drawer", "keys"]
    for split in task.splits:
        for events in task.split(split).values():
            assert events == [
                {"label": "drawer", "start": 1000.0, "end": 1500.0},
                {"label": "cough", "start": 2500.0, "end": 3250.0},
                {"label": "keys", "start": 119500.0, "end": 120000.0},
            ]
    assert check_tasks([task.path], 8000) == []


def test_dcase_bad_annotation(tmp_path, capsys):
    raw = make_dcase(tmp_path / "raw", 8)
    file = next(raw[0].rglob("*.txt"))
    file.write_text("1.0\t2.0\tcough\n3.0 4.0 cough\n")
    assert prepare("dcase2016_task2", raw, tmp_path, "--mode", "small") == 1
    assert f"{file}, line 2" in capsys.readouterr().err
