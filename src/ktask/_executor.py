# SPDX-License-Identifier: BSD-3-Clause
"""``Executor``: calls that are made one by one, by whoever has a CPU for them (``_calls.py``)."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from ktask._calls import Call, Work

P = ParamSpec("P")
T = TypeVar("T")


class Executor(ThreadPoolExecutor):
    """A ``concurrent.futures.ThreadPoolExecutor`` whose calls are made by ktask's helpers as well as its own threads.

    Calls that compute have as many threads as there are CPUs free for them, by ktask's limits, which all processes
    share; helpers leave when somebody else wants their CPU. Calls that wait (for other calls, locks, files, the net)
    have up to ``max_workers`` threads, as in a ThreadPoolExecutor: see ``docs/executor.md``.

    At most ``max_workers`` calls are under way at a time; by default as in a ThreadPoolExecutor. ``thread_name_prefix``
    names the executor's own threads; helpers have the pool's names. ``initializer(*initargs)`` is called in each thread
    that makes calls, before its first one; if it raises, the executor is broken.

    >>> import ktask
    >>> with ktask.Executor() as executor:
    ...     future = executor.submit(pow, 2, 10)
    ...     list(executor.map(abs, [-1, 2, -3])), future.result()
    ([1, 2, 3], 1024)
    """

    _numbers = itertools.count()

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        """Starts nothing yet."""
        if max_workers is None:
            cpu_count = getattr(os, "process_cpu_count", os.cpu_count)  # the former since Python 3.13
            max_workers = min(32, (cpu_count() or 1) + 4)
        if max_workers <= 0:
            raise ValueError(f"max_workers must be greater than 0, not {max_workers}")
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be a callable, not {type(initializer).__name__}: {initializer!r}")
        name = thread_name_prefix or f"ktask-ThreadPoolExecutor-{next(self._numbers)}"
        self._begin(Work(max_workers, name, initializer, initargs))
        _executors.add(self)

    def _begin(self, work: Work) -> None:
        self._work = work
        # Threads know the work, not the executor: so one that is dropped goes, and its threads with it.
        weakref.finalize(self, work.close).atexit = False

    def _begin_again(self) -> None:
        """In a forked child, where none of the threads are."""
        old = self._work
        self._begin(Work(old.max_workers, old.name, old.initializer, old.initargs))
        self._work.broken, self._work.closing = old.broken, old.closing
        old.abandon()

    # What others who know ThreadPoolExecutor look at.
    _max_workers = property(lambda self: self._work.max_workers)
    _threads = property(lambda self: self._work.threads)
    _broken = property(lambda self: self._work.broken)
    _shutdown = property(lambda self: self._work.closing)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Calls ``fn(*args, **kwargs)`` as soon as a thread is free, and returns the future of its result."""
        future: Future[T] = Future()
        self._work.submit(Call(future, fn, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more calls. Those that were submitted are made, or with ``cancel_futures`` only those begun.

        With ``wait`` it returns when that is done and the threads have ended.
        """
        threads = self._work.shut_down(cancel_futures)
        if wait:
            for thread in threads:
                thread.join()


# ---- the interpreter ends, the process forks -------------------------------------------------------------------------

_executors: weakref.WeakSet[Executor] = weakref.WeakSet()


def _exit() -> None:
    """Before the interpreter waits for all threads, those of executors have to be told."""
    Work.exiting = True
    threads = [thread for executor in list(_executors) for thread in executor._work.shut_down()]
    for thread in threads:
        thread.join()


def _after_fork_in_child() -> None:
    for executor in list(_executors):
        executor._begin_again()


threading._register_atexit(_exit)  # type: ignore[attr-defined] # as concurrent.futures does; atexit is too late
os.register_at_fork(after_in_child=_after_fork_in_child)
