# SPDX-License-Identifier: BSD-3-Clause
"""Anything that can be a thread, undo or iterator function is one, in all mixtures."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from itertools import product
from typing import Any

import cffi
import numba
import numpy as np
import pytest
from clib import CLib
from numba import carray  # type: ignore[attr-defined]

import ktask
from ktask._convert import loop_body_of

SIZE = 1000

THREAD = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


def add_one(start: int, end: int, numbers: Any) -> int:
    for i in range(start, end):
        numbers[i] += 1
    return 0


class Adder:
    def method(self, start: int, end: int, numbers: Any) -> None:
        add_one(start, end, numbers)

    @classmethod
    def of_class(cls, start: int, end: int, numbers: Any) -> None:
        add_one(start, end, numbers)

    @staticmethod
    def static(start: int, end: int, numbers: Any) -> None:
        add_one(start, end, numbers)

    def __call__(self, start: int, end: int, numbers: Any) -> int:
        add_one(start, end, numbers)
        return 0


def with_more(more: object, start: int, end: int, numbers: Any, *, keyword: int = 1) -> None:
    add_one(start, end, numbers)


PYTHON: dict[str, Callable[..., object]] = {
    "function": add_one,
    "lambda": lambda start, end, numbers: add_one(start, end, numbers) or 0,
    "method": Adder().method,
    "class method": Adder.of_class,
    "static method": Adder.static,
    "object": Adder(),
    "partial": functools.partial(with_more, "more"),
    "any arguments": lambda *args: add_one(*args) or 0,
    "more arguments": lambda start, end, numbers, more=None: add_one(start, end, numbers),
    "numpy integer result": lambda start, end, numbers: np.int64(add_one(start, end, numbers)),
}


@pytest.mark.parametrize("name", PYTHON)
def test_python_callables(name: str) -> None:
    numbers = [0] * SIZE
    ktask.run(0, SIZE, ktask.Ctl(PYTHON[name], numbers))
    assert numbers == [1] * SIZE


def test_a_builtin() -> None:
    with pytest.raises(ktask.TaskError) as raised:
        ktask.run(0, 10, ktask.Ctl(max, 99))
    assert raised.value.code == 99


C_KINDS: dict[str, Callable[[CLib, str], Any]] = {
    "cffi, out of line": lambda clib, name: clib.pointer(name),
    "cffi, opened as a library": lambda clib, name: clib.dlopened(name),
    "cffi, void pointer": lambda clib, name: clib.ffi.cast("void *", clib.pointer(name)),
    "ctypes, of a library": lambda clib, name: clib.ctypes[name],
    "address": lambda clib, name: clib.address(name),
}


@pytest.mark.parametrize("kind", C_KINDS)
def test_c_functions(clib: CLib, kind: str) -> None:
    numbers = np.zeros(SIZE, np.int32)
    ktask.run(0, SIZE, ktask.Ctl(C_KINDS[kind](clib, "add_one"), numbers))
    assert (numbers == 1).all()


@pytest.mark.parametrize("kind", C_KINDS)
def test_c_functions_in_parallel_for(clib: CLib, kind: str) -> None:
    numbers = np.zeros(SIZE, np.int32)
    ktask.parallel_for(C_KINDS[kind](clib, "add_one"), SIZE, arg=numbers)
    assert (numbers == 1).all()


def test_a_ctypes_function_with_declared_types(clib: CLib) -> None:
    function = ctypes.CDLL(str(clib.path)).add_one
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)]
    function.restype = ctypes.c_int
    numbers = np.zeros(SIZE, np.int32)
    ktask.run(0, SIZE, ktask.Ctl(function, numbers))
    assert (numbers == 1).all()


def test_a_ctypes_callback() -> None:
    numbers = [0] * SIZE

    def body(start: int | None, end: int, arg: int) -> int:
        return add_one(start or 0, end, numbers)  # ctypes shows a null pointer as None

    ktask.run(0, SIZE, ktask.Ctl(THREAD(body)))
    assert numbers == [1] * SIZE


def test_a_cffi_callback() -> None:
    ffi = cffi.FFI()
    numbers = [0] * SIZE

    def body(start: Any, end: Any, arg: Any) -> int:
        add_one(int(ffi.cast("intptr_t", start)), int(ffi.cast("intptr_t", end)), numbers)
        return 0

    ktask.run(0, SIZE, ktask.Ctl(ffi.callback("int(void *, void *, void *)", body)))
    assert numbers == [1] * SIZE


@pytest.mark.parametrize("signature", ["int32(int64, int64, voidptr)", "intc(intp, uintp, CPointer(int32))"])
def test_a_numba_function(signature: str) -> None:
    pointer = "CPointer" in signature

    def body(start: int, end: int, arg: Any) -> int:
        numbers = carray(arg, (1000,)) if pointer else carray(arg, (1000,), dtype=np.int32)
        for i in range(start, end):
            numbers[i] += 1
        return 0

    numbers = np.zeros(SIZE, np.int32)
    function = numba.cfunc(signature)(body)
    ktask.run(0, SIZE, ktask.Ctl(function, numbers))
    ktask.parallel_for(function, SIZE, arg=numbers)
    assert (numbers == 2).all()


def test_the_function_is_kept_alive() -> None:
    """The Ctl is the only one to know the callback, whose code would be freed with it."""
    numbers = [0] * SIZE
    ctl = ktask.Ctl(THREAD(lambda start, end, arg: add_one(start or 0, end, numbers)))
    garbage = [THREAD(lambda start, end, arg: 1) for _ in range(100)]
    ktask.run(0, SIZE, ctl)
    assert numbers == [1] * SIZE
    assert len(garbage) == 100


def python_thread(start: int, end: int, record: Any) -> int:
    if start <= 50 < end:
        return 5
    for i in range(start, end):
        record[i] += 1
    return 0


def python_undo(start: int, end: int, record: Any) -> None:
    for i in range(start, end):
        record[i] -= 1


THREAD_KINDS = ["python", "ctypes", "numba"]
UNDO_KINDS = ["python", "ctypes", "cffi"]
ITER_KINDS = ["none", "python", "cffi", "ctypes", "address"]


@pytest.mark.parametrize("kinds", list(product(THREAD_KINDS, UNDO_KINDS, ITER_KINDS)), ids="-".join)
@pytest.mark.parametrize("start", [0, 40])
def test_mixtures(clib: CLib, numba_thread: Any, kinds: tuple[str, str, str], start: int) -> None:
    """All add 1 to the numbers of their chunks and take it away again: some in C, some in Python."""
    thread, undo, iterator = kinds
    numbers = np.zeros(100, np.int32)
    ffi = cffi.FFI()
    calls = {"undo": 0}

    def c_thread(first: int | None, end: int, arg: int) -> int:
        return python_thread(first or 0, end, numbers)

    def c_undo(first: int | None, end: int, arg: int) -> None:
        calls["undo"] += 1
        python_undo(first or 0, end, numbers)

    def cffi_undo(first: Any, end: Any, arg: Any) -> None:
        c_undo(int(ffi.cast("intptr_t", first)), int(ffi.cast("intptr_t", end)), 0)

    def py_undo(first: int, end: int, arg: Any) -> None:
        assert arg is numbers
        c_undo(first, end, 0)

    undo_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    threads = {"python": python_thread, "ctypes": THREAD(c_thread), "numba": numba_thread}
    undos = {
        "python": py_undo,
        "ctypes": undo_type(c_undo),
        "cffi": ffi.callback("void(void *, void *, void *)", cffi_undo),
    }
    iterators: dict[str, Any] = {
        "none": None,
        "python": lambda position, size: position + size,
        "cffi": clib.pointer("position_after"),
        "ctypes": clib.ctypes.position_after,
        "address": clib.address("position_after"),
    }
    # On one thread, which does the first part before it fails in the second.
    ctl = ktask.Ctl(
        threads[thread], numbers, 2, undo_func=undos[undo], iter_func=iterators[iterator], max_threads=1, align=2
    )
    with pytest.raises(ktask.TaskError) as raised:
        ktask.run_numa([ktask.Node(start, 48 - start), ktask.Node(48, 52)], ctl)
    assert raised.value.code == 5
    assert raised.value.start <= 50 < raised.value.end
    assert calls["undo"] >= 1
    assert (numbers == 0).all()


@pytest.fixture(scope="module")
def numba_thread() -> Any:
    def body(start: int, end: int, arg: Any) -> int:
        numbers = carray(arg, (100,), dtype=np.int32)
        if start <= 50 and end > 50:
            return 5
        for i in range(start, end):
            numbers[i] += 1
        return 0

    return numba.cfunc("int32(int64, int64, voidptr)")(body)


@pytest.mark.parametrize("name", ["address", "native_name"])
def test_a_callable_that_only_resembles_a_numba_function(name: str) -> None:
    class Body:
        def __call__(self, start: int, end: int, arg: object) -> None:
            calls.append((start, end))

    calls: list[tuple[int, int]] = []
    body = Body()
    setattr(body, name, 5)
    ktask.run(0, 1, ktask.Ctl(body))
    assert calls == [(0, 1)]


def test_functions_are_known_by_what_they_are() -> None:
    """By which their costs are remembered: not one for all, whatever they take."""

    def one(start: int, end: int) -> None:
        raise AssertionError

    def two(start: int, end: int) -> None:
        raise AssertionError

    def three(start: int, end: int, arg: object) -> None:
        raise AssertionError

    @functools.wraps(one)
    def decorated(start: int, end: int) -> None:
        one(start, end)

    identities = [loop_body_of(f, takes_arg=f is three).identity for f in (one, two, three, decorated)]
    assert len(set(identities)) == 3
    assert identities[0] == identities[3]
