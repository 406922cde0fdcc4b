"""The verbs that ``disturb.py`` disturbs, each on input of a second or two."""

from __future__ import annotations

import csv
import hashlib
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import disturbed_embed
import small_trees
import soundfile
import torch
from disturb import Verb
from disturbed_embed import RATE, make_sounds, sound

ROOT = Path(__file__).parents[1]

from made_embeddings import clouds, embeddings_folder  # noqa: E402

from eval_tasks.__main__ import main as eval_tasks  # noqa: E402
from eval_tasks.files import write_json  # noqa: E402
from eval_tasks.report import submit  # noqa: E402
from eval_tasks.runs import harness, run  # noqa: E402
from eval_tasks.tasks.task_folder import write_description  # noqa: E402
from hear_msss.__main__ import main as hear_msss  # noqa: E402
from pretrain.__main__ import main as pretrain  # noqa: E402
from pretrain.checkpoint import load_checkpoint  # noqa: E402
from pretrain.runlog import read_log  # noqa: E402

CLIPS = 24
SPLITS = ("train", "valid", "test")


def make_table(folder: Path) -> None:
    (folder / "audio").mkdir()
    with (folder / "table.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file", "label"))
        for number in range(CLIPS):
            soundfile.write(folder / f"audio/{number}.wav", sound(number), RATE)
            writer.writerow((f"{number}.wav", "ab"[number % 2]))


def prepare(folder: Path) -> int:
    command = ["prepare", "csv", "--csv", str(folder / "table.csv"), "--audio", str(folder / "audio")]
    command += ["--name", "x", "--type", "scene", "--out", str(folder / "out"), "--jobs", "2", "--quiet"]
    return eval_tasks(command)


