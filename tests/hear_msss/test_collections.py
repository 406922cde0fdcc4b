"""embed on collections: shards out, parts, and what a kill leaves."""

from pathlib import Path

import numpy as np
import odd_jobs
import pytest
import soundfile
import torch
from shards import NAMES, OPTIONS, RATE, embed_singly, make_sounds, read_all, records

import hear_msss
from hear_msss.__main__ import main
from hear_msss.cli import embed, spread, work


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return make_sounds(tmp_path_factory.mktemp("collection"))


@pytest.fixture(scope="module")
def expected(sounds, tmp_path_factory):
    return embed_singly(sounds, tmp_path_factory.mktemp("expected"))


@pytest.mark.parametrize("format", ["parquet", "arrow", "webdataset"])
@pytest.mark.parametrize("kind", ["scene", "timestamps"])
def test_shards_hold_what_single_files_hold_in_order(sounds, expected, tmp_path, capsys, format, kind):
    command = ["embed", str(sounds), "--out", str(tmp_path), *OPTIONS, "--format", format]
    command += ["--shard-files", "2", *(["--timestamps"] if kind == "timestamps" else [])]
    assert main(command) == 0
    assert len(list(tmp_path.glob(f"{kind}-*"))) == 3
    found = read_all(tmp_path)
    assert [name for name, _, _ in found] == list(NAMES)
    for name, embeddings, times in found:
        assert embeddings.dtype == np.float32 and embeddings.shape == expected[kind][name].shape
        assert np.abs(embeddings - expected[kind][name]).max() < 1e-5
        assert (times is None) if kind == "scene" else times.tolist() == [200 * n for n in range(len(times))]
    assert [(record["key"], record["rows"]) for record in records(tmp_path)] == [
        (name, 1 if kind == "scene" else len(expected[kind][name])) for name in NAMES
    ]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.glob("[a-z]*")}
    assert main(command) == 0
    assert "5 of 5 files are done already" in capsys.readouterr().err
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.glob("[a-z]*")} == before
    lost = sorted(tmp_path.glob(f"{kind}-*"))[1]
    lost.unlink()
    assert main(command) == 0
    assert "3 of 5 files are done already" in capsys.readouterr().err
    assert lost.read_bytes() == before[lost][1]


@pytest.mark.parametrize("more", [[], ["--format", "webdataset"]])
def test_whole_clips_have_as_many_timestamps_as_in_the_api(sounds, tmp_path, more):
    command = ["embed", str(sounds / "sub"), "--out", str(tmp_path), "--timestamps", *more]
    assert (
        main([*command, "--option", "whole_clip=true", "--option", "features=h", "--option", "scene=mean"])
        == 0
    )
    model = hear_msss.load_model(whole_clip=True, features="h", scene="mean")
    for name in ("a.wav", "c.flac"):
        audio = torch.from_numpy(soundfile.read(sounds / "sub" / name, dtype="float32")[0])[None]
        expected = hear_msss.get_timestamp_embeddings(audio, model)[0][0].numpy()
        found = (
            {n: e for n, e, _ in read_all(tmp_path)}[name]
            if more
            else np.load(tmp_path / f"{name}.timestamps.npy")
        )
        assert found.shape == expected.shape and np.abs(found - expected).max() < 1e-4


