"""Random input for all that reads a file or an option: only the documented errors may come.

``python tests/fuzz.py --count 10000`` spreads that many over the kinds of input and prints a table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import fuzz_arguments
import torch

from eval_tasks.adapters.csv_rows import read_table
from eval_tasks.errors import UserError
from eval_tasks.runs.pickles import read_labels, unpickle
from eval_tasks.runs.results import ModelFolder
from eval_tasks.runs.scores import heareval_scores, probe_scores
from eval_tasks.tasks.check import check_tasks
from eval_tasks.tasks.task_folder import write_description
from hear_msss.checks import check_audio
from hear_msss.model import MSSS
from hear_msss.options import Options, parse_options
from hear_msss.weights import bundled, load_weights
from pretrain.settings import Settings

NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 2**31, 2**63, 10**400, -0.0, 0.5, 1e-300, 1e308),
    *(math.nan, math.inf, -math.inf, "", ".", "..", "../x", "/etc/passwd", "a\0b", "\ud800"),
    *("a\nb", "NaN", "1e3"),
    *("x" * 300, "h", "mean", "train", "fold00", [], {}, [[]], [None], [1], ["x"], {"x": 1}, {"": None}),
)


def mutated(value: Any, chance: random.Random) -> Any:
    """A JSON value with something in it replaced, removed or added."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        changed, key = dict(value), chance.choice(list(value))
        choice = chance.random()
        if choice < 0.15:
            del changed[key]
        elif choice < 0.3:
            changed[chance.choice(("", "x", "../y", "splits", "\ud800"))] = chance.choice(NASTY)
        else:
            changed[key] = mutated(value[key], chance)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.7:
        place = chance.randrange(len(value))
        return [*value[:place], mutated(value[place], chance), *value[place + 1 :]]
    return chance.choice(NASTY)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Bytes cut off, flipped or overwritten."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        if changed:
            changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed[: chance.randrange(len(changed) + 1)]) if chance.random() < 0.3 else bytes(changed)


def write(path: Path, value: Any, chance: random.Random) -> None:
    """A mutated JSON file, now and then damaged as bytes, too."""
    content = json.dumps(mutated(value, chance)).encode()
    path.write_bytes(damaged(content, chance) if chance.random() < 0.2 else content)


METADATA: dict[str, Any] = {
    **{"task_name": "x", "version": "v1", "mode": "full", "embedding_type": "scene"},
    **{"prediction_type": "multiclass", "split_mode": "trainvaltest", "sample_duration": 1.0},
    **{"evaluation": ["top1_acc", "mAP"], "splits": ["train", "valid", "test"], "nfolds": 3},
}
EVENT = {"label": "a", "start": 1.0, "end": 2.0}


def task_folders(folder: Path, chance: random.Random) -> None:
    metadata, entries = METADATA, {"a.wav": ["a"], "b.wav": ["b"]}
    if chance.random() < 0.5:
        metadata = {**METADATA, "embedding_type": "event", "prediction_type": "multilabel"}
        entries = {"a.wav": [EVENT], "b.wav": [EVENT, {**EVENT, "label": "b"}]}
    splits = METADATA["splits"]
    contents = {split: {f"{split}-{n}": labels for n, labels in entries.items()} for split in splits}
    path = folder / "x-v1-full"
    write_description(path, metadata, contents, ["a", "b"])
    which = chance.choice(("metadata", "split", "vocabulary"))
    if which == "metadata":
        write(path / "task_metadata.json", metadata, chance)
    elif which == "split":
        write(path / "train.json", contents["train"], chance)
    else:
        vocabulary = path / "labelvocabulary.csv"
        vocabulary.write_bytes(damaged(vocabulary.read_bytes(), chance))
    list(map(str, check_tasks([path], chance.choice((None, 16000)), out=folder, jobs=1)))


def results(folder: Path, chance: random.Random) -> None:
    (folder / "task_metadata.json").write_text(json.dumps(METADATA))
    scores = {"test": {"test_top1_acc": 0.5, "test_mAP": 0.5}, "hparams": {}}
    write(folder / "test.predicted-scores.json", scores, chance)
    write(folder / "seed0.json", {"scores": {"top1_acc": 0.5}}, chance)
    write(folder / "model.json", {"module": "x", "model": "", "model_options": {}, "sample_rate": 1}, chance)
    readers: tuple[Callable[[], Any], ...] = (
        lambda: heareval_scores(folder),
        lambda: probe_scores([folder / "seed0.json"]),
        lambda: ModelFolder(folder).info,
    )
    for read in readers:
        with contextlib.suppress(UserError):
            read()


def pickles(folder: Path, chance: random.Random) -> None:
    import pickle

    content = pickle.dumps([["a"], ["b", 1]] if chance.random() < 0.5 else {"target": torch.eye(2)})
    (folder / "x.pkl").write_bytes(damaged(content, chance))
    for read in (read_labels, unpickle):
        with contextlib.suppress(UserError):
            read(folder / "x.pkl")


