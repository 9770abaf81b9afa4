# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's names: integers come back, as in C."""

from __future__ import annotations

import pytest
from clib import CLib
from contract import record_of, units

import ktask
from ktask import (
    DEFINE_KTASK_CTL,
    KTASK_RETURN_SUCCESS,
    NUMA_NO_NODE,
    Node,
    ktask_ctl_set_align,
    ktask_ctl_set_iter_func,
    ktask_ctl_set_max_threads,
    ktask_ctl_set_undo_func,
    ktask_run,
    ktask_run_numa,
)


def test_constants() -> None:
    assert KTASK_RETURN_SUCCESS == 0
    assert NUMA_NO_NODE == -1


def test_run_returns_success() -> None:
    calls: list[tuple[int, int]] = []
    ctl = DEFINE_KTASK_CTL(lambda start, end, arg: arg.append((start, end)), calls, 4)
    assert ktask_run(10, 90, ctl) == KTASK_RETURN_SUCCESS
    assert units(calls) == list(range(10, 100))


@pytest.mark.parametrize("code", [1, -22, 2**31 - 1, -(2**31) + 2])
def test_run_returns_what_the_function_returned(clib: CLib, code: int) -> None:
    assert ktask_run(0, 5, DEFINE_KTASK_CTL(lambda start, end, arg: arg, code, 1)) == code
    assert ktask_run(0, 5, DEFINE_KTASK_CTL(clib.pointer("fail_with"), code, 1)) == code


def test_run_numa_returns_what_the_function_returned(clib: CLib) -> None:
    nodes = [Node(0, 5, NUMA_NO_NODE), Node(5, 5, ktask.info()["nodes"][0]["id"])]
    assert ktask_run_numa(nodes, DEFINE_KTASK_CTL(clib.pointer("fail_with"), 7, 1)) == 7
    assert ktask_run_numa(nodes, DEFINE_KTASK_CTL(clib.pointer("fail_with"), 0, 1)) == KTASK_RETURN_SUCCESS


def test_setters(clib: CLib) -> None:
    record = clib.ffi.new("struct record *", {"fail": [95], "nr_fail": 1, "code": 3})
    ctl = DEFINE_KTASK_CTL(clib.pointer("record_chunk"), record, 4)
    ktask_ctl_set_undo_func(ctl, clib.pointer("record_undo"))
    ktask_ctl_set_max_threads(ctl, 1)
    ktask_ctl_set_align(ctl, 10)
    ktask_ctl_set_iter_func(ctl, clib.pointer("position_after"))
    assert ktask_run_numa([Node(0, 50), Node(50, 50)], ctl) == 3
    made = record_of(record)
    assert ktask.last_report().threads == 1
    assert all(end % 10 == 0 for _, end in made.done)
    assert units(made.undone) == units(made.done)
    assert set(range(50)) <= set(units(made.done))


def test_setters_take_back(clib: CLib) -> None:
    record = clib.ffi.new("struct record *", {"fail": [95], "nr_fail": 1, "code": 3})
    ctl = ktask.Ctl(clib.pointer("record_chunk"), record, undo_func=clib.pointer("record_undo"), max_threads=1, align=7)
    ktask_ctl_set_undo_func(ctl, None)
    ktask_ctl_set_iter_func(ctl, None)
    ktask_ctl_set_max_threads(ctl, 0)
    ktask_ctl_set_align(ctl, 0)
    assert ktask_run(0, 100, ctl) == 3
    assert record_of(record).undone == []


def test_python_exceptions_are_raised() -> None:
    def fail(start: int, end: int, arg: object) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        ktask_run(0, 5, DEFINE_KTASK_CTL(fail, None, 1))
