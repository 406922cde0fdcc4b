"""How the package is laid out: no import circles, nothing of eval_tasks, short functions and files."""

from __future__ import annotations

import ast
from pathlib import Path

import pretrain

ROOT = Path(pretrain.__file__).parent


def modules() -> dict[str, ast.Module]:
    """Name and syntax tree of each module of the package."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imported(tree: ast.Module, known: set[str]) -> set[str]:
    """Modules that a tree imports anywhere, inside functions, too; those of the package by full name."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names} & known
    return names


def test_no_import_circle():
    trees = modules()
    left = {name: imported(tree, set(trees)) & set(trees) - {name} for name, tree in trees.items()}
    while left:
        free = [name for name, needs in left.items() if not needs & left.keys()]
        assert free, f"modules that import each other in a circle are among {sorted(left)}"
        for name in free:
            del left[name]


def test_hear_msss_may_be_imported_and_eval_tasks_not():
    for name, tree in modules().items():
        assert not any(other.split(".")[0] == "eval_tasks" for other in imported(tree, set())), name


def test_functions_are_shorter_than_60_lines_and_files_than_300():
    for name, tree in modules().items():
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        for function in functions:
            assert function.end_lineno - function.lineno < 60, f"{name}.{function.name}"
        assert max((n.end_lineno for n in tree.body), default=0) <= 300, name
