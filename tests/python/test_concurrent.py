# SPDX-License-Identifier: BSD-3-Clause
"""Runs inside runs, and runs from many threads at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import pytest
from clib import CLib
from contract import units
from numba import carray  # type: ignore[attr-defined]

import ktask

THREADS = 8


def in_threads(function: Any) -> list[Any]:
    """Results of function(0), function(1), ... each in a thread, all started together."""
    together = threading.Barrier(THREADS)

    def call(i: int) -> Any:
        together.wait(60)
        return function(i)

    with ThreadPoolExecutor(THREADS) as executor:
        return list(executor.map(call, range(THREADS)))


def test_nested_runs() -> None:
    calls: list[tuple[int, int]] = []

    def inner(start: int, end: int, arg: object) -> None:
        calls.append((start, end))

    def outer(start: int, end: int, arg: object) -> None:
        for i in range(start, end):
            ktask.run(100 * i, 100, ktask.Ctl(inner))

    ktask.run(0, 50, ktask.Ctl(outer))
    assert units(calls) == list(range(5000))


def test_deeply_nested_runs() -> None:
    counts = [0] * 7

    def body(start: int, end: int, depth: int) -> None:
        for _ in range(start, end):
            counts[depth] += 1
            if depth < 6:
                ktask.run(0, 2, ktask.Ctl(body, depth + 1))

    ktask.run(0, 2, ktask.Ctl(body, 0, max_threads=1))
    for _ in range(20):  # and with as many threads as there are; the counts are not exact then
        ktask.run(0, 2, ktask.Ctl(body, 1))
    assert counts[0] == 2


def test_a_nested_failure_is_the_outer_one_s() -> None:
    outer_undone: list[tuple[int, int]] = []
    inner_undone: list[tuple[int, int]] = []

    def inner(start: int, end: int, arg: object) -> None:
        if end == 20:
            raise LookupError

    def outer(start: int, end: int, arg: object) -> None:
        if start <= 30 < end:
            ctl = ktask.Ctl(inner, undo_func=lambda start, end, arg: inner_undone.append((start, end)), max_threads=1)
            ktask.run_numa([ktask.Node(0, 10), ktask.Node(10, 10)], ctl)

    ctl = ktask.Ctl(outer, undo_func=lambda start, end, arg: outer_undone.append((start, end)), max_threads=1)
    with pytest.raises(LookupError):
        ktask.run_numa([ktask.Node(0, 30), ktask.Node(30, 30)], ctl)
    assert set(range(10)) <= set(units(inner_undone))
    assert 19 not in units(inner_undone)
    assert units(outer_undone) == list(range(30))


def test_runs_in_every_callback() -> None:
    """Iterators, progress and undo functions run tasks of their own, too, some of which fail."""
    runs = {"iterator": 0, "progress": 0, "undo": 0}

    def run_tasks(name: str) -> None:
        calls: list[tuple[int, int]] = []
        ktask.run(0, 20, ktask.Ctl(lambda start, end, arg: calls.append((start, end))))
        assert units(calls) == list(range(20))
        assert ktask.ktask_run(0, 20, ktask.Ctl(lambda start, end, arg: 5)) == 5
        runs[name] += 1

    def advance(position: int, size: int) -> int:
        run_tasks("iterator")
        return position + size

    def undo(start: int, end: int, arg: object) -> None:
        run_tasks("undo")
        undone.append((start, end))

    def body(start: int, end: int, failing: int) -> int:
        if start <= failing < end:
            return 7
        done.append((start, end))
        return 0

    for failing, code in (-1, 0), (59, 7):
        done: list[tuple[int, int]] = []
        undone: list[tuple[int, int]] = []
        ctl = ktask.Ctl(
            body, failing, iter_func=advance, undo_func=undo, progress=lambda done, total: run_tasks("progress")
        )
        assert ktask.ktask_run(0, 60, ctl) == code
        assert units(done) == (units(undone) if code else list(range(60)))
    assert runs["iterator"]
    assert runs["progress"]
    assert runs["undo"] or not done  # nothing else may have been finished when it failed


def test_python_runs_from_many_threads() -> None:
    def many(i: int) -> list[int]:
        calls: list[tuple[int, int]] = []
        for j in range(20):
            ktask.run(100 * j, 100, ktask.Ctl(lambda start, end, arg: calls.append((start, end))))
        return units(calls)

    assert in_threads(many) == [list(range(2000))] * THREADS


def test_threads_share_a_ctl() -> None:
    lock = threading.Lock()
    count = 0

    def body(start: int, end: int, arg: object) -> None:
        nonlocal count
        with lock:
            count += end - start

    ctl = ktask.Ctl(body)

    def many(i: int) -> None:
        for _ in range(20):
            ktask.run(0, 100, ctl)

    in_threads(many)
    assert count == THREADS * 20 * 100


def test_threads_share_a_ctl_of_a_numba_function() -> None:
    def body(start: int, end: int, arg: Any) -> int:
        numbers = carray(arg, (80_000,), dtype=np.int32)
        for i in range(start, end):
            numbers[i] += 1
        return 0

    numbers = np.zeros(80_000, np.int32)
    ctl = ktask.Ctl(numba.cfunc("int32(int64, int64, voidptr)")(body), numbers)

    def many(i: int) -> None:
        for _ in range(100):
            ktask.run(10_000 * i, 10_000, ctl)

    in_threads(many)
    assert (numbers == 100).all()


def test_each_thread_has_its_own_failure(clib: CLib) -> None:
    def fail(i: int) -> list[tuple[int, int]]:
        ctl = ktask.Ctl(clib.pointer("fail_with"), i + 1)
        python = ktask.Ctl(lambda start, end, arg: i + 1)
        return [(ktask.ktask_run(0, 50, ctl), ktask.ktask_run(0, 50, python)) for _ in range(20)]

    assert in_threads(fail) == [[(i + 1, i + 1)] * 20 for i in range(THREADS)]


def test_each_thread_has_its_own_exception() -> None:
    def fail(i: int) -> None:
        def body(start: int, end: int, arg: object) -> None:
            raise LookupError(i)

        for _ in range(20):
            with pytest.raises(LookupError) as raised:
                ktask.run(0, 50, ktask.Ctl(body))
            assert raised.value.args == (i,)

    in_threads(fail)
