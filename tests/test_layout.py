"""How the repository is laid out: who imports whom, and how long files and functions are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Package: what it may import of the other packages (a package stands for all of its modules).
MAY_IMPORT: dict[str, set[str]] = {
    "hear_msss": set(),
    "pretrain": {"hear_msss"},
    "eval_tasks": {"hear_msss.audio"},
    "benchmarks": {"hear_msss", "pretrain", "eval_tasks"},
}
LONGEST_FILE = 300
LONGEST_FUNCTION = 59


def modules(package: str) -> dict[str, ast.Module]:
    """Full name and syntax tree of each module of a package."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


TREES = {package: modules(package) for package in MAY_IMPORT}
ALL = {name: tree for trees in TREES.values() for name, tree in trees.items()}


def imported(tree: ast.Module) -> set[str]:
    """Full names of all modules that a tree imports, also inside functions."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, "relative imports are not used here"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full in ALL else node.module)
    return names


def modules_in_circles(imports: dict[str, set[str]]) -> set[str]:
    """Modules that are in an import circle, or import one that is; empty where there is no circle."""
    left = {name: needs - {name} for name, needs in imports.items()}
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    return set(left)


def test_a_circle_is_found() -> None:
    assert modules_in_circles({"a": {"b"}, "b": {"c"}, "c": set()}) == set()
    assert modules_in_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == {"a", "b", "c"}


def test_no_import_circle() -> None:
    assert not modules_in_circles({name: imported(tree) for name, tree in ALL.items()})


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_what_they_may(package: str) -> None:
    allowed = {package} | MAY_IMPORT[package]
    for name, tree in TREES[package].items():
        for other in imported(tree):
            if other.split(".")[0] in MAY_IMPORT:
                assert any(other == a or other.startswith(f"{a}.") for a in allowed), f"{name}: {other}"


def test_the_reader_of_sound_files_needs_neither_torch_nor_the_model() -> None:
    needs, todo = set(), ["hear_msss.audio"]
    while todo:
        for other in imported(ALL[todo.pop()]) - needs:
            needs.add(other)
            todo += [other] if other in ALL else []
    assert not {name for name in needs if name.split(".")[0] == "torch"}
    assert not needs & {"hear_msss", "hear_msss.api", "hear_msss.model", "hear_msss.encoder"}


def test_no_file_is_longer_than_300_lines() -> None:
    for package in MAY_IMPORT:
        for path in (ROOT / package).rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE, path


def test_every_function_is_shorter_than_60_lines() -> None:
    long = {}
    for name, tree in ALL.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long[f"{name}.{node.name}"] = lines
    assert not long
