"""The lines on top of a report: what was compared, who leads, and where that is on the leaderboard."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from eval_tasks.report.differences import Key
from eval_tasks.report.standing import Standing
from eval_tasks.report.table import Scores, ranked
from eval_tasks.report.titles import protocol_title

STANDINGS_HEADER = ["model", "published tasks", "normalised score", "rank"]
STANDINGS = (
    "The leaderboard's own score, as its README defines it: the scores of each task are standardised over "
    "its 34 systems (mean 0, deviation 1), limited to -1 to 1, and averaged over the tasks. The systems are "
    "compared over the same tasks as the model; where a system has a blank, it is filled in as the "
    "leaderboard's script does. Only published tasks with heareval's default grid count."
)


def summary(
    scores: Scores, bold: Mapping[Key, str], standings: Mapping[str, Standing], runs: list[str]
) -> list[str]:
    """Sentences.

    Args:
        bold: see ``eval_tasks.report.differences.clearly_best``.
        standings: model to its standing on the leaderboard, where it has published tasks.
        runs: dates of the models' last runs.
    """
    dates = sorted(filter(None, runs))
    when = f", run {dates[0]}" + (f" to {dates[-1]}" if dates[-1] != dates[0] else "") if dates else ""
    lines = [
        f"Written {time.strftime('%Y-%m-%d')}. {counted(len(scores.models), 'model')} on "
        f"{counted(len(scores.tasks), 'task')}{when}."
    ]
    lines += [line for protocol in scores.protocols if (line := leader(scores, protocol, bold))]
    if standings:
        best = max(standings, key=lambda model: (len(standings[model].tasks), standings[model].normalised))
        lines.append(f"{best}: {standing_text(standings[best])}.")
    return lines


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def leader(scores: Scores, protocol: str, bold: Mapping[Key, str]) -> str:
    """Who has the best main score on most tasks; '' where there is nothing to choose from."""
    best, clear = Counter[str](), Counter[str]()
    tasks = 0
    for (task, metric), by_model in scores.of(protocol).items():
        order = ranked(metric, by_model)
        if metric != scores.main_metric(task) or len(order) < 2:
            continue
        tasks += 1
        if by_model[order[0]].mean != by_model[order[1]].mean:
            best[order[0]] += 1
            clear[order[0]] += bold.get((protocol, task, metric)) == order[0]
    if not best:
        return ""
    (model, wins), *_ = best.most_common(1)
    said = (
        f"{protocol_title(protocol)}: {model} has the best main score on {wins} of {counted(tasks, 'task')}"
    )
    return (
        f"{said}, clearly so on {clear[model] or 'none'}." if protocol.startswith("heareval") else f"{said}."
    )


def standing_text(standing: Standing) -> str:
    return (
        f"normalised score {standing.normalised:+.3f} over {len(standing.tasks)} of the 19 published tasks, "
        f"rank {standing.rank} of {standing.systems + 1} with the leaderboard's {standing.systems} systems"
    )


def standing_rows(standings: Mapping[str, Standing]) -> list[list[str]]:
    return [
        [
            model,
            f"{len(s.tasks)}: {', '.join(s.tasks)}" if len(s.tasks) < 19 else "all 19",
            f"{s.normalised:+.3f}",
            f"{s.rank} of {s.systems + 1}",
        ]
        for model, s in standings.items()
    ]
