# SPDX-License-Identifier: BSD-3-Clause
"""Every unit is done once; or the run fails, and exactly what was finished is undone. Whatever the task looks like."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import pytest
from clib import CLib
from contract import Record, check_all_done, check_cut, check_undone, record_of
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from meeting import meet
from numba import carray  # type: ignore[attr-defined]

import ktask

CODE = 42
NIDS = [ktask.NUMA_NO_NODE, *(node["id"] for node in ktask.info()["nodes"])]


@dataclass(frozen=True)
class Task:
    nodes: list[ktask.Node]
    failing: list[int]
    min_chunk: int
    align: int | None
    max_threads: int | None


@st.composite
def tasks(draw: st.DrawFn, *, first: st.SearchStrategy[int], max_size: int = 200, may_fail: bool = True) -> Task:
    """Parts that do not overlap, in any order, some without units; and up to three units that fail."""
    nodes = []
    at = draw(first)
    for _ in range(draw(st.integers(1, 4))):
        at += draw(st.integers(0, 70))
        size = draw(st.integers(0, max_size))
        nodes.append(ktask.Node(at, size, draw(st.sampled_from(NIDS))))
        at += size
    indexes = [unit for n in nodes for unit in range(n.start, n.start + n.size)]
    failing = draw(st.lists(st.sampled_from(indexes), max_size=3)) if indexes and may_fail else []
    return Task(
        draw(st.permutations(nodes)),
        failing,
        draw(st.integers(1, 40) | st.sampled_from([10**6, 2**61])),
        draw(st.none() | st.integers(1, 64) | st.just(4096)),
        draw(st.none() | st.integers(1, 9)),
    )


ANYWHERE = st.integers(-200, 200) | st.sampled_from([0, 10**30, -(10**30)])
IN_MEMORY = st.integers(0, 200) | st.sampled_from([2**40, 2**63 - 10_000])


class Work:
    """A thread and an undo function in Python that record what they are called for."""

    def __init__(self, task: Task, *, raises: bool) -> None:
        self.record = Record()
        self.failing = task.failing
        self.raises = raises

    def __call__(self, start: int, end: int, arg: object) -> int | None:
        time.sleep(0)  # lets others have the GIL
        if any(start <= unit < end for unit in self.failing):
            self.record.failed.append((start, end))
            if self.raises:
                raise LookupError(start)
            return CODE
        self.record.done.append((start, end))
        return None

    def undo(self, start: int, end: int, arg: object) -> None:
        self.record.undone.append((start, end))


def ctl_of(task: Task, thread: object, undo: object, arg: object = None, iterator: object = None) -> ktask.Ctl:
    return ktask.Ctl(
        thread,
        arg,
        task.min_chunk,
        undo_func=undo,
        iter_func=iterator,
        align=task.align,
        max_threads=task.max_threads,
    )


def run(task: Task, ctl: ktask.Ctl) -> Exception | None:
    try:
        if len(task.nodes) == 1 and task.nodes[0].nid == ktask.NUMA_NO_NODE:
            ktask.run(task.nodes[0].start, task.nodes[0].size, ctl)
        else:
            ktask.run_numa(task.nodes, ctl)
    except (ktask.TaskError, LookupError) as error:
        return error
    return None


def check(task: Task, record: Record, error: Exception | None, *, by_offset: bool = False) -> None:
    check_cut(record, task.nodes, task.min_chunk, task.align or 1, by_offset=by_offset)
    assert (error is None) == (not task.failing)
    if error is None:
        check_all_done(record, task.nodes)
        return
    check_undone(record, task.nodes)
    if isinstance(error, ktask.TaskError):
        assert error.code == CODE
        assert (error.start, error.end) in record.failed
    else:
        assert error.args[0] in [start for start, _ in record.failed]


@given(tasks(first=ANYWHERE), st.booleans())
@example(Task([ktask.Node(0, 0)], [], 1, None, None), False)
@example(Task([ktask.Node(7, 100)], [7], 1, 8, None), False)
@example(Task([ktask.Node(7, 100)], [106], 1, None, 1), False)
def test_python_functions(task: Task, raises: bool) -> None:
    work = Work(task, raises=raises)
    error = run(task, ctl_of(task, work, work.undo))
    check(task, work.record, error)


@given(tasks(first=ANYWHERE))
def test_python_functions_with_a_python_iterator(task: Task) -> None:
    work = Work(task, raises=False)
    error = run(task, ctl_of(task, work, work.undo, iterator=lambda position, size: position + size))
    check(task, work.record, error, by_offset=True)


def c_record(clib: CLib, task: Task) -> Any:
    return clib.ffi.new("struct record *", {"fail": task.failing, "nr_fail": len(task.failing), "code": CODE})


@given(task=tasks(first=IN_MEMORY))
def test_c_functions(clib: CLib, task: Task) -> None:
    record = c_record(clib, task)
    error = run(task, ctl_of(task, clib.pointer("record_chunk"), clib.pointer("record_undo"), record))
    check(task, record_of(record), error)


@given(task=tasks(first=st.integers(0, 200)))
def test_c_functions_with_a_c_iterator(clib: CLib, task: Task) -> None:
    record = c_record(clib, task)
    thread, undo, advance = (clib.pointer(name) for name in ("record_chunk", "record_undo", "position_after"))
    error = run(task, ctl_of(task, thread, undo, record, advance))
    check(task, record_of(record), error, by_offset=True)


@given(task=tasks(first=st.integers(0, 200)))
def test_c_functions_with_a_python_iterator(clib: CLib, task: Task) -> None:
    record = c_record(clib, task)
    thread, undo = clib.pointer("record_chunk"), clib.pointer("record_undo")
    error = run(task, ctl_of(task, thread, undo, record, lambda position, size: position + size))
    check(task, record_of(record), error, by_offset=True)


@given(task=tasks(first=IN_MEMORY))
def test_a_c_thread_function_with_a_python_undo_function(clib: CLib, task: Task) -> None:
    record = c_record(clib, task)
    undone: list[tuple[int, int]] = []
    ctl = ctl_of(task, clib.pointer("record_chunk"), lambda start, end, arg: undone.append((start, end)), record)
    error = run(task, ctl)
    check(task, Record(record_of(record).done, record_of(record).failed, undone), error)


@given(task=tasks(first=IN_MEMORY))
def test_a_python_thread_function_with_a_c_undo_function(clib: CLib, task: Task) -> None:
    record = c_record(clib, task)
    work = Work(task, raises=False)
    error = run(task, ctl_of(task, work, clib.pointer("record_undo"), record))
    work.record.undone = record_of(record).undone
    check(task, work.record, error)


@given(task=tasks(first=st.integers(-400, -50), max_size=10))
def test_c_functions_take_negative_numbers(clib: CLib, task: Task) -> None:
    crosses = any(n.start + n.size >= 0 for n in task.nodes)
    if crosses:
        return
    record = c_record(clib, task)
    undone: list[tuple[int, int]] = []
    ctl = ctl_of(task, clib.pointer("record_chunk"), lambda start, end, arg: undone.append((start, end)), record)
    # Alignment counts from 0 as C sees it, that is modulo 2 to the 64th.
    task = Task(task.nodes, task.failing, 1, 1, task.max_threads)
    error = run(task, ctl)
    check(task, Record(record_of(record).done, record_of(record).failed, undone), error)


@pytest.fixture(scope="session")
def numba_mark() -> Any:
    """Adds 1 to each of 100 000 numbers; fails, having undone its own, in the chunk with the number that is 1000."""

    def body(start: int, end: int, arg: Any) -> int:
        numbers = carray(arg, (100_000,), dtype=np.int64)
        for i in range(start, end):
            if numbers[i] >= 1000:
                for j in range(start, i):
                    numbers[j] -= 1
                return CODE
            numbers[i] += 1
        return 0

    return numba.cfunc("int32(int64, int64, voidptr)")(body)


@pytest.fixture(scope="session")
def numba_unmark() -> Any:
    def body(start: int, end: int, arg: Any) -> None:
        numbers = carray(arg, (100_000,), dtype=np.int64)
        for i in range(start, end):
            numbers[i] -= 1

    return numba.cfunc("void(int64, int64, voidptr)")(body)


@pytest.fixture
def make_ctl(numba_mark: Any, numba_unmark: Any) -> Callable[..., ktask.Ctl]:
    def make(numbers: Any, min_chunk: int, **options: Any) -> ktask.Ctl:
        return ktask.Ctl(numba_mark, numbers, min_chunk, undo_func=numba_unmark, **options)

    return make


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 100_000), st.integers(1, 1000), st.integers(1, 512), st.none() | st.integers(1, 9))
def test_numba_functions_mark_each_number_once(
    make_ctl: Callable[..., ktask.Ctl], size: int, min_chunk: int, align: int, max_threads: int | None
) -> None:
    numbers = np.zeros(100_000, np.int64)
    ktask.run(0, size, make_ctl(numbers, min_chunk, align=align, max_threads=max_threads))
    assert (numbers[:size] == 1).all()
    assert (numbers[size:] == 0).all()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 100_000), st.floats(0, 1, exclude_max=True), st.integers(1, 1000))
def test_numba_functions_leave_no_mark_when_they_fail(
    make_ctl: Callable[..., ktask.Ctl], size: int, where: float, min_chunk: int
) -> None:
    numbers = np.zeros(100_000, np.int64)
    failing = int(where * size)
    numbers[failing] = 1000
    with pytest.raises(ktask.TaskError) as raised:
        ktask.run(0, size, make_ctl(numbers, min_chunk))
    assert raised.value.code == CODE
    assert raised.value.start <= failing < raised.value.end
    assert numbers[failing] == 1000
    assert np.count_nonzero(numbers) == 1


def test_threads_do_meet() -> None:
    """Without this, all the tests above could pass one thread after the other."""
    threads: set[int] = set()
    meet(lambda start, end, arg: threads.add(threading.get_ident()))
    assert len(threads) == 2
