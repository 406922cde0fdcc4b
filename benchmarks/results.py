"""The scores of the bundled weights: docs/results.json, and what README and MODEL_CARD print of them.

docs/results.json is the source of every score in README.md and MODEL_CARD.md; a test compares them. After
new weights are bundled, compute all scores of the new ones:

run="python -m eval_tasks run --tasks TASKS --out results --jobs 2"
onnx='"backend": "onnxruntime"'
h='"features": "h", "scene": "frames", "backend": "onnxruntime"'
floor='"features": "h", "scene": "mean", "weights": "untrained", "backend": "onnxruntime"'
for grid in faster fast; do
    $run --grid $grid --module hear_msss --model-options "{$onnx}" --name msss
    $run --grid $grid --module eval_tasks.baselines.logmel --name logmel
    $run --grid $grid --module eval_tasks.baselines.random_projection --name random_projection
    $run --grid $grid --module eval_tasks.peers.torchcrepe --model-options '{"capacity": "tiny"}' \\
        --name crepe_tiny
done
$run --grid faster --module hear_msss --model-options "{$h}" --name msss_h
$run --grid faster --module hear_msss --model-options "{$floor}" --name untrained_h
python -m eval_tasks probe --out results --seeds 3
mini="python -m eval_tasks run --tasks eval_tasks/mini/tasks --out mini --grid faster --grid-points 4"
$mini --module hear_msss --name msss
$mini --module eval_tasks.baselines.logmel --name logmel

Models other than msss and msss_h do not depend on the weights. Then renew the file, the tables and the
pictures:

python -m benchmarks.results results mini

Scores that the folders do not hold stay as they are. If the bundled weights differ from those of the file,
scores of the former weights are removed. Without a folder, the command only writes tables and pictures again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.pictures import draw_all
from benchmarks.scores import MODELS, ROOT, Row, filled, merged, read, write
from eval_tasks.report.table import gather
from eval_tasks.runs.results import find_models
from hear_msss.weights import DEFAULT, bundled, fingerprint

DOCUMENTS = (ROOT / "README.md", ROOT / "MODEL_CARD.md")
OWN = ("msss", "msss_h")  # depend on the bundled weights


def collect(folder: Path) -> list[Row]:
    """All scores in an OUT folder of ``eval_tasks run``, rounded to six digits, and chance."""
    scores = gather(find_models([folder]))
    columns = ("protocol", "task", "metric", "model", "mean", "deviation", "count")
    rows = []
    for values in zip(*(scores.table[column].tolist() for column in columns), strict=True):
        found = dict(zip(columns, values, strict=True))
        if found["model"] in MODELS:
            rows.append(rounded(found))
        else:
            print(f"{found['model']} is left out: expected one of {', '.join(MODELS)}", file=sys.stderr)
    for protocol, task, metric in dict.fromkeys((row.protocol, row.task, row.metric) for row in rows):
        chance = scores.references[task, metric]["chance"]
        rows.append(Row(protocol, task, metric, "chance", round(chance, 6), 0.0, 1))
    return rows


def rounded(found: dict[str, Any]) -> Row:
    found["mean"], found["deviation"] = round(found["mean"], 6), round(found["deviation"], 6)
    return Row(**found)


def still_true(rows: list[Row], same_weights: bool) -> list[Row]:
    """Rows that do not depend on the bundled weights, or all if the weights are the same as before."""
    kept = [row for row in rows if same_weights or row.model not in OWN]
    if len(kept) < len(rows):
        print(f"removed {len(rows) - len(kept)} scores of the former weights", file=sys.stderr)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.results",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="OUT", help="OUT of eval_tasks run and probe"
    )
    folders = parser.parse_args().folders
    weights_sha256, rows = read()
    if folders:
        bundled_sha256 = fingerprint(bundled()[DEFAULT])
        rows = merged(
            still_true(rows, weights_sha256 == bundled_sha256), [r for f in folders for r in collect(f)]
        )
        write(rows, bundled_sha256)
    for path in DOCUMENTS:
        path.write_text(filled(path.read_text(encoding="utf-8"), rows), encoding="utf-8")
    draw_all(ROOT / "docs", rows)


if __name__ == "__main__":
    main()
