"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from odd_sounds import odd_sounds  # noqa: F401, a fixture

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)  # tests run side by side
    cache = getattr(config, "cache", None)  # not there with -p no:cacheprovider
    if cache is not None:  # exported graphs are shared by all tests, and kept for the next run
        os.environ.setdefault("HEAR_MSSS_CACHE", str(cache.mkdir("graphs")))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real audio beside the checkout, or where HEAR_MSSS_SHARED says; tests that need it skip without."""
    folder = Path(os.environ.get("HEAR_MSSS_SHARED", ROOT.parent / "shared"))
    if not (folder / "hear-tasks").is_dir():
        pytest.skip(f"no real audio in {folder}: set HEAR_MSSS_SHARED")
    return folder
