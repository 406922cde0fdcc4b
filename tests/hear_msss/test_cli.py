"""`hear-msss embed`: what it writes, what it skips, what it says about bad files."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import odd_jobs
import pandas as pd
import pytest
import soundfile
import torch

import hear_msss
from hear_msss import files
from hear_msss.__main__ import main
from hear_msss.cli import manifest, work
from hear_msss.collection import sources

HOP_MS = 200
OPTIONS = ["--model", "untrained", "--option", f"hop_ms={HOP_MS}"]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    (folder / "sub").mkdir()
    soundfile.write(folder / "a.wav", rng.standard_normal(20_000) / 10, 16_000, subtype="FLOAT")
    soundfile.write(folder / "sub" / "a.flac", rng.standard_normal((30_000, 2)) / 10, 22_050)
    (folder / "notes.txt").write_text("not a sound, not touched")
    return folder


@pytest.fixture(scope="module")
def expected(sounds):
    audio = torch.from_numpy(soundfile.read(sounds / "a.wav", dtype="float32")[0])[None]
    model = hear_msss.load_model("untrained", hop_ms=HOP_MS)
    embeddings, times = hear_msss.get_timestamp_embeddings(audio, model)
    return embeddings[0].numpy(), times[0].numpy(), hear_msss.get_scene_embeddings(audio, model)[0].numpy()


def read(path):
    """Embeddings and times (None where the format has none)."""
    if path.suffix == ".npy":
        return np.load(path), None
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return archive[archive.files[0]], archive.get("times_ms")
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
        return np.stack(frame["embedding"]), frame["time_ms"].to_numpy() if "time_ms" in frame else None
    with h5py.File(path) as file:
        times = file["times_ms"][:] if "times_ms" in file else None
        return file["embedding" if times is None else "embeddings"][:], times


@pytest.mark.parametrize("kind", ["npy", "npz", "parquet", "h5"])
def test_every_format_holds_the_embeddings_of_the_api(sounds, expected, tmp_path, kind):
    embeddings, times_ms, scene = expected
    command = ["embed", str(sounds / "a.wav"), "--out", str(tmp_path), "--format", kind, *OPTIONS]
    assert main(command) == 0
    assert main([*command, "--timestamps"]) == 0
    written, none = read(tmp_path / f"a.wav.scene.{kind}")
    assert none is None and written.dtype == np.float32
    assert np.abs(written.reshape(-1) - scene).max() < 1e-5
    written, times = read(tmp_path / f"a.wav.timestamps.{kind}")
    assert written.shape == embeddings.shape and written.dtype == np.float32
    assert np.abs(written - embeddings).max() < 1e-5
    assert times is None or np.array_equal(times, times_ms)
    assert not list(tmp_path.glob("*.part"))


def test_a_folder_in_parallel_and_then_nothing_is_left_to_do(sounds, expected, tmp_path, capsys):
    command = ["embed", str(sounds), "--out", str(tmp_path), "--jobs", "2", *OPTIONS]
    assert main(command) == 0
    names = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    names.remove(".lock")
    assert names == {"a.wav.scene.npy", "sub/a.flac.scene.npy", "embeddings.jsonl"}
    assert np.abs(np.load(tmp_path / "a.wav.scene.npy") - expected[2]).max() < 1e-5
    records = [json.loads(line) for line in (tmp_path / "embeddings.jsonl").read_text().splitlines()]
    durations_s = sorted(record["duration_s"] for record in records)
    assert durations_s == pytest.approx([1.25, 30_000 / 22_050], abs=1e-3)

    stamps = {name: (tmp_path / name).stat().st_mtime_ns for name in names}
    capsys.readouterr()
    assert main(command) == 0
    assert "2 of 2 files are done already" in capsys.readouterr().err
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in names} == stamps


def test_only_what_changed_is_made_again(sounds, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.wav", "b.wav"):
        (source / name).write_bytes((sounds / "a.wav").read_bytes())
    command = ["embed", str(source), "--out", str(out), *OPTIONS]
    assert main(command) == 0
    (out / "a.wav.scene.npy").unlink()  # a lost result
    with (out / "embeddings.jsonl").open("a") as manifest:
        manifest.write('{"output": "b.wav.sc')  # a crash in the middle of a line
    capsys.readouterr()
    assert main(command) == 0
    assert "1 of 2 files are done already" in capsys.readouterr().err
    assert main([*command, "--option", "chunk_size=3"]) == 0  # changes no result
    assert "2 of 2 files are done already" in capsys.readouterr().err
    assert main([*command, "--option", "scene=mean_max"]) == 0
    assert "done already" not in capsys.readouterr().err
    assert np.load(out / "b.wav.scene.npy").shape == (1024,)
    soundfile.write(source / "b.wav", np.zeros(16_000), 16_000)  # another sound of the same name
    assert main([*command, "--option", "scene=mean_max"]) == 0
    assert "1 of 2 files are done already" in capsys.readouterr().err


def test_bad_files_are_named_at_the_end_and_the_good_ones_done(sounds, tmp_path, capsys):
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    out = tmp_path / "out"
    assert main(["embed", str(bad), str(sounds / "a.wav"), "--out", str(out), *OPTIONS]) == 1
    error = capsys.readouterr().err
    assert f"BAD {bad}" in error and "cannot be decoded" in error and "1 of 2 files" in error
    assert {p.name for p in out.iterdir()} == {"a.wav.scene.npy", "embeddings.jsonl", ".lock"}


def records(out):
    """Source's name and record of each line of the manifest."""
    lines = (out / "embeddings.jsonl").read_text().splitlines()
    return {Path(record["source"]).name: record for record in map(json.loads, lines)}


