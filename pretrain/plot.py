"""Plot: ``python -m pretrain plot RUN --out curves.png``: losses and metrics of a run over its steps."""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from pretrain.runlog import read_log

PANELS = (
    "loss",
    "clip",
    "clip_accuracy",
    "frame",
    "cross_view",
    "spectrum_unexplained",
    "pitch",
    "pitch_error_semitones",
    "learning_rate",
    "segments_per_s",
)
LOGARITHMIC = ("frame",)


def plot_runs(folders: list[Path], out: Path) -> None:
    """Curves of one or several runs in one picture; validation as dots.

    Raises:
        FileNotFoundError: a folder without a log.
        ValueError: a log without a training record.
    """
    logs = {folder.resolve().name: read_log(folder) for folder in folders}
    for name, records in logs.items():
        if not any(record["phase"] == "train" for record in records):
            raise ValueError(f"the log of {name} is empty: wait for its first log_every steps")
    panels = [p for p in PANELS if any(p in record for records in logs.values() for record in records)]
    columns = 3
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(13, 3 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, panel in zip(axes.flat, panels, strict=False):
        axis.set_title(panel.replace("_", " "))
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        if panel in LOGARITHMIC:
            axis.set_yscale("log")
        for number, (name, records) in enumerate(logs.items()):
            for phase, style in (("train", "-"), ("validation", "o")):
                points = [(r["step"], r[panel]) for r in records if r["phase"] == phase and panel in r]
                if points:
                    steps, values = zip(*points, strict=True)
                    label = f"{name}, {phase}"
                    axis.plot(steps, values, style, color=f"C{number}", markersize=4, label=label)
    # Every run has a loss: the first panel's names are all there are.
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
    figure.savefig(out, dpi=110)
    plt.close(figure)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of training runs")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="picture to write (png, svg, pdf)"
    )


def run(args: argparse.Namespace) -> int:
    plot_runs(args.runs, args.out)
    print(args.out)
    return 0