def make_task(folder: Path) -> None:
    task = folder / "out/x-v1-full"
    metadata = {
        **{"task_name": "x", "version": "v1", "mode": "full", "sample_duration": 0.4},
        **{"embedding_type": "scene", "prediction_type": "multiclass", "split_mode": "trainvaltest"},
        **{"evaluation": ["top1_acc"], "splits": list(SPLITS)},
    }
    content = {split: {f"{split}{n}.wav": ["ab"[n % 2]] for n in range(CLIPS // 3)} for split in SPLITS}
    write_description(task, metadata, content, ["a", "b"])
    for split in SPLITS:
        (task / str(RATE) / split).mkdir(parents=True)
        for number, name in enumerate(content[split]):
            soundfile.write(task / str(RATE) / split / name, sound(number), RATE)


def resample(folder: Path) -> int:
    return eval_tasks(["resample", str(folder / "out"), "--sample-rate", "16000", "--jobs", "2", "--quiet"])


def make_archive(folder: Path) -> None:
    (folder / "made").mkdir()
    make_task(folder / "made")
    with tarfile.open(folder / "task.tar.gz", "w:gz") as tar:
        tar.add(folder / "made/out/x-v1-full", "tasks/x-v1-full")


def download(folder: Path) -> int:
    return eval_tasks(["download", "--from-file", str(folder / "task.tar.gz"), "--out", str(folder / "out")])


INFO = {
    **{"module": "a_module", "model": "", "model_options": {}, "model_sha256": "", "module_sha256": "1"},
    **{"scene_embedding_size": 8, "timestamp_embedding_size": 8, "sample_rate": RATE, "versions": {}},
    "devices": {},
}


def make_embeddings(folder: Path) -> None:
    write_json(folder / "out/model/model.json", INFO)
    for number in range(3):
        name = f"x{number}-v1-full"
        parts = {split: clouds(60, 1.0, seed) for seed, split in enumerate(SPLITS)}
        target = folder / "out/model/embeddings/a_module" / name
        embeddings_folder(target, parts, ["c0", "c1", "c2"], ["top1_acc"], task_name=f"x{number}")
        write_json(target / "profile.embeddings.json", {"time_elapsed": 1.0})


def probe(folder: Path) -> int:
    return eval_tasks(
        ["probe", "--out", str(folder / "out"), "--seeds", "2", "--epochs", "30", "--jobs", "2"]
    )


def make_scores(folder: Path) -> None:
    make_embeddings(folder)
    for task in (folder / "out/model/embeddings/a_module").iterdir():
        scores = folder / "out/model/predictions/default" / task.name
        scores.mkdir(parents=True)
        (scores / "task_metadata.json").write_bytes((task / "task_metadata.json").read_bytes())
        write_json(scores / "test.predicted-scores.json", {"test": {"test_top1_acc": 0.5}})
        (scores / "prediction-done.json").touch()


def report(folder: Path) -> int:
    return eval_tasks(["report", str(folder / "out/model"), "--out", str(folder / "report")])


def submit_(folder: Path) -> int:
    """With the scores given, and without the validator, which takes minutes."""
    submit.published_scores = lambda model, grid: ({"ESC-50": 0.5}, [])
    submit.ask = lambda *args: dict(INFO)
    submit.validate = lambda *args: (True, "Looks good!\n")
    if (folder / "entry").exists():  # what the killed one finished in time
        return 0
    status = eval_tasks(["submit", str(folder / "out/model"), "--out", str(folder / "entry")])
    return 0 if (folder / "entry").exists() else status


# Stands for heareval: files one after the other, the mark at the end.
RUNNER = """
import shutil, sys, time
from pathlib import Path
kind, source, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
if kind == "embeddings":
    shutil.rmtree(target, ignore_errors=True)
target.mkdir(parents=True, exist_ok=True)
try:
    for number in range(5):
        (target / f"{number}.bin").write_bytes(bytes(1000 * number))
        time.sleep(0.1)
except OSError as error:
    sys.exit(str(error))
if kind == "embeddings":
    for file in source.iterdir():
        if file.is_file():
            shutil.copy(file, target)
    for split in ("train", "valid", "test"):
        (target / f"{split}.target-labels.pkl").write_bytes(b"\\x80\\x04].")
    (target / ".done.embeddings").touch()
else:
    (target / "test.predicted-scores.json").write_text('{"test": {"test_top1_acc": 0.5}}')
    (target / "prediction-done.json").touch()
"""


def run_(folder: Path) -> int:
    """With another program in the place of heareval's runners."""

    def embeddings(module: str, task: Path, out: Path, *rest: object) -> list[str]:
        return [sys.executable, "-c", RUNNER, "embeddings", str(task), str(out / module / task.name)]

    def predictions(task: Path, *rest: object) -> list[str]:
        return [sys.executable, "-c", RUNNER, "predictions", str(task), str(task)]

    harness.embeddings_command, harness.predictions_command = embeddings, predictions
    run.ask = lambda *args: dict(INFO)
    command = ["run", "--module", "a_module", "--jobs", "2", "--gpus", "none"]
    command += ["--tasks", str(folder / "out"), "--out", str(folder / "results")]
    return eval_tasks(command)


def pack(folder: Path, jobs: str = "2") -> int:
    return pretrain(["pack", str(folder / "audio"), "--out", str(folder / "out"), "--jobs", jobs])


def make_corpus(folder: Path) -> None:
    make_sounds(folder)
    pack(folder, "1")
    (folder / "out").rename(folder / "corpus")


def train(folder: Path) -> int:
    """Some steps, with a checkpoint every second; the hash of all tensors is the result."""
    command = ["train", "--config", "cpu", "--config", "cola", "--resume", "--out", str(folder / "run")]
    values = ("batch_size=2", "steps=6", "checkpoint_every=2", "log_every=1", "validate_every=0")
    command += [word for value in values for word in ("--set", value)]
    # A resume has settings and corpus of its own; they are given again, as whoever repeats a command does.
    status = pretrain([*command, "--corpus", str(folder / "corpus")])
    if not status:
        (folder / "out").mkdir(exist_ok=True)
        (folder / "out/state").write_text(digest_of(load_checkpoint(folder / "run")))
        losses = [record["loss"] for record in read_log(folder / "run")]
        (folder / "out/losses").write_text(str(losses))
    return status


def digest_of(state: dict[str, Any]) -> str:
    """The hash of all tensors in the state of a run, however deep."""
    content = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            content.update(value.numpy().tobytes())
        elif isinstance(value, dict):
            for name in sorted(value, key=str):
                add(value[name])
        elif isinstance(value, list | tuple):
            for entry in value:
                add(entry)

    add(state)
    return content.hexdigest()


def make_run(folder: Path) -> None:
    make_corpus(folder)
    train(folder)
    shutil.rmtree(folder / "out")


def export_weights(folder: Path) -> int:
    out = str(folder / "out/weights.safetensors")
    return pretrain(["export", str(folder / "run"), "--out", out, "--corpus", str(folder / "corpus")])


def export_graph(folder: Path) -> int:
    return hear_msss(["export", "--what", "h", "--model", "untrained", "--out", str(folder / "out/h.onnx")])


def make_archives(folder: Path) -> None:
    small_trees.dcase2016_task2(folder / "dcase")
    small_trees.maestro(folder / "maestro")
    for name, raw in {
        "dcase2016_task2_train_dev-small": folder / "dcase/dev",
        "dcase2016_task2_test_public-small": folder / "dcase/test",
        "maestro-v3.0.0-small": folder / "maestro",
    }.items():
        shutil.make_archive(str(folder / "raw" / name), "zip", raw)


def prepare_all(folder: Path) -> int:
    command = ["prepare", "--all", str(folder / "raw"), "--small", "--out", str(folder / "out")]
    return eval_tasks([*command, "--jobs", "2", "--sample-rate", "8000", "--quiet"])


VERBS = (
    *disturbed_embed.VERBS,
    Verb("prepare", make_table, prepare),
    Verb("resample", make_task, resample),
    Verb("download", make_archive, download),
    Verb("probe", make_embeddings, probe, ignore=(b'"seconds"',)),
    Verb("report", make_scores, report, "report/**/*.[cm]*"),
    Verb("submit", make_scores, submit_, "entry/**/*"),
    Verb("run", make_task, run_, "results/*/[ep]*/**/*"),
    Verb("pack", make_sounds, pack),
    Verb("train", make_corpus, train, refusal="trains there"),
    Verb("pretrain export", make_run, export_weights),
    Verb("hear-msss export", lambda folder: None, export_graph),
    Verb("prepare --all", make_archives, prepare_all),
)
