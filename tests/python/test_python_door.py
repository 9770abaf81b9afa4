# SPDX-License-Identifier: BSD-3-Clause
"""Python's names: None comes back, or an exception."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest
from clib import CLib
from contract import units
from fresh import fresh

import ktask


def test_run_returns_none() -> None:
    calls: list[tuple[int, int]] = []
    result: Any = ktask.run(5, 20, ktask.Ctl(lambda start, end, arg: calls.append((start, end))))  # type: ignore[func-returns-value]
    assert result is None
    assert units(calls) == list(range(5, 25))


def test_no_units_no_call() -> None:
    ctl = ktask.Ctl(lambda start, end, arg: pytest.fail("called"), undo_func=lambda *a: pytest.fail("called"))
    ktask.run(5, 0, ctl)
    ktask.run_numa([], ctl)
    ktask.run_numa([ktask.Node(0, 0), ktask.Node(9, 0)], ctl)


def test_run_numa_takes_any_iterable() -> None:
    calls: list[tuple[int, int]] = []
    ctl = ktask.Ctl(lambda start, end, arg: calls.append((start, end)))
    ktask.run_numa((ktask.Node(10 * i, 3) for i in range(5)), ctl)
    assert units(calls) == [10 * i + j for i in range(5) for j in range(3)]


def test_task_error_tells_code_and_chunk() -> None:
    failed: list[tuple[int, int]] = []

    def fail(start: int, end: int, arg: object) -> int:
        if not start <= 104 < end:
            return 0
        failed.append((start, end))
        return 9

    with pytest.raises(ktask.TaskError) as raised:
        ktask.run(100, 10, ktask.Ctl(fail))
    error = raised.value
    assert error.code == 9
    assert [(error.start, error.end)] == failed
    assert all(str(number) in str(error) for number in (9, error.start, error.end))


def test_task_error_of_a_c_function(clib: CLib) -> None:
    with pytest.raises(ktask.TaskError) as raised:
        ktask.run(100, 10, ktask.Ctl(clib.pointer("fail_with"), 9, 10))
    assert (raised.value.code, raised.value.start, raised.value.end) == (9, 100, 110)


def test_task_error_has_positions_as_the_iterator_made_them() -> None:
    letters = "abcdefghij"
    ctl = ktask.Ctl(
        lambda start, end, arg: 1 if start == "c" else 0,
        min_chunk_size=2,
        iter_func=lambda letter, n: letters[letters.index(letter) + n],
        max_threads=1,
    )
    with pytest.raises(ktask.TaskError) as raised:
        ktask.run("c", 2, ctl)
    assert (raised.value.start, raised.value.end) == ("c", "e")


def test_task_error_can_be_sent_elsewhere() -> None:
    error = ktask.TaskError(7, start=1, end=5)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.code, copy.start, copy.end) == (7, 1, 5)
    assert copy.args == (7, 1, 5)


def test_node_is_a_value() -> None:
    node = ktask.Node(1, 2)
    assert node == ktask.Node(1, 2, ktask.NUMA_NO_NODE)
    assert dataclasses.astuple(node) == (1, 2, -1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        node.size = 3  # type: ignore[misc]


def test_ctl_shows_its_function() -> None:
    assert "17" in repr(ktask.Ctl(print, min_chunk_size=17))
    assert "print" in repr(ktask.Ctl(print))


@pytest.mark.parametrize("name", ["thread", "undo", "iter"])
def test_a_callable_that_is_false_is_still_called(name: str) -> None:
    fresh(call_falsy, name)


class Falsy:
    """Like a container that is empty, and can be called."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        return 0

    def __call__(self, *args: Any) -> Any:
        self.calls.append(args)
        return args[0] + args[1] if len(args) == 2 else None


def call_falsy(name: str) -> None:
    falsy = Falsy()
    ctl = ktask.Ctl(
        falsy if name == "thread" else (lambda start, end, arg: end == 10),
        undo_func=falsy if name == "undo" else None,
        iter_func=falsy if name == "iter" else None,
        max_threads=1,
    )
    code = ktask.ktask_run(0, 10, ctl)
    assert code == (0 if name == "thread" else 1)
    assert falsy.calls


def test_one_ctl_for_many_runs() -> None:
    calls: list[tuple[int, int]] = []
    ctl = ktask.Ctl(lambda start, end, arg: calls.append((start, end)))
    for i in range(50):
        ktask.run(10 * i, 10, ctl)
    assert units(calls) == list(range(500))
