# SPDX-License-Identifier: BSD-3-Clause
"""Ranges too large for one machine, cut over the workers of a Dask cluster: ``run`` and ``reduce``.

Each worker does one part at a time, as a run of ktask's with all its CPUs. The parts are cut as they go: a worker that
is done gets the next one, larger where more CPUs are free and smaller towards the end, as ktask does with chunks; first
of what lies on the worker, as ktask does with nodes. Parts of a worker that is lost are done again by another. See
``docs/dask.md``.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

from distributed import Client, Future, as_completed, wait

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

__all__ = ["Block", "reduce", "run", "run_blocks"]

TURNS = 4
"""A part is the worker's share, by its CPUs, of what is left, by so many: so all are done at about the same time, and
little is lost with a worker."""

MOST_TURNS = 64
"""And it is no less than its share of all, by so many: each costs some milliseconds, to the worker and back."""


@dataclass(frozen=True)
class Block:
    """A part of a range whose data is on the cluster: what ``ktask.Node`` is on one machine."""

    start: int
    size: int
    data: Any
    """The thread function's ``arg``: a future, or a collection with some."""


def run(client: Client, start: int, size: int, ctl: Ctl, *, retries: int = 0) -> None:
    """``ktask.run(start, size, ctl)`` on the workers of a cluster.

    The thread function is the same as on one machine, a Python callable ``f(start, end, arg)``; it and ``func_arg`` are
    pickled, and what they change in memory changes on a worker. A future as ``func_arg`` stands for its result, which
    is not sent from here: ``client.scatter(data, broadcast=True)``. Workers that have it get parts first.

    A part that was under way on a worker that is lost is done again, from its beginning: the thread function must be
    such that this does no harm. With ``retries``, one that fails is tried again so often as well.

    Returns None when all is done. Otherwise the first failure is raised, after the other parts have stopped at their
    next chunks, and what was finished has been undone by ``undo_func``: each part by the worker that did it, or if that
    is lost by another. What a lost worker had done of its part is not known, and not undone. Ctrl-C does the same.
    ``ctl.progress`` is called here, as ``progress(done, total)``, when a part is finished.
    """
    job, progress, arg = _job_of(ctl)
    start, size = _start_of(start), size_of(size, "size")
    with _shown(progress, size) as report:
        _Cluster(client, job, retries).do(_Cut(job, [(start, size, arg)]), report)


def run_blocks(client: Client, blocks: Iterable[Block], ctl: Ctl, *, retries: int = 0) -> None:
    """``run`` over the units of all blocks, each with the data of its block as ``arg``, where that is.

    A worker gets parts of those blocks first whose data it has; then, of what is left, of the block with most; so the
    data of that is copied to it. No part crosses from one block to the next. Begins when all data is there.
    """
    job, progress, arg = _job_of(ctl)
    if arg is not None:
        raise ValueError(f"each block has its own data, so func_arg must be None, not {arg!r}")
    cut = _Cut(job, [_piece_of(block) for block in blocks])
    with _shown(progress, cut.total) as report:
        _Cluster(client, job, retries).do(cut, report)


def _job_of(ctl: Ctl) -> tuple[_Job, Progress | None, Any]:
    plan = _plan_of(ctl)
    if plan.thread.python is None or (plan.undo is not None and plan.undo.python is None):
        raise TypeError(
            "on a cluster the thread and undo functions must be Python callables, which can be sent to its workers; "
            f"not {ctl!r}. Let a Python callable call the C function"
        )
    if plan.iter is not None or plan.trace is not None:
        raise ValueError("iter_func and trace are for one machine; the positions of a cluster's run are numbers")
    job = _Job(plan.thread.python, plan.min_chunk_size, plan.max_threads, plan.align, _python(plan.undo))
    return job, plan.progress, plan.func_arg


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
        parts = _Cluster(client, job, retries).do(_Cut(job, [(0, n, None)]), report)
    return functools.reduce(combine, (result for part in sorted(parts) for result in part.results), init)


def _piece_of(block: object) -> tuple[int, int, Any]:
    if not isinstance(block, Block):
        raise TypeError(f"blocks must be ktask.dask.Block, not {type(block).__name__}: {block!r}")
    return _start_of(block.start), size_of(block.size, "size of a block"), block.data


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


