"""The report as one self-contained HTML page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from eval_tasks.metrics import METRICS
from eval_tasks.report.table import Scores, shows_references
from eval_tasks.report.text import one_line

STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #667085; --line: #d9dee7; --page: #ffffff;
  --shade: #1d243040; --card: #f6f8fb; --mark: #1463d8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #98a2b3; --line: #333a46;
  --shade: #00000090; --page: #14181f; --card: #1b212b; --mark: #7db0ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 84rem;
  color: var(--ink); background: var(--page);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.9rem; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; }
p, li { max-width: 62rem; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; background:
  linear-gradient(to right, var(--page) 40%, transparent) left / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--page) 40%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(to right, var(--shade), transparent) left / 1.2rem 100% no-repeat scroll,
  linear-gradient(to left, var(--shade), transparent) right / 1.2rem 100% no-repeat scroll; }
.scroll:focus-visible { outline: 2px solid var(--mark); }
.summary { border-left: .25rem solid var(--mark); padding-left: 1rem; margin: 1rem 0; }
.summary p { margin: .2rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .8rem; text-align: right; vertical-align: bottom;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
td, tbody th { white-space: nowrap; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
td.best { font-weight: 700; color: var(--mark); }
td small { color: var(--soft); font-weight: 400; }
.reference { color: var(--soft); }
figure { margin: 1rem 0; padding: 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; overflow-x: auto; }
figure svg { display: block; margin: 0 auto; max-width: 100%; height: auto; }
.pair { display: flex; flex-wrap: wrap; gap: 1rem; } .pair figure { flex: 1 1 24rem; }
code { font-size: .88em; }
"""
WIDE_COLUMNS = 8


@dataclass(frozen=True)
class Drawing:
    """A figure with what it shows."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph, and ready HTML below them."""

    title: str
    text: str
    body: str


def shown(text: str) -> str:
    """A text, such as a name from a file, as HTML."""
    return escape(one_line(text))


def breakable(name: str) -> str:
    """A long name that a narrow column breaks between its parts only."""
    return re.sub(r"([_./-])", r"\1<wbr>", shown(name))


def scrolling(table: str, columns: int) -> str:
    """A table that scrolls sideways where the page is narrower, and says so where it has many columns."""
    hint = '<p class="soft">A wide table: scroll it sideways.</p>' if columns > WIDE_COLUMNS else ""
    label = 'role="region" tabindex="0" aria-label="table, scrolls sideways"'
    return f'{hint}<div class="scroll" {label}>{table}</div>'


def table(scores: Scores, protocol: str, bold: Mapping[tuple[str, str, str], str]) -> str:
    """Tasks and scores by models; ``bold`` as in ``eval_tasks.report.table.markdown_table``."""
    references = [name for name in scores.reference_names if shows_references(protocol, name)]
    models = scores.models_of(protocol)
    head = ["task", "score", *models]
    cells = [f"<th>{breakable(name)}</th>" for name in head]
    cells += [f'<th class="reference">{shown(name)}</th>' for name in references]
    lines = [f"<thead><tr>{''.join(cells)}</tr></thead><tbody>"]
    previous = None
    for (task, metric), by_model in scores.of(protocol).items():
        best = bold.get((protocol, task, metric))
        cells = [f"<th>{shown(task) if task != previous else ''}</th>"]
        cells.append(f"<td>{shown(METRICS.get(metric, metric))}</td>")
        previous = task
        for model in models:
            text = ""
            if model in by_model:
                score = by_model[model]
                text = score.mean_text
                text += f" <small>{score.spread_text}</small>" if score.spread_text else ""
            cells.append(f'<td class="best">{text}</td>' if model == best else f"<td>{text}</td>")
        values = scores.references[task, metric]
        for name in references:
            cells.append(f'<td class="reference">{values[name]:.3f}</td>' if name in values else "<td></td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return scrolling(f"<table>{''.join(lines)}</tbody></table>", len(head) + len(references))


def plain_table(header: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{shown(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{shown(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return scrolling(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>", len(header))


def figures(drawings: list[Drawing]) -> str:
    drawn = "".join(
        f"<figure>{drawing.svg}<figcaption>{shown(drawing.caption)}</figcaption></figure>"
        for drawing in drawings
    )
    return f'<div class="pair">{drawn}</div>' if len(drawings) > 1 else drawn


def page(title: str, summary: list[str], subtitle: str, sections: list[Section]) -> str:
    lines = "".join(f"<p>{shown(line)}</p>" for line in summary)
    body = "".join(
        f"<h2>{shown(section.title)}</h2><p>{shown(section.text)}</p>{section.body}" for section in sections
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{shown(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f'<body><h1>{shown(title)}</h1><div class="summary">{lines}</div>'
        f'<p class="soft">{shown(subtitle)}</p>{body}</body></html>\n'
    )
