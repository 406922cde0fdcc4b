"""The pictures of README and docs: ``python -m benchmarks.pictures``.

docs/scores.png  the main scores of docs/results.json, the bundled weights next to other encoders
docs/scene.png   a test scene of the mini events, and what the bundled weights' embeddings say of it
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

import hear_msss
from benchmarks.scores import MAIN, MODELS, ROOT, Row, read
from eval_tasks.mini import TASKS_DIR
from hear_msss.weights import DEFAULT, bundled, fingerprint

PROTOCOL = "heareval, faster grid"
COLOURS = {
    "logmel": "#c3c8cf",
    "random_projection": "#8f98a3",
    "crepe_tiny": "#e0a458",
    "untrained_h": "#d7d3c4",
    "msss_h": "#8fb3e8",
    "msss": "#1f5fbf",
}
SCENE = "scene02-test.ogg"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 110,
}


def scores(rows: Sequence[Row]) -> Figure:
    """A group of bars a task, a bar a model, chance as a line."""
    found = {(row.task, row.metric, row.model): row for row in rows if row.protocol == PROTOCOL}
    models = [model for model in COLOURS if any(key[2] == model for key in found)]
    width = 0.84 / len(models)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.8, 3.5), layout="constrained")
        axes = figure.subplots()
        for place, (task, metric) in enumerate(MAIN):
            for number, model in enumerate(models):
                row = found.get((task, metric, model))
                if row is None:
                    continue
                x = place - 0.42 + (number + 0.5) * width
                axes.bar(
                    x, row.mean, 0.92 * width, color=COLOURS[model], label="" if place else MODELS[model]
                )
                axes.annotate(f"{row.mean:.2f}", (x, row.mean + 0.01), ha="center", fontsize=7)
            chance = found[task, metric, "chance"].mean
            axes.plot([place - 0.45, place + 0.45], [chance, chance], color="black", lw=1, ls=(0, (4, 2)),
                      label="" if place else "chance")  # fmt: skip
        units = ["onset F1, 200 ms" if "onset" in metric else "accuracy" for _, metric in MAIN]
        titles = [f"{title}\n{unit}" for title, unit in zip(MAIN.values(), units, strict=True)]
        axes.set_xticks(range(len(MAIN)), titles)
        axes.tick_params(axis="x", length=0)
        axes.set_ylim(0, 1)
        axes.grid(axis="y", alpha=0.25)
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper center", ncols=7, frameon=False, fontsize=8.5, columnspacing=1.2)
    return figure


def scene(folder: Path = TASKS_DIR / "mini_events-v1-small") -> Figure:
    """Log-mel of a scene, its events, and each timestamp's similarity with the middle of each event."""
    audio, rate = soundfile.read(folder / "16000" / "test" / SCENE, dtype="float32")
    events = json.loads((folder / "test.json").read_text())[SCENE]
    events = sorted(events, key=lambda event: event["start"])
    model = hear_msss.load_model()
    assert rate == model.sample_rate
    waveform = torch.from_numpy(audio)[None]
    embeddings, times_ms = hear_msss.get_timestamp_embeddings(waveform, model)
    unit = F.normalize(embeddings[0] - embeddings[0].mean(dim=0), dim=-1)
    middle_ms = torch.tensor([(event["start"] + event["end"]) / 2 for event in events])
    nearest = (times_ms[0][None] - middle_ms[:, None]).abs().argmin(dim=1)
    similarity = (unit[nearest] @ unit.T).numpy()
    log_mel = model.log_mel(waveform)[0].numpy()
    end_s = len(audio) / rate
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.8, 6.2), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.5])
        top.imshow(log_mel, origin="lower", aspect="auto", extent=(0, end_s, 0, len(log_mel)), cmap="magma")
        top.set_ylabel("mel band")
        top.set_title("log-mel spectrogram of a scene", fontsize=10, loc="left")
        image = bottom.imshow(similarity, aspect="auto", extent=(0, end_s, len(events), 0),
                              cmap="RdBu_r", vmin=-1, vmax=1)  # fmt: skip
        for number, event in enumerate(events):
            start_s, length_s = event["start"] / 1000, (event["end"] - event["start"]) / 1000
            bottom.add_patch(
                matplotlib.patches.Rectangle((start_s, number), length_s, 1, fill=False, ec="black", lw=1.4)
            )
        bottom.set_yticks(np.arange(len(events)) + 0.5, [event["label"] for event in events])
        bottom.tick_params(axis="y", length=0)
        bottom.set_xlabel("seconds")
        title = "similarity with the embedding at the middle of each event (boxes: the events)"
        bottom.set_title(title, fontsize=10, loc="left")
        figure.colorbar(image, ax=bottom, label="cosine", shrink=0.8, pad=0.01)
    return figure


def draw_all(out: Path, rows: Sequence[Row]) -> None:
    """Write both pictures into ``out``; a note in each file says what it was drawn from."""
    drawn_from = sources(rows)
    for name, figure in {"scores": scores(rows), "scene": scene()}.items():
        figure.savefig(out / f"{name}.png", metadata={"Software": None, "Source": drawn_from[name]})
        print(f"wrote {out / f'{name}.png'}")


def sources(rows: Sequence[Row]) -> dict[str, str]:
    """Picture to the sha256 of what it is drawn from: the rows of scores, and the bundled weights."""
    drawn = [asdict(row) for row in rows if row.protocol == PROTOCOL and (row.task, row.metric) in MAIN]
    return {
        "scores": hashlib.sha256(json.dumps(drawn).encode()).hexdigest(),
        "scene": fingerprint(bundled()[DEFAULT]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder to write into (docs)")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    draw_all(out, read()[1])


if __name__ == "__main__":
    main()