def test_a_shard_is_made_anew_when_what_belongs_into_it_changes(sounds, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.wav", "b.wav", "d.wav", "e.wav"):
        (source / name).write_bytes((sounds / "a.wav").read_bytes())
    command = ["embed", str(source), "--out", str(out), *OPTIONS, "--format", "arrow", "--shard-files", "2"]
    assert main(command) == 0
    (source / "e.wav").rename(source / "c.wav")
    assert main(command) == 0
    assert "2 of 4 files are done already" in capsys.readouterr().err
    assert [name for name, _, _ in read_all(out)] == ["a.wav", "b.wav", "c.wav", "d.wav"]
    (source / "c.wav").rename(source / "e.wav")  # as before: old lines of the manifest do not count
    assert main(command) == 0
    assert [name for name, _, _ in read_all(out)] == ["a.wav", "b.wav", "d.wav", "e.wav"]
    (source / "e.wav").unlink()
    assert main(command) == 0
    assert [name for name, _, _ in read_all(out)] == ["a.wav", "b.wav", "d.wav"]


def test_a_bad_file_costs_itself_alone_and_is_named_again(sounds, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.wav", "c.wav"):
        (source / name).write_bytes((sounds / "a.wav").read_bytes())
    (source / "b.wav").write_text("no sound")
    command = ["embed", str(source), "--out", str(out), *OPTIONS, "--format", "webdataset"]
    for done in (0, 3):
        assert main(command) == 1
        said = capsys.readouterr().err
        assert f"BAD {source / 'b.wav'}: cannot be decoded" in said
        assert (f"{done} of 3 files are done already" in said) == bool(done)
    assert [name for name, _, _ in read_all(out)] == ["a.wav", "c.wav"]
    soundfile.write(source / "b.wav", np.zeros(100), RATE)
    assert main(command) == 0
    assert [name for name, _, _ in read_all(out)] == ["a.wav", "b.wav", "c.wav"]


def test_a_file_that_kills_its_process_costs_no_other_of_its_shard(sounds, tmp_path, monkeypatch, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.wav", "kill.wav"):
        (source / name).write_bytes((sounds / "a.wav").read_bytes())
    monkeypatch.setattr(work, "embed_alone", odd_jobs.embed_or_die)
    monkeypatch.setattr(embed, "processes_for", lambda wanted, groups: 2)
    command = ["embed", str(source), "--out", str(out), *OPTIONS, "--jobs", "2", "--format", "parquet"]
    assert main([*command, "--shard-files", "9"]) == 1
    assert f"BAD {source / 'kill.wav'}: its process was ended by SIGKILL" in capsys.readouterr().err
    assert [name for name, _, _ in read_all(out)] == ["a.wav"] == [r["key"] for r in records(out)]


def test_of_files_that_were_one_group_when_it_died_each_is_tried_alone(monkeypatch):
    tried = []

    def map_unordered(function, groups, processes):
        for group in groups:
            names = [job.output for job in group.jobs]
            tried.append(names)
            yield group, spread.Died(-9) if "kill" in names else list(map(embed.Outcome, group.jobs))

    monkeypatch.setattr(spread, "map_unordered", map_unordered)
    settings = embed.EmbedSettings("", "{}", False, "npy", "cpu", Path("out"))
    jobs = [embed.Job(None, name) for name in ("a", "kill", "b")]
    found = list(spread.outcomes([embed.Group(jobs, settings), embed.Group(jobs[1:2], settings)], 2))
    assert tried == [["a", "kill", "b"], ["kill"], ["a"], ["kill"], ["b"]]
    assert sorted((outcome.job.output, outcome.error[-24:]) for outcome in found) == [
        ("a", ""),
        ("b", ""),
        ("kill", "by SIGKILL: out of memory?"[-24:]),
        ("kill", "by SIGKILL: out of memory?"[-24:]),
    ]


def test_after_an_interruption_nothing_is_lost_and_nothing_twice(sounds, tmp_path, monkeypatch, expected):
    done = []

    def interrupted(group):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(group)
        yield from embed_group(group)

    embed_group = work.embed_group
    monkeypatch.setattr(work, "embed_group", interrupted)
    command = ["embed", str(sounds), "--out", str(tmp_path), *OPTIONS, "--format", "parquet"]
    command += ["--shard-files", "2"]
    assert main(command) == 130
    assert len(list(tmp_path.glob("scene-*"))) == 2 and not list(tmp_path.glob(".*.part"))
    manifest = tmp_path / "embeddings.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join(lines[:3]) + lines[3][:20])  # killed while the second shard was noted
    monkeypatch.undo()
    assert main(command) == 0
    assert [name for name, _, _ in read_all(tmp_path)] == list(NAMES)


def test_parts_are_disjoint_and_complete_and_their_manifests_merge(sounds, expected, tmp_path, capsys):
    command = ["embed", str(sounds), "--out", str(tmp_path), *OPTIONS]
    made = []
    for part in ("1/3", "2/3", "3/3"):
        assert main([*command, "--part", part]) == 0
        now = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.npy")}
        made.append(len(now))
    assert made == [2, 4, 5]
    assert {f"{name}.scene.npy" for name in NAMES} == now
    parts = sorted(tmp_path.glob("embeddings.*-of-3.jsonl"))
    assert len(parts) == 3 and not (tmp_path / "embeddings.jsonl").exists()
    capsys.readouterr()
    assert main([*command, "--part", "1/2"]) == 0  # other parts know of these
    assert "3 of 3 files are done already" in capsys.readouterr().err
    merged = b"".join(path.read_bytes() for path in parts)
    for path in tmp_path.glob("*.jsonl"):
        path.unlink()
    (tmp_path / "embeddings.jsonl").write_bytes(merged)
    assert main(command) == 0
    assert "5 of 5 files are done already" in capsys.readouterr().err


def test_batches_change_no_embedding(sounds, expected, tmp_path):
    more = ["--option", "chunk_size=2", "--decoders", "0"]
    assert main(["embed", str(sounds), "--out", str(tmp_path), *OPTIONS, *more]) == 0
    for name in NAMES:
        written = np.load(tmp_path / f"{name}.scene.npy")
        assert np.abs(written - expected["scene"][name]).max() < 1e-5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--part", "0/3"], "--part 0/3: expected I/N"),
        (["--part", "4/3"], "for example 3/16"),
        (["--part", "a"], "for example 3/16"),
        (["--shard-files", "0", "--format", "arrow"], "--shard-files 0: expected at least 1"),
        (["--shard-files", "5"], "with --format npy: expected one of parquet"),
        (["--decoders", "-1"], "at least 0"),
    ],
)
def test_arguments_without_sense_start_nothing(sounds, tmp_path, capsys, arguments, words):
    assert main(["embed", str(sounds), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "out").exists()
