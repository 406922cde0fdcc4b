"""Render the mini tasks: ``python -m eval_tasks.mini.render OUT``.

Everything is drawn from one seed, so two runs with the same espeak-ng, fluidsynth and soundfonts
give the same audio (the files differ in the serial number of their Ogg streams). ``OUT`` must not
hold the tasks yet.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from eval_tasks.mini import events, keywords, pitch
from eval_tasks.mini.hear_format import write_task
from eval_tasks.mini.tools import MissingTool, check_tools

SEED = 2022


def render(out: Path) -> list[Path]:
    """Render the three tasks below ``out`` and return their folders.

    Raises:
        MissingTool: espeak-ng, fluidsynth, a voice or a soundfont is not installed.
        FileExistsError: a task is there already.
    """
    check_tools()
    makers = (keywords.task, pitch.task, events.task)
    return [write_task(make(np.random.default_rng([SEED, i])), out) for i, make in enumerate(makers)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write the three task folders into")
    try:
        folders = render(parser.parse_args().out)
    except (MissingTool, FileExistsError) as error:
        print(error, file=sys.stderr)
        return 1
    for folder in folders:
        files = [path for path in folder.rglob("*") if path.is_file()]
        print(f"{folder}: {len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
