# SPDX-License-Identifier: BSD-3-Clause
"""parallel_for does what a for loop does, for all kinds of ranges."""

from __future__ import annotations

import time
from typing import Any

import pytest
from contract import units
from hypothesis import given
from hypothesis import strategies as st

import ktask

STEPS = st.integers(-50, 50).filter(bool)
ENDS = st.integers(-300, 300)


def indexes_done(indexes: int | range, **options: Any) -> list[int]:
    step = indexes.step if isinstance(indexes, range) else 1
    chunks: list[range] = []
    ktask.parallel_for(lambda start, end: chunks.append(range(start, end, step)), indexes, **options)
    assert all(chunks)
    return sorted(i for chunk in chunks for i in chunk)


@given(st.builds(range, ENDS, ENDS, STEPS), st.integers(1, 20), st.none() | st.integers(1, 9))
def test_ranges(indexes: range, min_chunk: int, max_threads: int | None) -> None:
    assert indexes_done(indexes, min_chunk=min_chunk, max_threads=max_threads) == sorted(indexes)


@given(st.integers(0, 1000))
def test_numbers(n: int) -> None:
    assert indexes_done(n) == list(range(n))


@pytest.mark.parametrize(
    "indexes",
    [
        range(10**30, 10**30 + 100),
        range(-(10**30), -(10**30) + 100),
        range(2**63 - 50, 2**63 + 50),
        range(2**64 - 50, 2**64 + 50),
        range(10**30, -(10**30), -(10**28)),
    ],
)
def test_huge_numbers(indexes: range) -> None:
    assert indexes_done(indexes) == sorted(indexes)


@pytest.mark.parametrize("result", [None, 0, "text", 1.5, [], object()])
def test_results_are_ignored(result: object) -> None:
    calls: list[tuple[int, int]] = []

    def body(start: int, end: int) -> object:
        calls.append((start, end))
        return result

    ktask.parallel_for(body, 10)
    assert units(calls) == list(range(10))


def test_an_int_other_than_0_is_a_failure() -> None:
    with pytest.raises(ktask.TaskError) as raised:
        ktask.parallel_for(lambda start, end: 4, 10)
    assert raised.value.code == 4


def test_an_exception_is_raised() -> None:
    def body(start: int, end: int) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        ktask.parallel_for(body, 10)


def test_a_failure_in_a_range_with_steps() -> None:
    """The chunk is told, and undone is what was done, in the range's own numbers."""
    indexes = range(300, 0, -3)
    done: set[int] = set()

    def body(start: int, end: int) -> int:
        if 150 in range(start, end, -3):
            return 1
        done.update(range(start, end, -3))
        return 0

    def undo(start: int, end: int, arg: object) -> None:
        undone = set(range(start, end, -3))
        assert undone <= done
        done.difference_update(undone)

    with pytest.raises(ktask.TaskError) as raised:
        ktask.parallel_for(body, indexes, undo=undo)
    assert 150 in range(raised.value.start, raised.value.end, -3)
    assert done == set()


def test_an_argument() -> None:
    seen: list[object] = []
    ktask.parallel_for(lambda start, end, arg: arg.append(arg), 3, arg=seen)
    assert seen
    assert all(arg is seen for arg in seen)


def test_a_default_of_the_function_s_own_stays() -> None:
    """As in ``lambda start, end, i=i: ...``, written in loops all the time."""
    seen: list[int] = []
    for i in range(3):
        ktask.parallel_for(lambda start, end, i=i: seen.append(i), 1)
    assert seen == [0, 1, 2]


def test_alignment_and_limits() -> None:
    calls: list[tuple[int, int]] = []
    ktask.parallel_for(
        lambda start, end: calls.append((start, end)), range(5, 100), align=8, min_chunk=3, max_threads=2
    )
    assert units(calls) == list(range(5, 100))
    assert all(end % 8 == 0 or end == 100 for _, end in calls)
    assert ktask.last_report().threads <= 2


def test_a_range_longer_than_any_task() -> None:
    with pytest.raises(OverflowError):
        ktask.parallel_for(lambda start, end: pytest.fail("called"), range(10**30))


def test_work_that_varies_is_not_taken_for_short_time_and_again() -> None:
    """Every other run sleeps. A short one may put that down as forgotten, one time in eight."""
    nap = 0.0

    def work(start: int, end: int) -> None:
        time.sleep(nap * (end - start))

    for _ in range(100):
        nap = 0.0
        ktask.parallel_for(work, 50)
        nap = 0.001
        ktask.parallel_for(work, 50)
        if ktask.last_report().chunks > 1:
            return
    raise AssertionError("all of them were single chunks")
