"""The measured rows as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks import gpu_report
from benchmarks.tables import rate, ratios, table

REFERENCE = "straightforward"


def markdown(result: dict[str, Any]) -> str:
    machine = result["machine"]
    peaks = ", ".join(f"{gflops:.0f} on {n}" for n, gflops in machine["matmul_gflops"].items())
    lines = [
        f"{machine['date']}, {machine['cpu']}, torch {machine['torch']}, Python {machine['python']}. "
        f"Matrix product in float32, GFLOP/s by threads: {peaks}. "
        f"One window of the encoder: {1000 * machine['window_gflop']:.0f} MFLOP.",
    ]
    for kind, title in (("scene", "Scene embeddings"), ("timestamps", "Timestamp embeddings every 50 ms")):
        rows = [row for row in result["speed"] if row["kind"] == kind]
        if rows:
            lines += ["", f"### {title}: seconds of audio per second (lowest to highest)", "", *_speed(rows)]
    if result["training"]:
        lines += ["", "### Training step: segments per second (lowest to highest)", ""]
        lines += table(
            ["system", "threads", "batch", "segments/s"],
            [[r["system"], r["threads"], r["batch"], rate(r, "segments_per_s")] for r in result["training"]],
        )
    if result["memory"]:
        lines += ["", "### Peak memory of `hear-msss embed`", ""]
        lines += table(
            ["what", "clip", "peak MB", "above the loaded model", "seconds"],
            [
                [
                    f"{r['kind']} ({r['backend']})",
                    f"{r['clip_s']} s" if r["clip_s"] else "",
                    f"{r['peak_mb']:.0f}",
                    f"{r['above_mb']:.0f}",
                    f"{r['seconds']:.0f}" if "seconds" in r else "",
                ]
                for r in result["memory"]
            ],
        )
    if result["startup"]:
        lines += ["", "### From nothing to the first embedding", ""]
        lines += table(
            ["what", "seconds", "slowest"],
            [[r["what"], f"{r['seconds']:.1f}", f"{r['highest']:.1f}"] for r in result["startup"]],
        )
    lines += gpu_report.markdown(result.get("gpu", []))
    if result["missing"]:
        lines += ["", "Not measured:"]
        lines += [f"- {name}: {reason}" for name, reason in result["missing"].items()]
    return "\n".join(lines) + "\n"


def _speed(rows: list[dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys((row["threads"], row["batch"]) for row in rows))
    names = list(dict.fromkeys(row["system"] for row in rows))
    cell = {(row["system"], row["threads"], row["batch"]): row for row in rows}
    body = []
    for name in names:
        pairs = [(cell.get((name, *column)), cell.get((REFERENCE, *column))) for column in columns]
        rates = [rate(row, "audio_s_per_s") if row else "too long" for row, _ in pairs]
        body.append([name, *rates, ratios(pairs, "audio_s_per_s")])
    header = ["system", *(f"{t} thread{'s' * (t > 1)}, batch {b}" for t, b in columns), f"times {REFERENCE}"]
    return table(header, body)
