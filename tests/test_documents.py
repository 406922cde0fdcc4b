"""README, MODEL_CARD and docs say what is true: figures, pictures, examples, commands, links."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import eval_tasks.__main__
import hear_msss.__main__
import pretrain.__main__
from benchmarks import pictures, scores
from benchmarks.results import DOCUMENTS, still_true
from hear_msss.options import Options
from hear_msss.weights import DEFAULT, bundled, fingerprint

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MAINS: dict[str, Callable[[list[str]], int]] = {
    "python -m eval_tasks": eval_tasks.__main__.main,
    "python -m pretrain": pretrain.__main__.main,
    "hear-msss": hear_msss.__main__.main,
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.M)


def test_the_results_are_those_of_the_bundled_weights() -> None:
    assert scores.read()[0] == fingerprint(bundled()[DEFAULT]), "see python -m benchmarks.results --help"


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_tables_of_scores_are_those_of_the_results(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert scores.TABLE.search(text)
    assert scores.filled(text, scores.read()[1]) == text, "run python -m benchmarks.results"


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_scores_in_sentences_are_those_of_the_results(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    text = scores.TABLE.sub("", text[text.index("\n## Scores") :])
    rows = scores.read()[1]
    known = {f"{value:.3f}" for row in rows for value in (row.mean, row.deviation)}
    assert set(re.findall(r"\b[01]\.\d{3}\b", text)) <= known


def test_results_are_collected_from_the_folders_of_runs(tmp_path: Path) -> None:
    row = scores.Row("heareval, fast grid", "birds-v1-full", "top1_acc", "msss", 0.5, 0.1, 5)
    other = scores.Row("heareval, fast grid", "birds-v1-full", "top1_acc", "logmel", 0.25, 0.0, 1)
    better = scores.Row("heareval, fast grid", "birds-v1-full", "top1_acc", "msss", 0.75, 0.1, 5)
    rows = scores.merged([row, other], [better])
    scores.write(rows, "f" * 64, tmp_path / "results.json")
    assert scores.read(tmp_path / "results.json") == ("f" * 64, [other, better])
    assert "| birds | accuracy | 0.250 | **0.750 ± 0.100** |" in scores.table(rows, "heareval, fast grid")


def test_scores_of_former_weights_are_not_kept() -> None:
    rows = [
        scores.Row("probe, linear", "birds", "top1_acc", model, 0.5, 0.0, 1)
        for model in ("logmel", "msss", "msss_h", "chance")
    ]
    assert still_true(rows, same_weights=True) == rows
    assert [row.model for row in still_true(rows, same_weights=False)] == ["logmel", "chance"]
    assert scores.merged(still_true(rows[1:], same_weights=False), []) == []  # chance of nothing


def test_low_error_rates_are_in_bold() -> None:
    rows = [
        scores.Row("probe, linear", "birds", "segment_1s_er", model, mean, 0.0, 1)
        for model, mean in (("logmel", 0.9), ("msss", 0.6), ("chance", 0.1))
    ]
    assert "| 0.900 | **0.600** | 0.100 |" in scores.table(rows, "probe, linear")


def test_pictures_are_drawn_from_these_results_and_weights() -> None:
    for name, source in pictures.sources(scores.read()[1]).items():
        with Image.open(ROOT / "docs" / f"{name}.png") as image:
            assert image.info["Source"] == source, "run python -m benchmarks.pictures"


def test_the_example_of_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "dog.wav", np.random.default_rng(0).standard_normal(32000) / 10, 16000)
    monkeypatch.chdir(tmp_path)
    (example,) = blocks(ROOT / "README.md", "python")
    found: dict[str, torch.Tensor] = {}
    exec(example, found)
    assert found["scene"].shape[0] == 1
    assert found["times_ms"][0, :3].tolist() == [0, 50, 100]
    assert found["embeddings"].shape[:2] == found["times_ms"].shape


def test_the_examples_of_embedding_many_files_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for folder, hz in (("recordings", 0), ("animals/cat", 2000), ("animals/dog", 200)):
        (tmp_path / folder).mkdir(parents=True)
        for name in "abc":
            tone = np.sin(2 * np.pi * hz * np.arange(16000) / 16000) + random.normal(0, 0.1, 16000)
            soundfile.write(tmp_path / folder / f"{name}.wav", tone / 10, 16000)
    (tmp_path / "recordings" / "bad.wav").write_text("no sound")
    files, transformer = blocks(ROOT / "docs" / "embedding.md", "python")
    exec(files, {})
    exec(transformer, {})
    bad, both, score = capsys.readouterr().out.splitlines()
    assert bad.startswith("recordings/bad.wav: cannot be decoded")
    assert "(21, " in both and both.endswith("[  0.  50. 100.] []")
    assert float(score) == 1
    assert len(list((tmp_path / "recordings").glob("*.npy"))) == 3


def test_the_example_module_keeps_to_the_hear_api(tmp_path: Path) -> None:
    (example,) = blocks(ROOT / "docs" / "evaluating.md", "python")
    (tmp_path / "my_encoder.py").write_text(example)
    spec = importlib.util.spec_from_file_location("my_encoder", tmp_path / "my_encoder.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model, audio = module.load_model(), torch.randn(2, 16000)
    embeddings, times_ms = module.get_timestamp_embeddings(audio, model)
    assert module.get_scene_embeddings(audio, model).shape == (2, model.scene_embedding_size)
    assert embeddings.shape == (*times_ms.shape, model.timestamp_embedding_size)
    assert times_ms[0, -1] <= 1000


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Program and arguments of each command of ours in the page's bash blocks."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for program in MAINS:
                for tail in re.findall(rf"(?:^|[ \"]){re.escape(program)} ([a-z].*)", line):
                    yield program, shlex.split(re.split(r" &&|\"$", tail)[0], comments=True)


def options(program: str, *verbs: str) -> set[str]:
    """Options that the help of a verb, or of a verb's own verb, names."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        assert MAINS[program]([*verbs, "--help"]) in (0, None), f"no verb {verbs}"
    return set(re.findall(r"--[a-z][a-z-]*", text.getvalue()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_verbs_and_options_that_exist(page: Path) -> None:
    for program, (verb, *arguments) in commands(page):
        known = options(program, verb) | options(program, verb, *arguments[:1])
        assert known, f"{program} {verb}"
        for argument in arguments:
            if argument.startswith("--"):
                assert argument.split("=")[0] in known, f"{program} {verb} {argument}"


def test_the_table_of_options_has_each_with_its_default() -> None:
    page = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    [table] = re.findall(r"^\| option \| default \|.*\n(?:\|.*\n)+", page, re.M)
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([\w.]*)", table, re.M))
    for name, default in Options().to_dict().items():
        assert name in rows, name
        if default is not None:  # for None there are words
            assert rows[name] == str(default).lower().removesuffix(".0"), name


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 170


def speeds(page: Path, heading: str) -> dict[str, dict[str, str]]:
    """System, then column, of the first table of speeds behind a heading; without ranges and bold."""
    text = page.read_text(encoding="utf-8")
    table = text[text.index("| system |", text.index(heading)) :].split("\n\n")[0].splitlines()
    names, _, *rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table]
    values = [[re.sub(r" \(.*", "", cell) for cell in row[1:]] for row in rows]
    return {row[0]: dict(zip(names[1:], cells, strict=True)) for row, cells in zip(rows, values, strict=True)}


def test_speeds_in_readme_are_those_of_the_page_on_speed() -> None:
    known = speeds(ROOT / "docs" / "speed.md", "## Timestamp embeddings")
    found = speeds(ROOT / "README.md", "## Embed sounds")
    assert len(found) >= 5
    for system, row in found.items():
        source = known[system.removesuffix(" (the default)")]
        assert row == {column: source[column] for column in row}, system


def test_design_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    names = re.findall(r"\b(?:hear_msss|pretrain|eval_tasks|benchmarks|tests)/[\w/.]*", text)
    assert len(names) > 30
    assert not [name for name in names if not (ROOT / name).exists()]
