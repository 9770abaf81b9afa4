# SPDX-License-Identifier: BSD-3-Clause
"""A run that is known to be short is one plain call of the Python function; anything out of the ordinary is not."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

import ktask
from ktask._core import lib

ENOUGH = 1000  # runs, if the machine is busy and some of them seem long


class Body:
    """Notes who called it, and returns what it is told to."""

    def __init__(self) -> None:
        self.direct = False
        self.result: object = None

    def __call__(self, start: int, end: int, arg: object = None) -> object:
        self.direct = sys._getframe(1).f_code.co_name == "_run_directly"
        return self.result


bodies = [Body() for _ in range(20)]  # work is known by its place in memory: theirs is nobody else's


def known_to_be_short(run: Callable[[Body], None]) -> Body:
    """One that such runs do call directly."""
    body = bodies.pop()
    for _ in range(ENOUGH):
        run(body)
        if body.direct:
            return body
    pytest.fail("short runs are not called directly")


def loop(body: Body) -> None:
    ktask.parallel_for(body, 3)


def test_the_first_run_is_not_and_then_they_are() -> None:
    body = bodies.pop()
    loop(body)
    assert not body.direct
    assert known_to_be_short(loop)
    assert known_to_be_short(lambda body: ktask.run(5, 3, ktask.Ctl(body)))


def test_a_failure() -> None:
    body = known_to_be_short(loop)
    body.result = 7
    with pytest.raises(ktask.TaskError) as raised:
        ktask.parallel_for(body, range(10, 16, 2))
    assert body.direct
    assert (raised.value.code, raised.value.start, raised.value.end) == (7, 10, 16)


def test_what_it_costs_is_remembered() -> None:
    body = known_to_be_short(loop)
    known = ktask._convert.loop_body_of(body, takes_arg=False).identity
    for _ in range(ENOUGH):
        begin = time.perf_counter_ns()
        loop(body)
        took = time.perf_counter_ns() - begin
        if body.direct:
            assert 0 < lib.py_recall(known, 3, 1) * 3 <= 2 * took + 100
            break
        assert took > 0
    lib.py_remember(known, 3, 1, 10**9, 0)
    lib.py_remember(known, 3, 1, 10**9, 0)
    loop(body)
    assert not body.direct  # now it is known to be long


@pytest.mark.parametrize("options", [{"progress": lambda done, total: None}, {"trace": ktask.Trace()}])
def test_who_looks_on_sees_it_all_the_same(options: dict[str, Any]) -> None:
    body = known_to_be_short(loop)
    ktask.parallel_for(body, 3, **options)
    assert not body.direct


def test_an_iterator_is_asked() -> None:
    body = known_to_be_short(loop)
    ktask.run(5, 3, ktask.Ctl(body, iter_func=lambda position, size: position + size))
    assert not body.direct


@pytest.mark.parametrize("wrong", [0, 1.0])
def test_what_makes_no_sense_is_refused(wrong: Any) -> None:
    body = known_to_be_short(loop)
    with pytest.raises((TypeError, ValueError), match="min_chunk"):
        ktask.parallel_for(body, 3, min_chunk=wrong)