def test_odd_files_are_embedded_whole_or_named_in_the_words_of_the_reader(odd_sounds, tmp_path, capsys):
    out = tmp_path / "out"
    folders = sorted({str(path.parent) for path in odd_sounds})
    assert main(["embed", *folders, "--out", str(out), *OPTIONS]) == 1
    said, made, known = capsys.readouterr().err, records(out), set()
    for path, right in odd_sounds.items():
        if right.seconds is None:
            (line,) = (line for line in said.splitlines() if line.startswith(f"BAD {path}: "))
            assert right.words in line and path.name not in made
            continue
        record = made[path.name]
        assert abs(record["duration_s"] - right.seconds) < right.slack_s, path.name
        warnings = "; ".join(record["warnings"])
        assert right.words in warnings if right.words else not warnings
        shown = str(path).encode(errors="backslashreplace").decode()
        known |= {f"WARNING {shown}: {warning}" for warning in record["warnings"]}
    shown = [line for line in said.splitlines() if line.startswith("WARNING")]
    assert len(shown) == 10 and set(shown) < known
    assert f"and {len(known) - 10} more warnings: {out / 'embeddings.jsonl'} has all" in said


@pytest.mark.parametrize("kind", ["npz", "parquet", "h5"])
def test_names_that_are_not_utf8_work_in_every_format(tmp_path, kind):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    soundfile.write(os.fsencode(path), np.zeros(16_000), 16_000, format="WAV")
    assert main(["embed", str(path), "--out", str(tmp_path / "out"), "--format", kind, *OPTIONS]) == 0
    assert (tmp_path / "out" / f"{path.name}.scene.{kind}").stat().st_size


def test_a_killed_process_costs_its_file_alone(sounds, tmp_path, monkeypatch, capsys):
    for name in ("a.wav", "kill.wav", "b.wav"):
        (tmp_path / name).write_bytes((sounds / "a.wav").read_bytes())
    monkeypatch.setattr(work, "embed_alone", odd_jobs.embed_or_die)
    out = tmp_path / "out"
    assert main(["embed", str(tmp_path), "--out", str(out), "--jobs", "2", *OPTIONS]) == 1
    assert f"BAD {tmp_path / 'kill.wav'}: its process was ended by SIGKILL" in capsys.readouterr().err
    assert set(records(out)) == {"a.wav", "b.wav"}


def test_a_full_disk_ends_the_run_in_one_sentence_and_it_goes_on_with_space(
    sounds, tmp_path, monkeypatch, capsys
):
    def full(path, *rest):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    command = ["embed", str(sounds), "--out", str(tmp_path), *OPTIONS]
    assert main([*command[:1], str(sounds / "a.wav"), *command[2:]]) == 0
    monkeypatch.setattr(work, "write_file", full)
    capsys.readouterr()
    assert main(command) == 2
    done, sentence = capsys.readouterr().err.strip().splitlines()
    assert done == "1 of 2 files are done already"
    assert sentence.startswith("hear-msss: [Errno 28] No space left on device: ")
    assert "a.flac" in sentence and "repeat the command to continue" in sentence
    monkeypatch.undo()
    assert main(command) == 0
    assert "1 of 2 files are done already" in capsys.readouterr().err