class _Data:
    """A block's units that no worker has yet, and what goes with them."""

    def __init__(self, start: int, size: int, arg: Any) -> None:
        self.next, self.end = start, start + size
        self.arg = arg
        self.futures = _futures_in(arg)
        self.on: set[str] = set()  # workers that have, or are being sent, what the futures stand for

    @property
    def left(self) -> int:
        return self.end - self.next


class _Cut:
    """What is left of the blocks, from which parts are taken."""

    def __init__(self, job: _Job, blocks: list[tuple[int, int, Any]]) -> None:
        self.least, self.align = max(job.min_chunk, 1), job.align or 1
        self.blocks = [_Data(*block) for block in blocks]
        self.total = self.left

    @property
    def left(self) -> int:
        return sum(block.left for block in self.blocks)

    def is_at_home(self, worker: str) -> bool:
        """Has the worker data of what is left?"""
        return any(block.left and worker in block.on for block in self.blocks)

    def take(self, worker: str, share: float) -> tuple[_Data, int, int] | None:
        """The next part, for this worker, which has this share of the CPUs. None: nothing is left."""
        some = [block for block in self.blocks if block.left > 0]
        if not some:
            return None
        n = max(int(self.left * share / TURNS), int(self.total * share / MOST_TURNS), self.least)
        block = next((block for block in some if worker in block.on), None) or max(some, key=lambda block: block.left)
        start = block.next
        end = start + n
        end = min(end + -end % self.align, block.end)
        if block.end - end < self.least:
            end = block.end
        block.next = end
        block.on.add(worker)
        return block, start, end


@dataclass(order=True)
class _Part:
    start: int
    end: int
    worker: str = field(compare=False)
    arg: Any = field(compare=False)
    results: list[Any] = field(compare=False, default_factory=list)


class _Cluster:
    """One job on the workers of a cluster."""

    def __init__(self, client: Client, job: _Job, retries: int) -> None:
        self.client = client
        self.job = job
        self.retries = count_of(retries, "retries")
        self.cpus: dict[str, int] = {}
        self.under_way: dict[Future[Any], _Part] = {}
        self.finished: list[_Part] = []

    def do(self, cut: _Cut, report: ProgressReport) -> list[_Part]:
        """All of it, or what is finished is undone."""
        total, done = cut.total, 0
        if total == 0:
            return []
        self.locate(cut)
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

    def locate(self, cut: _Cut) -> None:
        """Where the data is, when it is there."""
        futures = {future.key: future for block in cut.blocks for future in block.futures}
        if not futures:
            return
        wait(list(futures.values()))  # type: ignore[no-untyped-call]
        on = self.client.who_has(list(futures.values()))  # type: ignore[no-untyped-call]
        for block in cut.blocks:
            if block.futures:
                block.on = set.intersection(*(set(on.get(future.key, ())) for future in block.futures))

    def hand_out(self, cut: _Cut, arriving: Any) -> None:
        """Gives each worker a part that has none; first those that have data of what is left."""
        workers = self.workers()
        every = sum(workers.values())
        busy = {part.worker for part in self.under_way.values()}
        idle = [worker for worker in workers if worker not in busy]
        for worker in sorted(idle, key=cut.is_at_home, reverse=True):
            piece = cut.take(worker, workers[worker] / every)
            if piece is None:
                return
            block, start, end = piece
            # Elsewhere only if that worker is lost.
            future = self.client.submit(
                _do, self.job, start, end, block.arg, workers=[worker], allow_other_workers=True, pure=False,
                retries=self.retries,
            )  # fmt: skip
            self.under_way[future] = _Part(start, end, worker, block.arg)
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
                    _undo, self.job, part.start, part.end, part.arg, workers=[part.worker], allow_other_workers=True,
                    pure=False,
                ).result()  # fmt: skip
            except Exception as error:
                add_note(failure, f"{part.start} to {part.end} may not be undone: {error!r}")


def _futures_in(arg: Any) -> list[Future[Any]]:
    """Itself, or what it has."""
    values = arg.values() if isinstance(arg, dict) else arg if isinstance(arg, tuple | list) else [arg]
    return [value for value in values if isinstance(value, Future)]


def _addresses(client: Client) -> list[str]:
    try:
        described = client.scheduler_info(n_workers=-1)
    except TypeError:  # older ones tell about all anyhow
        described = client.scheduler_info()
    return list(described["workers"])
