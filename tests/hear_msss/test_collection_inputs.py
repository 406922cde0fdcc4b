"""embed on collections: sounds in tar files, and in Arrow and Parquet tables."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shards import NAMES, OPTIONS, embed_singly, make_sounds, read_all, records

from hear_msss.__main__ import main


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return make_sounds(tmp_path_factory.mktemp("collection"))


@pytest.fixture(scope="module")
def expected(sounds, tmp_path_factory):
    return embed_singly(sounds, tmp_path_factory.mktemp("expected"))


def write_tar(path, sounds, names=NAMES):
    with tarfile.open(path, "w") as tar:
        for name in names:
            tar.add(sounds / name, f"./{name}")
            about = tarfile.TarInfo(f"./{name.rpartition('.')[0]}.json")
            tar.addfile(about, io.BytesIO(b""))


def test_the_sounds_of_a_tar_file(sounds, expected, tmp_path, capsys):
    write_tar(tmp_path / "s.tar", sounds)
    out = tmp_path / "out"
    assert main(["embed", str(tmp_path / "s.tar"), "--out", str(out), *OPTIONS]) == 0
    for name in NAMES:
        assert np.abs(np.load(out / "s.tar" / f"{name}.scene.npy") - expected["scene"][name]).max() < 1e-5
    assert {record["source"] for record in records(out)} == {f"{tmp_path}/s.tar/./{n}" for n in NAMES}
    capsys.readouterr()
    assert main(["embed", str(tmp_path / "s.tar"), "--out", str(out), *OPTIONS]) == 0
    assert "5 of 5 files are done already" in capsys.readouterr().err


def test_a_tar_file_that_is_cut_or_none_costs_what_it_lacks(sounds, tmp_path, capsys):
    write_tar(tmp_path / "cut.tar", sounds)
    (tmp_path / "none.tar").write_bytes(bytes(range(256)) * 10)
    with tarfile.open(tmp_path / "cut.tar") as tar:
        end = tar.getmember("./z.wav").offset_data + 1000  # part of a sound that could be read
    (tmp_path / "cut.tar").write_bytes((tmp_path / "cut.tar").read_bytes()[:end])
    tars = [str(tmp_path / "cut.tar"), str(tmp_path / "none.tar")]
    assert main(["embed", *tars, "--out", str(tmp_path / "out"), *OPTIONS]) == 1
    said = capsys.readouterr().err
    assert all(f"BAD {path}: cannot be read to its end as a tar file" in said for path in tars)
    assert len(records(tmp_path / "out")) == 4


def test_names_in_a_tar_file_cannot_lead_out_of_the_output_folder(sounds, tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("../../x.wav", "/abs/y.wav"):
            member = tarfile.TarInfo(name)
            data = (sounds / "a.wav").read_bytes()
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    out = tmp_path / "in" / "out"
    assert main(["embed", str(tmp_path / "s.tar"), "--out", str(out), *OPTIONS]) == 0
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.npy")} == {
        "in/out/s.tar/x.wav.scene.npy",
        "in/out/s.tar/abs/y.wav.scene.npy",
    }


def audio_table(sounds):
    """As datasets writes an audio column; the last row has a path only."""
    rows = [{"bytes": (sounds / name).read_bytes(), "path": Path(name).name} for name in NAMES[:-1]]
    rows.append({"bytes": None, "path": str(sounds / NAMES[-1])})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.table({"audio": pa.array(rows, kind), "label": list(range(len(rows)))})


def write_table(path, table, how):
    if how == "parquet":
        pq.write_table(table, path, row_group_size=2)
    else:
        new = pa.ipc.new_stream if how == "stream" else pa.ipc.new_file
        with new(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)


@pytest.mark.parametrize("how", ["parquet", "stream", "file"])
def test_the_sounds_of_an_audio_column(sounds, expected, tmp_path, how):
    path = tmp_path / ("t.parquet" if how == "parquet" else "t.arrow")
    write_table(path, audio_table(sounds), how)
    out = tmp_path / "out"
    assert main(["embed", str(path), "--out", str(out), *OPTIONS, "--decoders", "3"]) == 0
    for row, name in enumerate(NAMES):
        written = np.load(out / path.name / f"{row:06d}-{Path(name).name}.scene.npy")
        assert np.abs(written - expected["scene"][name]).max() < 1e-5


def test_a_folder_that_datasets_saved(sounds, tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    for number in range(2):
        write_table(folder / f"data-{number:05d}-of-00002.arrow", audio_table(sounds), "stream")
    (folder / "dataset_info.json").write_text("{}")
    (folder / "state.json").write_text("{}")
    command = ["embed", str(folder), "--out", str(tmp_path / "out"), *OPTIONS, "--format", "arrow"]
    assert main(command) == 0
    names = [name for name, _, _ in read_all(tmp_path / "out")]
    assert len(names) == 10 and names[0] == "saved/data-00000-of-00002.arrow/000000-a.wav"


def test_tables_with_no_or_two_audio_columns_or_none_at_all(sounds, tmp_path, capsys):
    table = audio_table(sounds)
    two = table.append_column("other", pa.array([b"x"] * 5))
    pq.write_table(two, tmp_path / "two.parquet")
    pq.write_table(table.select(["label"]), tmp_path / "no.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 but not really")
    for name in ("two", "no"):
        assert main(["embed", str(tmp_path / f"{name}.parquet"), "--out", str(tmp_path / "o"), *OPTIONS]) == 2
        assert "--column NAME" in capsys.readouterr().err
    command = ["embed", str(tmp_path / "two.parquet"), str(tmp_path / "bad.parquet"), *OPTIONS]
    assert main([*command, "--out", str(tmp_path / "o"), "--column", "audio"]) == 1
    said = capsys.readouterr().err
    assert f"BAD {tmp_path / 'bad.parquet'}: cannot be read as an Arrow or Parquet file" in said
    assert len(records(tmp_path / "o")) == 5