def test_leftovers_of_killed_processes_go_and_those_of_living_ones_stay(sounds, tmp_path):
    dead, zombie = subprocess.Popen(["true"]), subprocess.Popen(["true"])
    dead.wait()
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays until it is asked
    machine = files._machine()
    names = [f".x.npy.{machine}-{dead.pid}.part", f"sub/.a.npy.{machine}-{dead.pid}.part"]
    names += [f".z.npy.{machine}-{zombie.pid}.part"] if sys.platform == "linux" else []
    kept = [f".x.npy.{machine}-{os.getppid()}.part", f".x.npy.00000000-{dead.pid}.part", "own.part"]
    (tmp_path / "sub").mkdir()
    for name in names + kept:
        (tmp_path / name).touch()
    assert main(["embed", str(sounds / "a.wav"), "--out", str(tmp_path), *OPTIONS]) == 0
    assert sorted(str(part.relative_to(tmp_path)) for part in tmp_path.rglob("*.part")) == sorted(kept)
    (tmp_path / names[0]).touch()
    with files.replacing(tmp_path / "x.npy") as temporary:
        assert not (tmp_path / names[0]).exists()
        temporary.write_text("whole")
    assert (tmp_path / "x.npy").read_text() == "whole"
    zombie.wait()


def test_a_file_that_changes_or_vanishes_is_named_and_the_others_done(sounds, tmp_path, monkeypatch, capsys):
    for name in ("a.wav", "grows.wav", "goes.wav"):
        (tmp_path / name).write_bytes((sounds / "a.wav").read_bytes())

    def grow(path, *arguments, **options):
        if path.name == "grows.wav":
            with path.open("ab") as file:
                file.write(bytes(1000))
        return decode_clip(path, *arguments, **options)

    def go(out):
        (tmp_path / "goes.wav").unlink(missing_ok=True)
        return read_manifests(out)

    decode_clip, read_manifests = sources.decode_clip, manifest.read_manifests
    monkeypatch.setattr(sources, "decode_clip", grow)
    monkeypatch.setattr(manifest, "read_manifests", go)
    command = ["embed", str(tmp_path), "--out", str(tmp_path / "out"), *OPTIONS]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert f"BAD {tmp_path / 'grows.wav'}: changed while it was read" in said
    assert f"BAD {tmp_path / 'goes.wav'}: " in said and "No such file" in said
    assert set(records(tmp_path / "out")) == {"a.wav"}
    assert not (tmp_path / "out" / "grows.wav.scene.npy").exists()
    monkeypatch.undo()
    assert main(command) == 0
    assert records(tmp_path / "out")["grows.wav"]["source_bytes"] == (tmp_path / "grows.wav").stat().st_size


@pytest.mark.parametrize(
    "odd",
    [b'{"output": "a.wa', b"\xff\xfe{}", b"[1, 2]", b"null", b"{}", b'{"output": "a.wav.scene.npy"}'],
    ids=["torn", "no UTF-8", "list", "null", "empty", "short"],
)
def test_an_odd_line_of_the_manifest_costs_its_file_alone(sounds, tmp_path, capsys, odd):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.wav", "b.wav"):
        (source / name).write_bytes((sounds / "a.wav").read_bytes())
    command = ["embed", str(source), "--out", str(out), *OPTIONS]
    assert main(command) == 0
    lines = (out / "embeddings.jsonl").read_bytes().splitlines(keepends=True)
    (out / "embeddings.jsonl").write_bytes(lines[1] + odd)  # the first is torn, without an end
    assert main(command) == 0
    assert "1 of 2 files are done already" in capsys.readouterr().err
    assert main(command) == 0
    assert "2 of 2 files are done already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nowhere.wav"], "no such file"),
        (["."], "no sound files"),
        (["a.wav", "--option", "hop=20"], "hop_ms"),
        (["a.wav", "--option", "hop_ms"], "NAME=VALUE"),
        (["a.wav", "--model", "nothing"], "no weights"),
        (["a.wav", "--jobs", "0"], "at least 1"),
        (["a.wav", "sub/../twin/a.wav"], "both be written"),
    ],
)
def test_what_cannot_start_says_why_and_makes_nothing(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    if arguments != ["."]:
        for path in (tmp_path / "a.wav", tmp_path / "twin" / "a.wav"):
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, np.zeros(100), 16_000)
        (tmp_path / "sub").mkdir()
    model = [] if "--model" in arguments else ["--model", "untrained"]
    assert main(["embed", *arguments, "--out", "out", *model]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