def tables(folder: Path, chance: random.Random) -> None:
    content = 'file,label,start,end\na.wav,"x, y",0,1\nb.wav,z,1,2,,\n\n'
    encoded = content.encode(chance.choice(("utf-8", "utf-16")))
    (folder / "x.csv").write_bytes(damaged(encoded, chance))
    read_table(folder / "x.csv", ["file", "label"])


def options(folder: Path, chance: random.Random) -> None:
    values = {field.name: field.default for field in fields(Options)}
    if chance.random() < 0.5:
        Options.from_dict(mutated(values, chance))
    else:
        name = chance.choice([*values, "x", ""])
        Options.from_dict(parse_options([f"{name}={json.dumps(chance.choice(NASTY))}"]))


def settings(folder: Path, chance: random.Random) -> None:
    Settings.from_dict(mutated(Settings(steps=10).to_dict(), chance))


def tensors(folder: Path, chance: random.Random) -> None:
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: torch.full((2, chance.randrange(3)), chance.choice((0.5, math.nan, math.inf, 1e9))),
        lambda: torch.zeros(*[chance.randrange(3) for _ in range(chance.randrange(5))]),
        lambda: torch.zeros(2, 3, dtype=chance.choice((torch.int16, torch.bool, torch.complex64))),
        lambda: torch.zeros(2, 3, dtype=torch.float16),
        lambda: torch.zeros(2, 3).to_sparse(),
        lambda: torch.zeros(2, 3).to_sparse_csr(),
        lambda: torch.zeros(2, 3, device="meta"),
        lambda: torch.zeros(2, 3).to_mkldnn(),
        lambda: torch.quantize_per_tensor(torch.zeros(2, 3), 0.1, 0, torch.qint8),
        lambda: torch.nested.nested_tensor([torch.zeros(3), torch.zeros(chance.randrange(4))]),
        lambda: chance.choice(NASTY),
    )
    check_audio(chance.choice(kinds)())


def weights(folder: Path, chance: random.Random) -> None:
    header, body = weights_file()
    record = json.loads(header)
    which = chance.choice(("metadata", "record", "tensors", "bytes"))
    if which == "metadata":
        record["__metadata__"] = mutated(record["__metadata__"], chance)
    elif which == "record":
        name = chance.choice(("config", "info"))
        content = json.loads(record["__metadata__"][name])
        record["__metadata__"][name] = json.dumps(mutated(content, chance))
    elif which == "tensors":
        record = mutated(record, chance)
    text = json.dumps(record).encode()
    if which == "bytes":
        text = damaged(text, chance)
    (folder / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    loaded = load_weights(folder / "x.safetensors")
    MSSS(loaded.encoder, Options.from_dict(loaded.info.get("options", {})), loaded.levels)


def weights_file(made: list[tuple[bytes, bytes]] = []) -> tuple[bytes, bytes]:  # noqa: B006
    """Header and tensors of the bundled weights, read once."""
    if not made:
        content = next(iter(bundled().values())).read_bytes()
        length = int.from_bytes(content[:8], "little")
        made.append((content[8 : 8 + length], content[8 + length :]))
    return made[0]


# Kind: what reads it, the errors that its documentation names, its share.
KINDS: dict[str, tuple[Callable[[Path, random.Random], None], tuple[type[Exception], ...], float]] = {
    "task folders (check)": (task_folders, (), 0.2),
    "results": (results, (), 0.1),
    "pickles": (pickles, (), 0.1),
    "tables": (tables, (UserError,), 0.1),
    "options": (options, (TypeError, ValueError), 0.1),
    "settings": (settings, (ValueError,), 0.1),
    "tensors": (tensors, (TypeError, ValueError), 0.05),
    "weights files": (weights, (ValueError,), 0.05),
    "command lines": (fuzz_arguments.try_one, (ValueError,), 0.2),
}


def tried(kind: str, count: int, seed: int) -> Iterator[tuple[str, str]]:
    """(what came, the whole error) of each input: accepted, refused, or the name of an error."""
    read, documented, _ = KINDS[kind]
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read(Path(folder), random.Random(seed + number))
                yield "accepted", ""
            except documented as error:
                yield "refused", str(error)
            except Exception as error:
                notes = "; ".join(getattr(error, "__notes__", ()))
                yield "wrong", f"seed {seed + number}: {type(error).__name__}: {str(error)[:300]} {notes}"


def main() -> int:
    as_it_is = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_it_is)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    wrong = 0
    print("| input | tried | accepted | refused by a documented error | wrong |\n|---|---:|---:|---:|---:|")
    for kind in args.kinds:
        outcomes = list(tried(kind, round(args.count * KINDS[kind][2]), args.seed))
        counts = Counter(outcome for outcome, _ in outcomes)
        wrong += counts["wrong"]
        cells = [kind, len(outcomes), *(counts[name] for name in ("accepted", "refused", "wrong"))]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
        for error in dict.fromkeys(error for outcome, error in outcomes if outcome == "wrong"):
            print(f"  {error}", file=sys.stderr)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
