"""`hear-msss info`, and options on the command line."""

import json

from hear_msss.__main__ import main
from hear_msss.options import parse_options


def test_options_are_json_or_text():
    assert parse_options(["hop_ms=20", "scene=mean_max", "x=true", "y=a=b"]) == {
        "hop_ms": 20,
        "scene": "mean_max",
        "x": True,
        "y": "a=b",
    }


def test_info_tells_sizes_and_sha256(tmp_path, capsys):
    from hear_msss.weights import Weights, fingerprint, save_weights, untrained_encoder

    path = tmp_path / "small.safetensors"
    info = {"note": "nothing", "options": {"scene": "mean_max"}}
    save_weights(path, Weights(untrained_encoder(), None, info))
    assert main(["info", "--model", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["weights"]["sha256"] == fingerprint(path)
    assert told["weights"]["info"]["note"] == "nothing"
    assert told["options"]["scene"] == "mean_max" and told["sizes"]["scene_embedding"] == 1024
    assert main(["info", "--model", str(path)]) == 0
    text = capsys.readouterr().out
    assert fingerprint(path) in text and "hop_ms: 50.0" in text
    assert main(["info", "--model", str(path), "--option", "scene=mean", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["options"]["scene"] == "mean" and told["sizes"]["scene_embedding"] == 512


def test_info_fits_on_a_screen_and_full_has_the_rest(capsys):
    assert main(["info"]) == 0
    short = capsys.readouterr().out
    assert len(short.splitlines()) <= 40
    assert " steps, corpus of " in short
    assert main(["info", "--full"]) == 0
    full = capsys.readouterr().out
    assert "learning_rate" in full and "f_max_hz" in full
    assert "learning_rate" not in short and "f_max_hz" not in short
