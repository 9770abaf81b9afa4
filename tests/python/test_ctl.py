# SPDX-License-Identifier: BSD-3-Clause
"""A Ctl may be changed while runs use it: each run goes by what the Ctl was when the run began."""

from __future__ import annotations

import ctypes
import gc
import threading

import pytest
from fresh import fresh
from meeting import meeting_of

import ktask

UNDO = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


def test_a_change_that_fails_changes_nothing() -> None:
    ctl = ktask.Ctl(lambda start, end, arg: None, object())
    undo = UNDO(lambda start, end, arg: None)
    with pytest.raises(TypeError, match="func_arg"):
        ctl.set_undo_func(undo)  # a C function, which can make nothing of that func_arg
    ctl.set_max_threads(1)
    ktask.run(0, 10, ctl)
    assert ktask.last_report().threads == 1


def test_the_core_is_told_what_calls_python() -> None:
    """Whose calls are dear, and made under the GIL: also where only the undo function is Python's."""
    in_c = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(lambda *_: 0)
    ctl = ktask.Ctl(in_c)
    assert (ctl._plan.c.kc_call_ns, ctl._plan.c.kc_shares_lock) == (0, 0)
    ctl.set_undo_func(lambda start, end, arg: None)
    assert ctl._plan.c.kc_call_ns > 0
    assert ctl._plan.c.kc_shares_lock
    of_python = ktask.Ctl(lambda start, end, arg: None)._plan.c
    assert of_python.kc_call_ns > 0
    assert of_python.kc_shares_lock


@pytest.mark.parametrize("value", ["", 0.0, [], ()])
def test_what_is_false_is_no_number(value: object) -> None:
    ctl = ktask.Ctl(lambda start, end, arg: None)
    with pytest.raises(TypeError):
        ctl.set_align(value)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ctl.set_max_threads(value)  # type: ignore[arg-type]


def test_a_run_keeps_the_undo_function_it_began_with() -> None:
    undone: list[str] = []

    def body(start: int, end: int, arg: object) -> int:
        ctl.set_undo_func(None)
        gc.collect()  # nothing but the run holds the undo function now
        others.extend(UNDO(lambda start, end, arg: undone.append("another")) for _ in range(50))
        return 1 if end == 10 else 0

    others: list[object] = []
    numbers = bytearray(8)
    ctl = ktask.Ctl(body, numbers, max_threads=1, undo_func=UNDO(lambda start, end, arg: undone.append("mine")))
    with pytest.raises(ktask.TaskError):
        ktask.run_numa([ktask.Node(0, 5), ktask.Node(5, 5)], ctl)
    assert undone
    assert set(undone) == {"mine"}


def change_during_runs() -> None:
    ctl = ktask.Ctl(lambda start, end, arg: None)
    stop = threading.Event()
    failures: list[BaseException] = []

    def use() -> None:
        try:
            while not stop.is_set():
                ktask.run(1000, 10, ctl)
        except BaseException as error:
            failures.append(error)

    users = [threading.Thread(target=use) for _ in range(3)]
    for user in users:
        user.start()
    for _ in range(2000):
        ctl.set_iter_func(lambda position, size: position + size)
        ctl.set_iter_func(None)
    stop.set()
    for user in users:
        user.join()
    assert not failures, failures


def test_changes_during_runs() -> None:
    fresh(change_during_runs, KTASK_HELPERS="3", KTASK_WAKE_NS="0")


def test_no_limit_of_threads_is_none() -> None:
    ctl = ktask.Ctl(meeting_of(lambda start, end, arg: None), max_threads=1)
    ctl.set_max_threads(None)
    ktask.run(0, 2, ctl)  # two threads meet in it
    ktask.run(0, 2, ktask.Ctl(meeting_of(lambda start, end, arg: None)))
