"""Write requirements.lock and requirements-dev.lock from this environment (`make lock`).

The first holds the versions of all that `pip install '.[eval]'` and `python -m eval_tasks install` bring, but
for torch and the harness itself; the second what the extra `dev` needs as well. What else is installed here,
for example by `make docs` and `make platforms`, is left out.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from eval_tasks.install.packages import ALONE, HARNESS, requirements

LEFT_OUT = {"torch", "pip", "hear-msss", *HARNESS}
OF_CUDA = ("nvidia-", "cuda-", "triton")  # which of them torch brings depends on its build
HEADS = {
    "requirements.lock": "# Exact versions of what `make demo` installs, but for torch (`make lock`)",
    "requirements-dev.lock": "# Exact versions of what `make test` installs as well (`make lock`)",
}


def needed(roots: list[str]) -> set[str]:
    """Names of the distributions that these requirements need, with all that those need."""
    found: dict[str, set[str]] = {}
    todo = [Requirement(root) for root in roots]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        extras = found.setdefault(name, set())
        if name in extras and requirement.extras <= extras:
            continue
        extras |= {name, *requirement.extras}
        try:
            listed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for line in listed:
            further = Requirement(line)
            chosen = [{"extra": extra} for extra in ("", *requirement.extras)]
            if further.marker is None or any(further.marker.evaluate(extra) for extra in chosen):
                todo.append(further)
    return set(found)


def name_of(pin: str) -> str:
    return pin.lower().partition("==")[0]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    demo = needed(["hear_msss[eval]", *requirements()]) | set(map(canonicalize_name, ALONE))
    tests = needed(["hear_msss[dev]"])
    lines: dict[str, list[str]] = {name: [] for name in HEADS}
    missing = demo | tests
    for distribution in importlib.metadata.distributions():
        name = canonicalize_name(distribution.name)
        missing.discard(name)
        if name in demo | tests and name not in LEFT_OUT and not name.startswith(OF_CUDA):
            file = "requirements.lock" if name in demo else "requirements-dev.lock"
            lines[file].append(f"{distribution.name}=={distribution.version}")
    if missing := {name for name in missing if not name.startswith(OF_CUDA)}:
        names = " ".join(sorted(missing))
        sys.exit(f"needed, but not installed here: {names}; pip install {names}, then `make lock` again")
    for file, head in HEADS.items():
        pins, path = sorted(set(lines[file]), key=name_of), Path(file)
        before = set(path.read_text().splitlines()[1:]) if path.exists() else set()
        changes = [f"-{pin}" for pin in sorted(before - {*pins})] + [
            f"+{pin}" for pin in pins if pin not in before
        ]
        path.write_text("\n".join([head, *pins]) + "\n")
        print(f"{file}: {len(pins)} pins, {'changed: ' + ' '.join(changes) if changes else 'as before'}")


if __name__ == "__main__":
    main()
