# SPDX-License-Identifier: BSD-3-Clause
"""Importing this gives joblib the backend "ktask": ``parallel_config(backend="ktask")``. See ``docs/joblib.md``.

>>> import ktask.joblib
>>> from joblib import Parallel, delayed, parallel_config
>>> with parallel_config(backend="ktask"):
...     Parallel()(delayed(pow)(2, n) for n in range(5))
[1, 2, 4, 8, 16]

Calls are made by a ``ktask.Executor``, so by threads: they share memory, and run at the same time as far as they let go
of the GIL, as NumPy and the compiled parts of scikit-learn do. Meanwhile the thread pools of BLAS and OpenMP libraries
are limited to each task's share of the CPUs, or to ``inner_max_num_threads``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import joblib
from joblib._parallel_backends import FallbackToBackend, ParallelBackendBase, SequentialBackend
from threadpoolctl import ThreadpoolController

import ktask.threadpoolctl  # noqa: F401 - so that threadpoolctl knows ktask
from ktask._core import lib
from ktask._executor import Executor

__all__ = ["KtaskBackend"]


class KtaskBackend(ParallelBackendBase):  # type: ignore[misc]
    """joblib's interface to a ``ktask.Executor``. Made by joblib."""

    supports_inner_max_num_threads = True
    supports_retrieve_callback = True
    supports_sharedmem = True
    uses_threads = True
    default_n_jobs = -1

    _executor: Executor | None = None
    _inner = 1

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """As many as asked for; -1 means all CPUs that ktask finds free for this process, -2 one less."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(_cpus() + 1 + n_jobs, 1)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """Begins a ``Parallel``, and returns how many jobs it has at a time."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._n_jobs = n_jobs
        self._inner = self.inner_max_num_threads or max(_cpus() // n_jobs, 1)
        return n_jobs

    def start_call(self) -> None:
        """Limits the libraries' threads, from now on."""
        libraries = ThreadpoolController()  # those that are loaded by now
        self._openmp = libraries.select(user_api="openmp")
        _blas.enter(libraries.select(user_api="blas"), self._inner)

    def stop_call(self) -> None:
        """No longer."""
        _blas.leave(self._inner)

    def submit(self, func: Callable[[], Any], callback: Callable[[Future[Any]], Any] | None = None) -> Future[Any]:
        """Makes the calls of one batch."""
        if self._executor is None:
            self._executor = Executor(self._n_jobs)
        future = self._executor.submit(self._with_few_threads, func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    apply_async = submit  # its name before joblib 1.5

    def _with_few_threads(self, func: Callable[[], Any]) -> Any:
        """OpenMP's limits are the thread's."""
        with self._openmp.limit(limits=self._inner):
            return func()

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """The results of a batch that is done."""
        return out.result()

    def terminate(self) -> None:
        """Ends a ``Parallel``, without waiting for the threads."""
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancels what has not begun."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None  # the next batch makes another one

    def get_nested_backend(self) -> tuple[ParallelBackendBase, None]:
        """Tasks of tasks share the same helpers; what they call in turn is serial."""
        level = (self.nesting_level or 0) + 1
        return (SequentialBackend if level > 1 else KtaskBackend)(nesting_level=level), None


def _cpus() -> int:
    return lib.py_max_helpers() + 1


class _BlasLimit:
    """The lowest limit of all ``Parallel`` calls under way: BLAS libraries have one for the whole process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: list[int] = []
        self._limiter: Any = None

    def enter(self, controller: ThreadpoolController, limit: int) -> None:
        with self._lock:
            self._limits.append(limit)
            self._controller = controller
            self._apply()

    def leave(self, limit: int) -> None:
        with self._lock:
            self._limits.remove(limit)
            self._apply()

    def _apply(self) -> None:
        if self._limiter is not None:
            self._limiter.restore_original_limits()
            self._limiter = None
        if self._limits:
            self._limiter = self._controller.limit(limits=min(self._limits))


_blas = _BlasLimit()

joblib.register_parallel_backend("ktask", KtaskBackend)
