"""run on joblib backends other than threads."""

from __future__ import annotations

import joblib
import pytest
from joblib.parallel import ThreadingBackend, register_parallel_backend

from eval_tasks.runs import run


class AllAtTheEnd(ThreadingBackend):
    """As Ray's backend: it refuses to hand out results as they come."""

    supports_return_generator = False


@pytest.mark.parametrize("backend", ["threading", "all_at_the_end"])
def test_each_task_has_its_result_on_any_backend(monkeypatch, backend):
    register_parallel_backend("all_at_the_end", AllAtTheEnd)
    monkeypatch.setattr(run, "run_task", lambda job: 10 * job)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        assert sorted(run.finished_jobs([1, 2, 3], 2)) == [10, 20, 30]
