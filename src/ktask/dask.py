# SPDX-License-Identifier: BSD-3-Clause
"""Ranges too large for one machine, cut over the workers of a Dask cluster: ``run`` and ``reduce``.

Each worker does one part at a time, as a run of ktask's with all its CPUs. The parts are cut as they go: a worker that
is done gets the next one, larger where more CPUs are free and smaller towards the end, as ktask does with chunks. Parts
of a worker that is lost are done again by another. See ``docs/dask.md``.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

from distributed import Client, Future, as_completed

import ktask
from ktask._call import add_note
from ktask._convert import count_of, size_of
from ktask._core import lib
from ktask._ctl import Ctl
from ktask._progress import Progress, ProgressReport, progress_of
from ktask._reduce import reduction_of
from ktask._run import _plan_of

T = TypeVar("T")
R = TypeVar("R")

__all__ = ["reduce", "run"]

TURNS = 4
"""A part is the worker's share, by its CPUs, of what is left, by so many: so all are done at about the same time, and
little is lost with a worker."""

MOST_TURNS = 64
"""And it is no less than its share of all, by so many: each costs some milliseconds, to the worker and back."""


def run(client: Client, start: int, size: int, ctl: Ctl, *, retries: int = 0) -> None:
    """``ktask.run(start, size, ctl)`` on the workers of a cluster.

    The thread function is the same as on one machine, a Python callable ``f(start, end, arg)``; it and ``func_arg`` are
    pickled, and what they change in memory changes on a worker. A future as ``func_arg`` stands for its result, which
    is not sent from here: ``client.scatter(data, broadcast=True)``.

    A part that was under way on a worker that is lost is done again, from its beginning: the thread function must be
    such that this does no harm. With ``retries``, one that fails is tried again so often as well.

    Returns None when all is done. Otherwise the first failure is raised, after the other parts have stopped at their
    next chunks, and what was finished has been undone by ``undo_func``: each part by the worker that did it, or if that
    is lost by another. What a lost worker had done of its part is not known, and not undone. Ctrl-C does the same.
    ``ctl.progress`` is called here, as ``progress(done, total)``, when a part is finished.
    """
    plan = _plan_of(ctl)
    if plan.thread.python is None or (plan.undo is not None and plan.undo.python is None):
        raise TypeError(
            "on a cluster the thread and undo functions must be Python callables, which can be sent to its workers; "
            f"not {ctl!r}. Let a Python callable call the C function"
        )
    if plan.iter is not None or plan.trace is not None:
        raise ValueError("iter_func and trace are for one machine; the positions of a cluster's run are numbers")
    start, size = _start_of(start), size_of(size, "size")
    job = _Job(plan.thread.python, plan.min_chunk_size, plan.max_threads, plan.align, _python(plan.undo))
    cut = _Cut(start, start + size, max(plan.min_chunk_size, 1), plan.align or 1)
    with _shown(plan.progress, size) as report:
        _Cluster(client, job, plan.func_arg, retries).do(cut, report)


def reduce(
    client: Client,
    func: Callable[[int, int], T],
    n_or_range: int | range,
    init: R,
    combine: Callable[[R, T], R],
    *,
    deterministic: bool = False,
    min_chunk: int = 1,
    max_threads: int | None = None,
    progress: bool | Callable[[int, int], object] | None = None,
    retries: int = 0,
) -> R:
    """``ktask.reduce(func, n_or_range, init, combine)`` on the workers of a cluster; ``combine`` works here, too.

    With ``deterministic=True`` the result has the same bits for any cluster, and the same as ``ktask.reduce`` has on
    one machine. For lost workers and ``retries`` see ``run``.
    """
    indexes, min_chunk, block = reduction_of(func, n_or_range, combine, min_chunk, deterministic=deterministic)
    n = len(indexes)
    job = _Fold(func, min_chunk, max_threads or 0, block, None, combine, indexes, block)
    with _shown(progress_of(progress), n) as report:
        parts = _Cluster(client, job, None, retries).do(_Cut(0, n, min_chunk, block or 1), report)
    return functools.reduce(combine, (result for part in sorted(parts) for result in part.results), init)


def _start_of(start: object) -> int:
    if isinstance(start, bool) or not isinstance(start, int):
        raise TypeError(f"start must be an int on a cluster, not {type(start).__name__}: {start!r}")
    return start


def _shown(progress: Progress | None, total: int) -> AbstractContextManager[ProgressReport]:
    return nullcontext(lambda done, total: None) if progress is None else progress.shown(total)


def _python(function: Any) -> Any:
    return None if function is None else function.python


# ---- on a worker -----------------------------------------------------------------------------------------------------

_stopped: set[str] = set()


class _StoppedError(Exception):
    """The part was stopped since another one failed."""


@dataclass
class _Job:
    """What is sent to the workers with each part."""

    func: Any
    min_chunk: int
    max_threads: int
    align: int
    undo: Any
    token: str = field(default_factory=lambda: uuid.uuid4().hex, kw_only=True)

    def do(self, start: int, end: int, arg: Any) -> list[Any]:
        """One part. Returns its results, to be combined; a run has none."""
        ctl = Ctl(
            self.func,
            arg,
            self.min_chunk,
            undo_func=self.undo,
            max_threads=self.max_threads or None,
            align=self.align or None,
            progress=self.check,
        )
        self.check(0, end - start)
        ktask.run(start, end - start, ctl)
        return []

    def check(self, done: int, total: int) -> None:
        """Raises when the job has been stopped, but not on the last units."""
        if self.token in _stopped and done < total:
            raise _StoppedError


@dataclass
class _Fold(_Job):
    combine: Any
    indexes: range
    block: int  # 0: not deterministic

    def do(self, start: int, end: int, arg: Any) -> list[Any]:
        options: dict[str, Any] = {"max_threads": self.max_threads or None, "progress": self.check}
        self.check(0, end - start)
        if self.block:
            return ktask.map(
                self.fold, range(start, end, self.block), [end] * -(-(end - start) // self.block), **options
            )
        nothing = object()
        first, step = self.indexes.start, self.indexes.step
        result = ktask.reduce(
            self.func,
            range(first + start * step, first + end * step, step),
            nothing,
            lambda a, b: b if a is nothing else self.combine(a, b),
            min_chunk=self.min_chunk,
            **options,
        )
        return [result]

    def fold(self, start: int, end: int) -> Any:
        first, step = self.indexes.start, self.indexes.step
        return self.func(first + step * start, first + step * min(start + self.block, end))


def _do(job: _Job, start: int, end: int, arg: Any) -> list[Any]:
    return job.do(start, end, arg)


def _undo(job: _Job, start: int, end: int, arg: Any) -> None:
    job.undo(start, end, arg)


def _stop(token: str) -> None:
    _stopped.add(token)


def _free_cpus() -> int:
    return lib.py_max_helpers() + 1


# ---- where the cluster is used ---------------------------------------------------------------------------------------


@dataclass
class _Cut:
    """What is left of a range, from which parts are taken."""

    next: int
    end: int
    least: int
    align: int

    def __post_init__(self) -> None:
        self.total = self.end - self.next

    def take(self, share: float) -> tuple[int, int] | None:
        """The next part, for a worker with this share of the CPUs. None: nothing is left."""
        left = self.end - self.next
        if left <= 0:
            return None
        to = self.next + max(int(left * share / TURNS), int(self.total * share / MOST_TURNS), self.least)
        to = min(to + -to % self.align, self.end)
        if self.end - to < self.least:
            to = self.end
        part, self.next = (self.next, to), to
        return part


@dataclass(order=True)
class _Part:
    start: int
    end: int
    worker: str = field(compare=False)
    results: list[Any] = field(compare=False, default_factory=list)


class _Cluster:
    """One job on the workers of a cluster."""

    def __init__(self, client: Client, job: _Job, arg: Any, retries: int) -> None:
        self.client = client
        self.job = job
        self.arg = arg
        self.retries = count_of(retries, "retries")
        self.cpus: dict[str, int] = {}
        self.under_way: dict[Future[Any], _Part] = {}
        self.finished: list[_Part] = []

    def do(self, cut: _Cut, report: ProgressReport) -> list[_Part]:
        """All of it, or what is finished is undone."""
        total, done = cut.end - cut.next, 0
        if total == 0:
            return []
        arriving = as_completed()  # type: ignore[no-untyped-call]
        try:
            self.hand_out(cut, arriving)
            for future in arriving:
                part = self.take_in(future)
                done += part.end - part.start
                report(done, total)
                self.hand_out(cut, arriving)
        except BaseException as failure:
            self.stop()
            self.undo(failure)
            raise
        return self.finished

    def hand_out(self, cut: _Cut, arriving: Any) -> None:
        """Gives each worker a part that has none."""
        workers = self.workers()
        every = sum(workers.values())
        busy = {part.worker for part in self.under_way.values()}
        for worker, cpus in workers.items():
            if worker in busy:
                continue
            piece = cut.take(cpus / every)
            if piece is None:
                return
            # Elsewhere only if that worker is lost.
            future = self.client.submit(
                _do, self.job, *piece, self.arg, workers=[worker], allow_other_workers=True, pure=False,
                retries=self.retries,
            )  # fmt: skip
            self.under_way[future] = _Part(*piece, worker)
            arriving.add(future)

    def workers(self) -> dict[str, int]:
        """Those that are there now, with the number of CPUs that are free for them."""
        here = _addresses(self.client)
        new = [worker for worker in here if worker not in self.cpus]
        if new:
            self.cpus |= self.client.run(_free_cpus, workers=new, on_error="ignore")
        workers = {worker: self.cpus[worker] for worker in here if worker in self.cpus}
        if not workers and not self.under_way:
            raise RuntimeError(f"the cluster has no workers: {self.client!r}")
        return workers

    def take_in(self, future: Future[Any]) -> _Part:
        """A part that has ended: what it gave is fetched at once, so that it cannot get lost with its worker."""
        part = self.under_way.pop(future)
        part.results = future.result()
        self.finished.append(part)
        return part

    def stop(self) -> None:
        """Lets parts under way end at their next chunks."""
        self.client.run(_stop, self.job.token, on_error="ignore")
        for future in as_completed(list(self.under_way)):  # type: ignore[no-untyped-call]
            try:
                self.take_in(future)
            except Exception:
                continue  # it has undone itself

    def undo(self, failure: BaseException) -> None:
        """Ascending, one after the other."""
        if self.job.undo is None:
            return
        for part in sorted(self.finished):
            try:
                self.client.submit(
                    _undo, self.job, part.start, part.end, self.arg, workers=[part.worker], allow_other_workers=True,
                    pure=False,
                ).result()  # fmt: skip
            except Exception as error:
                add_note(failure, f"{part.start} to {part.end} may not be undone: {error!r}")


def _addresses(client: Client) -> list[str]:
    try:
        described = client.scheduler_info(n_workers=-1)
    except TypeError:  # older ones tell about all anyhow
        described = client.scheduler_info()
    return list(described["workers"])
