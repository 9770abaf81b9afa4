# SPDX-License-Identifier: BSD-3-Clause
"""What Python functions raise comes out of the run, after the undo."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
import traceback
import weakref

import pytest
from clib import CLib
from contract import record_of, units
from meeting import meet

import ktask
from ktask import _call
from ktask._core import ffi, lib

THREAD = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class MineError(Exception):
    pass


def notes(exception: BaseException) -> str:
    return "\n".join(getattr(exception, "__notes__", []))


def raise_mine(start: int, end: int, arg: object) -> None:
    raise MineError(start, end)


def test_the_exception_has_the_frames_of_the_function() -> None:
    with pytest.raises(MineError) as raised:
        ktask.run(3, 1, ktask.Ctl(raise_mine))
    assert raised.value.args == (3, 4)
    names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert names[-1] == "raise_mine"
    assert "test_the_exception_has_the_frames_of_the_function" in names


def test_so_has_one_from_a_helper() -> None:
    main = threading.get_ident()

    def body(start: int, end: int, arg: object) -> None:
        if threading.get_ident() != main:
            raise_mine(start, end, arg)

    with pytest.raises(MineError) as raised:
        meet(body)
    assert [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)][-2:] == ["body", "raise_mine"]


def test_undo_comes_first() -> None:
    done: set[int] = set()

    def body(start: int, end: int, arg: object) -> None:
        if start <= 500 < end:
            raise MineError
        done.update(range(start, end))

    def undo(start: int, end: int, arg: object) -> None:
        done.difference_update(range(start, end))

    for _ in range(20):
        with pytest.raises(MineError):
            ktask.run(0, 1000, ktask.Ctl(body, undo_func=undo))
        assert done == set()


def test_several_exceptions() -> None:
    def body(start: int, end: int, arg: object) -> None:
        raise MineError(start)

    with pytest.raises(MineError) as raised:
        meet(body)
    other = MineError(1 - raised.value.args[0])
    assert notes(raised.value) == f"another chunk raised {other!r}"


def test_it_is_the_one_of_the_chunk_that_failed_first() -> None:
    """As C saw it, whichever came to Python first."""

    def body(start: int, end: int, arg: object) -> None:
        raise MineError(start)

    for _ in range(20):
        with pytest.raises(MineError) as raised:
            meet(body)
        assert raised.value.args[0] == int(ffi.cast("uintptr_t", lib.py_last_report().kr_error_start))


def test_the_first_failure_wins() -> None:
    """A helper's chunk fails first, by its result; then the caller's raises."""
    main = threading.get_ident()

    def body(start: int, end: int, arg: object) -> int:
        if threading.get_ident() != main:
            return 5
        while ktask.info()["running_helpers"]:  # until it is gone, and so has failed
            pass
        raise MineError

    with pytest.raises(ktask.TaskError) as raised:
        meet(body)
    assert raised.value.code == 5


def test_no_chunk_starts_after_a_failure() -> None:
    calls = 0

    def body(start: int, end: int, arg: object) -> int:
        nonlocal calls
        calls += 1
        return 1

    with pytest.raises(ktask.TaskError):
        ktask.run(0, 1000, ktask.Ctl(body))
    assert calls <= 8  # one for each thread


@pytest.mark.parametrize("exception", [SystemExit(3), StopIteration(), KeyboardInterrupt(), GeneratorExit()])
def test_any_exception(exception: BaseException) -> None:
    def body(start: int, end: int, arg: object) -> None:
        raise exception

    with pytest.raises(type(exception)) as raised:
        ktask.run(0, 100, ktask.Ctl(body))
    assert raised.value is exception


@pytest.mark.parametrize("result", ["done", 1.0, [], object()])
def test_results_of_a_wrong_type(result: object) -> None:
    with pytest.raises(TypeError, match=f"must return None or an int, not {type(result).__name__}"):
        ktask.run(0, 1, ktask.Ctl(lambda start, end, arg: result))


@pytest.mark.parametrize("result", [2**31, -(2**31), 10**30])
def test_results_that_do_not_fit(result: int) -> None:
    with pytest.raises(OverflowError, match=str(result)):
        ktask.run(0, 1, ktask.Ctl(lambda start, end, arg: result))


def test_true_is_a_failure_and_false_is_none() -> None:
    assert ktask.ktask_run(0, 1, ktask.Ctl(lambda start, end, arg: True)) == 1
    assert ktask.ktask_run(0, 1, ktask.Ctl(lambda start, end, arg: False)) == 0


def test_an_undo_function_that_raises_is_noted() -> None:
    undone: list[tuple[int, int]] = []

    def undo(start: int, end: int, arg: object) -> None:
        undone.append((start, end))
        raise LookupError(start)

    def body(start: int, end: int, arg: object) -> None:
        if start >= 100:
            raise MineError

    ctl = ktask.Ctl(body, undo_func=undo, max_threads=1)
    with pytest.raises(MineError) as raised:
        ktask.run_numa([ktask.Node(0, 50), ktask.Node(50, 50), ktask.Node(100, 50)], ctl)
    assert units(undone) == list(range(100))
    assert all(repr(LookupError(start)) in notes(raised.value) for start, _ in undone)


def test_an_iterator_that_raises() -> None:
    done: list[tuple[int, int]] = []
    undone: list[tuple[int, int]] = []

    def advance(position: int, size: int) -> int:
        if position + size > 50:
            raise MineError(position)
        return position + size

    ctl = ktask.Ctl(
        lambda start, end, arg: done.append((start, end)),
        iter_func=advance,
        undo_func=lambda start, end, arg: undone.append((start, end)),
    )
    for _ in range(20):
        done.clear()
        undone.clear()
        with pytest.raises(MineError):
            ktask.run(0, 100, ctl)
        assert units(done) == units(undone)
        assert len(set(units(done))) == len(units(done))
        assert all(end <= 50 for _, end in done)


def test_an_iterator_that_raises_for_a_c_function(clib: CLib) -> None:
    record = clib.ffi.new("struct record *")

    def advance(position: int, size: int) -> int:
        if position + size > 50:
            raise MineError
        return position + size

    ctl = ktask.Ctl(
        clib.pointer("record_chunk"), record, iter_func=advance, undo_func=clib.pointer("record_undo"), max_threads=3
    )
    with pytest.raises(MineError):
        ktask.run(0, 100, ctl)
    made = record_of(record)
    assert units(made.done) == units(made.undone)
    assert all(end <= 50 for _, end in made.done)


def test_an_iterator_that_makes_no_position_for_a_c_function(clib: CLib) -> None:
    record = clib.ffi.new("struct record *")
    ctl = ktask.Ctl(clib.pointer("record_chunk"), record, iter_func=lambda position, size: "text")
    with pytest.raises(TypeError, match=r"a position must be .*'text'"):
        ktask.run(0, 100, ctl)
    assert record.nr_done == record.nr_failed == 0


def test_exceptions_do_not_keep_the_run_alive() -> None:
    """What a run was given is free again when it is over, also after it failed."""

    class Thing:
        pass

    thing = Thing()
    alive = weakref.ref(thing)
    with contextlib.suppress(MineError):
        ktask.run(0, 10, ktask.Ctl(raise_mine, thing))
    del thing
    gc.collect()
    assert alive() is None


def test_a_failed_run_leaves_no_cycle_of_references() -> None:
    class Argument:
        pass

    argument = Argument()
    gone = weakref.ref(argument)
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(MineError):
            ktask.run(0, 10, ktask.Ctl(raise_mine, argument))
        del argument
        assert gone() is None
    finally:
        gc.enable()


def test_an_interrupt_of_the_undo_function_is_not_lost() -> None:
    def body(start: int, end: int, arg: object) -> None:
        if end == 10:
            raise MineError

    def undo(start: int, end: int, arg: object) -> None:
        raise KeyboardInterrupt

    ctl = ktask.Ctl(body, undo_func=undo, max_threads=1)
    with pytest.raises(KeyboardInterrupt) as raised:
        ktask.run_numa([ktask.Node(0, 5), ktask.Node(5, 5)], ctl)
    assert isinstance(raised.value.__cause__, MineError)


def test_what_came_from_no_chunk_is_told_where_no_chunk_is_to_blame() -> None:
    ktask.run(0, 1, ktask.Ctl(lambda *_: None))  # so that the last report names no chunk that failed
    _call._stray[threading.get_ident()] = KeyError("from no chunk")
    raised: list[tuple[int, BaseException]] = [(4096, LookupError("from a chunk"))]
    failure = _call.failure_of(_call.RAISED, raised, lambda start: start)
    assert repr(failure) == "KeyError('from no chunk')"
    assert failure.__notes__ == ["another chunk raised LookupError('from a chunk')"]
    assert not _call._stray
