"""Links and names in files of strangers lead to no file outside the folder that was named."""

import json
import os

import numpy as np
import pytest
from beeps import METADATA, RATE, make_beeps
from made_embeddings import embeddings_folder

from eval_tasks.__main__ import main
from eval_tasks.errors import UserError
from eval_tasks.files import refuse_links_outside, unsafe_name
from eval_tasks.probe.linear import Protocol
from eval_tasks.report import text
from eval_tasks.runs.claim import claim_model_folder, written_folders
from eval_tasks.runs.results import IDENTITY
from eval_tasks.tasks.task_folder import TaskFolder


@pytest.fixture
def task(tmp_path):
    return make_beeps(tmp_path)


@pytest.mark.parametrize(
    "name", ["../../../../mine.wav", "{folder}/mine.wav", "..", "a\\..\\mine.wav", "a\0b"]
)
@pytest.mark.parametrize("where", ["clip", "split"])
def test_a_task_folder_reaches_nothing_outside(task, tmp_path, capsys, name, where):
    name = name.format(folder=tmp_path)
    before = (tmp_path / "mine.wav").read_bytes()
    if where == "clip":
        (task / "train.json").write_text(json.dumps({name: ["a"]}))
    else:
        splits = [name, "valid", "test"]
        (task / "task_metadata.json").write_text(json.dumps({**METADATA, "splits": splits}))
    status = main(["resample", str(task), "--sample-rate", "8000", "--jobs", "1", "--quiet"])
    assert status == 1 and "expected a file name" in capsys.readouterr().err
    assert (tmp_path / "mine.wav").read_bytes() == before
    assert main(["check", str(task), "--sample-rate", str(RATE)]) == 1


@pytest.mark.parametrize("link", ["", "train"])
def test_resample_does_not_write_through_links(task, tmp_path, capsys, link):
    (tmp_path / "elsewhere").mkdir()
    partial = task / f"8000-from-{RATE}.partial"
    if link:
        partial.mkdir()
    (partial / link).symlink_to(tmp_path / "elsewhere")
    assert main(["resample", str(task), "--sample-rate", "8000", "--jobs", "1", "--quiet"]) == 1
    assert "is a link to" in capsys.readouterr().err and not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    "link",
    [
        *("logs", "embeddings", "predictions", "model.json"),
        *("logs/x.log", "logs/.x.lock", "embeddings/module", "embeddings/module/task"),
        *("predictions/default", "predictions/default/task"),
    ],
)
def test_a_model_folder_with_a_link_outside_is_not_claimed(tmp_path, link):
    model, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (model / link).parent.mkdir(parents=True)
    (model / link).symlink_to(elsewhere)
    with pytest.raises(UserError, match="is a link to"):
        claim_model_folder(model, dict.fromkeys(IDENTITY, ""), "refuse")
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("link", ["probe", "probe/{protocol}", "probe/{protocol}/beeps-v1-full"])
def test_probe_does_not_write_through_links(tmp_path, capsys, link):
    model, elsewhere = tmp_path / "out/model", tmp_path / "elsewhere"
    elsewhere.mkdir()
    parts = {split: (np.eye(2), [["a"], ["b"]]) for split in METADATA["splits"]}
    embeddings_folder(model / "embeddings/module/beeps-v1-full", parts, ["a", "b"], ["top1_acc"])
    (model / "model.json").write_text("{}")
    path = model / link.format(protocol=Protocol(epochs=1).name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(elsewhere)
    assert main(["probe", "--out", str(tmp_path / "out"), "--seeds", "1", "--epochs", "1"]) == 1
    assert "is a link to" in capsys.readouterr().err and not list(elsewhere.iterdir())


def test_a_run_folder_is_not_written_through_links(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    model = tmp_path / "model"
    (model / "embeddings/module/task").mkdir(parents=True)
    (model / "embeddings/inside").symlink_to("module")
    refuse_links_outside(model, written_folders(model))
    (model / "embeddings/module/other").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="other is a link to"):
        refuse_links_outside(model, written_folders(model))


def test_names_are_text_in_markdown_csv_and_figures():
    assert (
        text.markdown("a|b\n<script>[x](y)") == r"a\|b" + "\N{REPLACEMENT CHARACTER}" + r"\<script\>\[x\](y)"
    )
    assert text.csv_cell("=HYPERLINK(1)") == "'=HYPERLINK(1)" and text.csv_cell("a=b") == "a=b"
    assert text.figure("$\\frac{$_x") == "\\$\\frac{\\$_x" and text.figure("_hidden") == " _hidden"
    assert text.one_line(os.fsdecode(b"caf\xe9")) == "caf\N{REPLACEMENT CHARACTER}"


def test_any_name_can_be_drawn(tmp_path):
    from matplotlib.figure import Figure

    from eval_tasks.report.plots import to_png, to_svg

    for name in ("$\\frac{$", "_x", os.fsdecode(b"caf\xe9"), "a\nb", "<&>", "\\", "^", "{"):
        drawing = Figure()
        drawing.subplots().set_title(text.figure(name))
        to_png(drawing, tmp_path / "x.png")
        assert "<script" not in to_svg(drawing)


def test_names_of_files():
    assert not unsafe_name("a-b c.wav") and not unsafe_name("\N{LATIN SMALL LETTER E WITH ACUTE}.wav")
    assert "bytes" in unsafe_name("x" * 241)


def test_folders_of_rates_are_numbers(task):
    (task / "\N{SUPERSCRIPT TWO}").mkdir()
    (task / "99999999999999").mkdir()
    assert TaskFolder.open(task).sample_rates == [RATE]
