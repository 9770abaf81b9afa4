# SPDX-License-Identifier: BSD-3-Clause
"""joblib's backend, scikit-learn on it, and what threadpoolctl sees and limits."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ktask

joblib = pytest.importorskip("joblib")
threadpoolctl = pytest.importorskip("threadpoolctl")
pytest.importorskip("ktask.joblib")

from joblib import Parallel, delayed, parallel_config  # noqa: E402

TIMEOUT = 60


def threads_of(user_api: str) -> list[int]:
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == user_api]


def test_results_in_order_by_several_threads() -> None:
    """Each of two tasks waits for the other."""
    together = threading.Barrier(2, timeout=TIMEOUT)

    def work(i: int) -> tuple[int, int]:
        together.wait()
        return i, threading.get_ident()

    with parallel_config(backend="ktask", n_jobs=2):
        results = Parallel()(delayed(work)(i) for i in range(10))
    assert [i for i, _ in results] == list(range(10))
    assert len({thread for _, thread in results}) >= 2


def test_by_name_and_as_a_generator() -> None:
    parallel = Parallel(n_jobs=3, backend="ktask", return_as="generator")
    assert list(parallel(delayed(pow)(i, 2) for i in range(100))) == [i * i for i in range(100)]


def test_how_many_jobs() -> None:
    with parallel_config(backend="ktask"):
        free = Parallel()._effective_n_jobs()
        assert free == ktask.info()["max_helpers"] + 1
        assert Parallel(n_jobs=-1)._effective_n_jobs() == free
        assert Parallel(n_jobs=-2)._effective_n_jobs() == max(free - 1, 1)
        assert Parallel(n_jobs=3)._effective_n_jobs() == 3
        with ktask.limits(max_helpers=0):
            assert Parallel(n_jobs=-1)._effective_n_jobs() == 1
            assert Parallel(n_jobs=-1)(delayed(abs)(-i) for i in range(5)) == list(range(5))
        with pytest.raises(ValueError, match="n_jobs == 0"):
            Parallel(n_jobs=0)(delayed(abs)(i) for i in range(2))


def test_what_a_task_raises() -> None:
    def fail(i: int) -> int:
        if i == 7:
            raise KeyError("seven")
        return i

    with parallel_config(backend="ktask", n_jobs=4):
        for _ in range(3):
            with pytest.raises(KeyError, match="seven"):
                Parallel()(delayed(fail)(i) for i in range(50))
            assert Parallel()(delayed(fail)(i) for i in range(3)) == [0, 1, 2]


def test_a_task_that_takes_too_long() -> None:
    done = threading.Event()
    with pytest.raises(multiprocessing.TimeoutError):
        Parallel(n_jobs=2, backend="ktask", timeout=0.01)(delayed(done.wait)(TIMEOUT) for _ in range(2))
    done.set()


def test_tasks_of_tasks() -> None:
    def inner(i: int) -> int:
        time.sleep(0.001)
        return i

    def outer(i: int) -> int:
        return sum(Parallel(n_jobs=2)(delayed(inner)(j) for j in range(i)))

    with parallel_config(backend="ktask", n_jobs=4):
        assert Parallel()(delayed(outer)(i) for i in range(20)) == [i * (i - 1) // 2 for i in range(20)]


def test_blas_and_openmp_have_their_share_meanwhile() -> None:
    pytest.importorskip("sklearn.ensemble")  # brings OpenMP
    before = threads_of("blas"), threads_of("openmp")
    assert all(before)

    def inside(_: int) -> tuple[list[int], list[int]]:
        time.sleep(0.001)
        return threads_of("blas"), threads_of("openmp")

    free = ktask.info()["max_helpers"] + 1
    for n_jobs, inner, expected in ((free, None, 1), (2, 3, 3), (2, None, max(free // 2, 1))):
        with parallel_config(backend="ktask", n_jobs=n_jobs, inner_max_num_threads=inner):
            for seen in Parallel()(delayed(inside)(i) for i in range(20)):
                assert all(n <= expected for n in seen[0]), "BLAS may have been built for fewer"
                assert set(seen[1]) == {expected}
        assert (threads_of("blas"), threads_of("openmp")) == before

    def several_at_a_time() -> None:
        for _ in range(5):
            Parallel(n_jobs=2, backend="ktask")(delayed(inside)(i) for i in range(4))

    callers = [threading.Thread(target=several_at_a_time) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert (threads_of("blas"), threads_of("openmp")) == before


def forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=20, random_state=0, n_jobs=-1)


def search() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    return GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, cv=3, n_jobs=-1)


def bagging() -> Any:
    from sklearn.ensemble import BaggingClassifier

    return BaggingClassifier(n_estimators=10, random_state=0, n_jobs=-1)


@pytest.mark.parametrize("make", [forest, search, bagging])
def test_scikit_learn(make: Callable[[], Any]) -> None:
    """The same as serially; with ``n_jobs=-1`` on this backend."""
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.make_classification(n_samples=300, n_features=10, random_state=1)
    serial = make().set_params(n_jobs=1).fit(x, y)
    submitted = 0
    submit = ktask.Executor.submit

    def count(*args: Any, **kwargs: Any) -> Any:
        nonlocal submitted
        submitted += 1
        return submit(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, parallel_config(backend="ktask"):
        patch.setattr(ktask.Executor, "submit", count)
        estimator = make().fit(x, y)
        predicted = estimator.predict_proba(x)
    assert submitted > 0
    assert np.array_equal(predicted, serial.predict_proba(x))


# ---- threadpoolctl ---------------------------------------------------------------------------------------------------


def test_threadpoolctl_sees_and_limits() -> None:
    most = ktask.info()["max_helpers"]
    assert threads_of("ktask") == [most + 1]
    [pool] = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "ktask"]
    assert pool["version"] == ktask.__version__
    for limit in (1, 2, most + 1, most + 100):
        with threadpoolctl.threadpool_limits(limits=limit):
            assert threads_of("ktask") == [min(limit, most + 1)]
            assert ktask.info()["max_helpers"] == min(limit - 1, most)
            with threadpoolctl.threadpool_limits(limits={"ktask": 1}):
                assert ktask.info()["max_helpers"] == 0
        assert ktask.info()["max_helpers"] == most
    with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
        assert ktask.info()["max_helpers"] == most


def test_threadpoolctl_and_limits_of_ktask() -> None:
    most = ktask.info()["max_helpers"]
    with ktask.limits(max_helpers=1):
        with threadpoolctl.threadpool_limits(limits=3, user_api="ktask"):
            assert ktask.info()["max_helpers"] == 1
        with threadpoolctl.threadpool_limits(limits=1, user_api="ktask"):
            assert ktask.info()["max_helpers"] == 0
            with ktask.limits(max_helpers=2):
                assert ktask.info()["max_helpers"] == 0
        assert ktask.info()["max_helpers"] == 1
    assert ktask.info()["max_helpers"] == most
