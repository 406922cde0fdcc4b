"""Any labelled recordings: a CSV file and a folder of audio.

The CSV file has a header. Scenes: columns file, label. Events: file, start, end, label, with the times in
--time-unit (s by default); a row with an empty label names a clip without events. Files are given
relative to --audio. Other columns are ignored, unless an option names them.

Splits: --split-column (train, valid and test, or the numbers or names of folds); or --folds 5; or
--ratios 80 10 10 (train, valid and test; the default). Clips that share a value of --group-column, such
as a speaker, stay together. The two splits made here follow HEAR's rules and are the same every time.

Clips keep their length, unless --clip-seconds cuts or pads all to one. One label a clip, unless
--multilabel is given and a file has several rows. Scores by default: top1_acc, mAP (multilabel), or
event_onset_200ms_fms and segment_1s_er (events).

  python -m eval_tasks prepare csv --csv birds.csv --audio recordings/ --name birds --type scene \\
      --folds 5 --group-column recordist --clip-seconds 5 --sample-rate 16000 --out tasks/
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval_tasks.adapters.csv_checks import (
    alike,
    common_length_s,
    lengths_s,
    refuse_lost_labels,
    refuse_names,
    refuse_wrong_times,
)
from eval_tasks.adapters.csv_options import TIME_UNITS_MS, Options
from eval_tasks.adapters.csv_rows import read_table
from eval_tasks.adapters.hear_rules import SPLITS, split_by_percent, split_into_folds
from eval_tasks.adapters.plan import Clip, Plan, cut_events, make_plan
from eval_tasks.errors import UserError
from eval_tasks.tasks.check_description import SCORES, labels_as_the_runner_reads

about = __doc__ or ""
SPLIT_NAMES = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "test": "test"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE")
    parser.add_argument("--audio", type=Path, required=True, metavar="DIR", help="what the files are in")
    parser.add_argument("--name", required=True, help="of the task")
    parser.add_argument("--version", default="v1", help="of the task (default: %(default)s)")
    parser.add_argument(
        "--mode", default="full", help="last part of the folder's name (default: %(default)s)"
    )
    parser.add_argument("--type", choices=("scene", "event"), required=True)
    parser.add_argument("--multilabel", action="store_true", help="scenes with any number of labels")
    parser.add_argument("--time-unit", choices=tuple(TIME_UNITS_MS), default="s", help="of start and end")
    parser.add_argument("--clip-seconds", type=float, metavar="S", help="cut or pad every clip to this")
    parser.add_argument(
        "--metric",
        nargs="+",
        choices=SCORES,
        metavar="SCORE",
        help=f"the main one first: {', '.join(SCORES)}",
    )
    parser.add_argument("--group-column", metavar="NAME")
    splits = parser.add_mutually_exclusive_group()
    splits.add_argument("--split-column", metavar="NAME")
    splits.add_argument("--folds", type=int, metavar="N")
    splits.add_argument(
        "--ratios", type=float, nargs=3, default=(80, 10, 10), metavar=("TRAIN", "VALID", "TEST")
    )


def plan(folders: Sequence[Path], options: Options) -> Plan:
    """
    Args:
        folders: not used: the table says where the recordings are.
        options: the table and what is to be made of it.

    Raises:
        UserError: a table that does not fit its options, with every bad line.
    """
    rows = read_rows(options)
    labels, columns = collected(rows, options)
    check_labels(options, labels)
    needs_lengths = options.type == "event" or not options.clip_seconds
    length_s = lengths_s({file: options.audio / file for file in labels}) if needs_lengths else {}
    if options.type == "event":
        refuse_wrong_times(options.csv, labels, length_s, options.time_unit)
    split_mode, assignment = assign_splits(options, labels, columns)
    metadata = {
        "task_name": options.name,
        "version": options.version,
        "mode": options.mode,
        "embedding_type": options.type,
        "prediction_type": "multilabel" if options.multilabel or options.type == "event" else "multiclass",
        "split_mode": split_mode,
        "sample_duration": options.clip_seconds or common_length_s(length_s),
        "evaluation": options.metric or default_scores(options),
    }
    names: dict[str, str] = {}
    splits: dict[str, list[Clip]] = {split: [] for split in sorted(set(assignment.values()))}
    if split_mode == "trainvaltest":
        splits = {split: [] for split in SPLITS}
    for file, entries in labels.items():
        name = Path(file).with_suffix(".wav").as_posix().replace("/", "_")
        if names.setdefault(name, file) != file:
            raise UserError(f"{file} and {names[name]} would both be called {name}: rename one")
        if options.type == "event":
            entries = cut_events(entries, options.clip_seconds or length_s[file])
        splits[assignment[file]].append(Clip(name, options.audio / file, entries))
    refuse_names(options.csv, names)
    if options.type == "event":
        kept = [event["label"] for clips in splits.values() for clip in clips for event in clip.labels]
        refuse_lost_labels(options.csv, labels_of(labels), kept, options.clip_seconds)
    empty = [split for split, clips in splits.items() if not clips]
    if empty:
        raise UserError(f"{options.csv}: no clips for {', '.join(empty)}: give more clips or other ratios")
    return make_plan(metadata, splits)


def collected(
    rows: Sequence[tuple[int, dict[str, str]]], options: Options
) -> tuple[dict[str, list[Any]], dict[str, tuple[str, str]]]:
    """File to its labels or events, and file to its values of split and group column.

    Raises:
        UserError: rows of one file that name different splits or groups.
    """
    labels: dict[str, list[Any]] = defaultdict(list)
    columns: dict[str, tuple[str, str]] = {}
    for line, row in rows:
        file = row["file"]
        chosen = row.get(options.split_column or "", ""), row.get(options.group_column or "", "")
        if columns.setdefault(file, chosen) != chosen:
            raise UserError(
                f"{options.csv}, line {line}: {file} has {chosen} here and {columns[file]} above, in "
                "split and group column: a clip belongs to one of each"
            )
        entries = labels[file]
        if options.type == "event" and row["label"]:
            scale = TIME_UNITS_MS[options.time_unit]
            start, end = (float(row[key]) * scale for key in ("start", "end"))
            entries.append({"label": row["label"], "start": start, "end": end})
        elif row["label"] and row["label"] not in entries:
            entries.append(row["label"])
    return labels, columns


def read_rows(options: Options) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and rows.

    Raises:
        UserError: with every bad line: a column, a file or a time that is missing or wrong.
    """
    wanted = ["file", "label", *(["start", "end"] if options.type == "event" else [])]
    wanted += [name for name in (options.split_column, options.group_column) if name]
    rows = read_table(options.csv, wanted)
    problems = []
    for line, row in rows:
        problem = wrong_row(row, wanted, options)
        if problem:
            problems.append(f"line {line}: {problem}")
    if problems:
        listed = "\n  ".join(problems)
        raise UserError(f"{options.csv}: {len(problems)} bad lines:\n  {listed}")
    return rows


