"""The rows of a GPU as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.tables import rate, ratios, table

Row = dict[str, Any]
REFERENCE = "straightforward"


def markdown(rows: list[Row]) -> list[str]:
    """Lines of all tables that there are rows for."""
    lines = []
    for card in of(rows, "card"):
        lines += [
            "",
            "### GPU",
            "",
            f"{card['name']}, torch {card['torch']}, CUDA {card['cuda']}. Matrix product of {card['matrix']} "
            f"in bf16: {card['bf16_matrix_tflops']:.3g} TFLOP/s. Copy in its memory, bytes read and written: "
            f"{card['memory_gb_per_s']:.0f} GB/s. A segment costs {1000 * card['training_gflop']:.0f} MFLOP "
            "in training.",
        ]
    if of(rows, "encoder"):
        lines += ["", "### Encoder alone: windows per second (lowest to highest)", "", *encoder(rows)]
    for kind, title in (("scene", "Scene embeddings"), ("timestamps", "Timestamp embeddings every 50 ms")):
        found = [row for row in of(rows, "embeddings") if row["kind"] == kind]
        if found:
            lines += ["", f"### {title} on the GPU: seconds of audio per second (lowest to highest)", ""]
            lines += embeddings(found)
    if of(rows, "training"):
        lines += ["", "### Training step on the GPU: segments per second (lowest to highest)", ""]
        lines += training(rows)
    return lines


def of(rows: list[Row], measure: str) -> list[Row]:
    return [row for row in rows if row["measure"] == measure]


def encoder(rows: list[Row]) -> list[str]:
    found = of(rows, "encoder")
    batches = sorted({row["batch"] for row in found})
    cell = {(row["system"], row["batch"]): row for row in found}
    body = []
    for name in dict.fromkeys(row["system"] for row in found):
        here = [cell.get((name, batch)) for batch in batches]
        first = next(row for row in here if row)
        error = f"{first['relative_error']:.1g}" if "relative_error" in first else ""
        compile_s = f"{first['compile_s']:.0f}" if "compile_s" in first else ""
        rates = [rate(row, "windows_per_s") if row else "" for row in here]
        body.append([name, *rates, error, compile_s])
    batch_names = [f"batch {batch}" for batch in batches]
    return table(["precision", *batch_names, "relative error of h", "compile s"], body)


def embeddings(rows: list[Row]) -> list[str]:
    batches = sorted({row["batch"] for row in rows})
    cell = {(row["system"], row["batch"]): row for row in rows}
    body = []
    for name in dict.fromkeys(row["system"] for row in rows):
        pairs = [(cell.get((name, batch)), cell.get((REFERENCE, batch))) for batch in batches]
        rates = [rate(row, "audio_s_per_s") if row else "too long" for row, _ in pairs]
        body.append([name, *rates, ratios(pairs, "audio_s_per_s")])
    return table(["system", *(f"batch {batch}" for batch in batches), f"times {REFERENCE}"], body)


def training(rows: list[Row]) -> list[str]:
    body = []
    for row in of(rows, "training") + of(rows, "views"):
        share = row.get("share_of_bf16_matrix_rate")
        body.append(
            [
                row["system"],
                row["batch"],
                rate(row, "segments_per_s"),
                f"{1000 * row['batch'] / row['segments_per_s']:.0f}",
                "" if share is None else f"{share:.1%}",
                f"{row['peak_gb']:.1f}" if "peak_gb" in row else "",
                f"{row['first_step_s']:.1f}" if "first_step_s" in row else "",
            ]
        )
    header = ["system", "segments", "segments/s", "ms", "of the bf16 matrix rate", "peak GB", "first step s"]
    return table(header, body)