def wrong_row(row: dict[str, str], wanted: list[str], options: Options) -> str | None:
    may_be_empty = ("label", "start", "end") if options.type == "event" or options.multilabel else ()
    for name in wanted:
        if not row[name] and name not in may_be_empty:
            return f"no {name}"
    if not (options.audio / row["file"]).is_file():
        return f"no file {options.audio / row['file']}"
    if options.type == "event" and row["label"]:
        try:
            start, end = float(row["start"]), float(row["end"])
        except ValueError:
            return f"start {row['start']!r}, end {row['end']!r}: expected numbers ({options.time_unit})"
        if not 0 <= start <= end < math.inf:
            return f"start {start:g}, end {end:g}: expected 0 <= start <= end"
    return None


def check_labels(options: Options, labels: dict[str, list[Any]]) -> None:
    """
    Raises:
        UserError: several labels for a clip that may have one, or a label that the runner misreads.
    """
    if options.type == "scene" and not options.multilabel:
        several = [file for file, entries in labels.items() if len(entries) != 1]
        if several:
            raise UserError(
                f"{len(several)} clips have more than one label, the first {several[0]} "
                f"({', '.join(labels[several[0]])}): give --multilabel"
            )
    used = labels_of(labels)
    if not used:
        raise UserError(f"{options.csv}: no labels at all")
    unprintable = [label for label in used if not label.isprintable()]
    if unprintable:
        raise UserError(f"{options.csv}: label {unprintable[0]!r} holds control characters: rename it")
    for group in alike(used):
        print(
            f"notice: {options.csv}: labels {', '.join(map(repr, group))} count as different", file=sys.stderr
        )
    for label, seen in zip(used, labels_as_the_runner_reads(used), strict=True):
        if label != seen:
            raise UserError(f"{options.csv}: the runner would read label {label!r} as {seen!r}: rename it")


def labels_of(labels: Mapping[str, Sequence[Any]]) -> list[str]:
    """All labels of a table, sorted."""
    return sorted({e["label"] if isinstance(e, dict) else e for entries in labels.values() for e in entries})


def assign_splits(
    options: Options, labels: dict[str, list[Any]], columns: dict[str, tuple[str, str]]
) -> tuple[str, dict[str, str]]:
    """The split mode, and file -> split."""
    if options.split_column:
        given = {file: column[0] for file, column in columns.items()}
        values = set(given.values())
        if values <= set(SPLIT_NAMES):
            return "trainvaltest", {file: SPLIT_NAMES[value] for file, value in given.items()}
        if len(values) < 3:
            raise UserError(
                f"{options.split_column} has {sorted(values)}: expected train, valid, test, or folds"
            )
        folds = {
            value: f"fold{number:02d}"
            for number, value in enumerate(sorted(values, key=lambda v: (len(v), v)))
        }
        return "presplit_kfold", {file: folds[value] for file, value in given.items()}
    keys = {file: column[1] or file for file, column in columns.items()}
    if options.folds:
        if not 3 <= options.folds <= len(set(keys.values())):
            raise UserError(
                f"--folds {options.folds}: expected 3 to {len(set(keys.values()))}, one group each"
            )
        by_key: dict[str, set[str]] = defaultdict(set)
        for file, entries in labels.items():
            by_key[keys[file]] |= {e["label"] if isinstance(e, dict) else e for e in entries}
        assignment = split_into_folds(by_key, options.folds, all_labels=options.type == "scene")
        return "new_split_kfold", {file: assignment[key] for file, key in keys.items()}
    train, valid, test = options.ratios
    if min(train, valid, test) <= 0:
        raise UserError(f"--ratios {train:g} {valid:g} {test:g}: expected three numbers above 0")
    whole = train + valid + test
    assignment = split_by_percent(set(keys.values()), 100 * valid / whole, 100 * test / whole)
    return "trainvaltest", {file: assignment[key] for file, key in keys.items()}


def default_scores(options: Options) -> list[str]:
    if options.type == "event":
        return ["event_onset_200ms_fms", "segment_1s_er"]
    return ["mAP"] if options.multilabel else ["top1_acc"]
