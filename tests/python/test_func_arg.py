# SPDX-License-Identifier: BSD-3-Clause
"""What a C function can be given: by its address, kept alive; and what is refused."""

from __future__ import annotations

import array
import ctypes
import gc
import mmap
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from clib import CLib

import ktask

THREAD = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class Pair(ctypes.Structure):
    _fields_ = (("first", ctypes.c_int), ("second", ctypes.c_int))


def address_seen(func_arg: object) -> int | None:
    """What a C function is given for ``func_arg``."""
    seen: list[int | None] = []

    def see(start: int | None, end: int, arg: int | None) -> int:
        seen.append(arg)
        return 0

    ktask.run(0, 1, ktask.Ctl(THREAD(see), func_arg))
    assert len(seen) == 1
    return seen[0]


def start_seen(start: object) -> int | None:
    """What a C function is given for the position ``start``."""
    seen: list[int | None] = []

    def see(start: int | None, end: int, arg: int | None) -> int:
        seen.append(start)
        return 0

    ktask.run(start, 1, ktask.Ctl(THREAD(see)))
    assert len(seen) == 1
    return seen[0]


def test_none_is_null() -> None:
    assert address_seen(None) is None
    assert start_seen(None) is None


@pytest.mark.parametrize("kind", [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int)])
def test_null_pointers_stay_null(kind: Callable[[], object]) -> None:
    assert address_seen(kind()) is None
    assert start_seen(kind()) is None


@pytest.mark.parametrize("number", [0, 1, 2**47, 2**64 - 2])
def test_int_is_an_address(number: int) -> None:
    assert (address_seen(number) or 0) == number
    assert (start_seen(number) or 0) == number


@pytest.mark.parametrize("seen_of", [address_seen, start_seen])
def test_negative_int_is_a_number_in_two_s_complement(seen_of: Callable[[object], int]) -> None:
    assert seen_of(-3) == 2**64 - 3
    assert seen_of(np.int64(-3)) == 2**64 - 3


def buffers() -> dict[str, tuple[object, int]]:
    """Objects, and where their data are."""

    def of_ctypes(thing: Any) -> int:
        return ctypes.addressof(thing)

    def of_buffer(thing: Any) -> int:
        return of_ctypes(ctypes.c_char.from_buffer(thing))

    rows = np.zeros((3, 4))
    columns = np.zeros((3, 4), order="F")
    no_dimension = np.array(7)
    data = bytearray(9)
    numbers = array.array("d", [1, 2])
    memory = mmap.mmap(-1, 4096)
    pair, pairs = Pair(), (Pair * 3)()
    number = ctypes.c_long(8)
    return {
        "C order": (rows, rows.ctypes.data),
        "Fortran order": (columns, columns.ctypes.data),
        "a row": (rows[1], rows[1:].ctypes.data),
        "a column of Fortran's": (columns[:, 1], columns[:, 1:].ctypes.data),
        "no dimension": (no_dimension, no_dimension.ctypes.data),
        "bytearray": (data, of_buffer(data)),
        "memoryview": (memoryview(data)[3:], of_buffer(data) + 3),
        "array.array": (numbers, numbers.buffer_info()[0]),
        "mmap": (memory, of_buffer(memory)),
        "structure": (pair, of_ctypes(pair)),
        "ctypes array": (pairs, of_ctypes(pairs)),
        "ctypes pointer": (ctypes.pointer(pair), of_ctypes(pair)),
        "ctypes void pointer": (ctypes.c_void_p(1234), 1234),
        "ctypes number": (number, of_ctypes(number)),
    }


@pytest.mark.parametrize("kind", buffers())
@pytest.mark.parametrize("seen_of", [address_seen, start_seen])
def test_buffers_are_where_their_data_are(kind: str, seen_of: Callable[[object], int]) -> None:
    thing, address = buffers_of_this_test[kind]
    assert seen_of(thing) == address


buffers_of_this_test = buffers()


@pytest.mark.parametrize("declaration", ["int[5]", "int *", "struct item *"])
def test_cffi_arrays_and_pointers(clib: CLib, declaration: str) -> None:
    thing = clib.ffi.new(declaration)
    assert address_seen(thing) == int(clib.ffi.cast("uintptr_t", thing))
    assert start_seen(thing) == int(clib.ffi.cast("uintptr_t", thing))


def test_an_empty_buffer_has_no_address() -> None:
    assert address_seen(bytearray()) is None
    assert address_seen(np.zeros(0)) is None


def test_the_argument_is_kept_alive(clib: CLib) -> None:
    numbers = np.zeros(100, np.int32)
    alive = weakref.ref(numbers)
    ctl = ktask.Ctl(clib.pointer("add_one"), numbers)
    del numbers
    gc.collect()
    ktask.run(0, 100, ctl)
    kept = alive()
    assert kept is not None
    assert (kept == 1).all()
    del kept, ctl
    gc.collect()
    assert alive() is None


def test_a_bytearray_cannot_be_resized_while_it_is_used() -> None:
    data = bytearray(10)
    ctl = ktask.Ctl(THREAD(lambda start, end, arg: 0), data)
    with pytest.raises(BufferError):
        data.append(1)
    del ctl
    gc.collect()
    data.append(1)


def test_python_callables_get_the_object_itself() -> None:
    thing = object()
    seen: list[object] = []
    ktask.run(0, 3, ktask.Ctl(lambda start, end, arg: seen.append(arg), thing))
    assert all(arg is thing for arg in seen)
    assert seen


def read_only(thing: Any) -> Any:
    thing.flags.writeable = False
    return thing


REFUSED: dict[str, tuple[object, type[Exception], str]] = {
    "bytes": (b"abc", BufferError, "read-only bytes"),
    "read-only array": (read_only(np.zeros(3)), BufferError, "read-only ndarray"),
    "read-only number": (read_only(np.array(5)), BufferError, "read-only ndarray"),
    "read-only memoryview": (memoryview(b"abc"), BufferError, "read-only memoryview"),
    "every other item": (np.zeros(6)[::2], BufferError, r"not contiguous.*strides \(16,\)"),
    "a column": (np.zeros((3, 4))[:, 1], BufferError, r"not contiguous.*shape \(3,\)"),
    "text": ("abc", TypeError, "not str: 'abc'"),
    "float": (1.5, TypeError, r"not float: 1\.5"),
    "list": ([1, 2], TypeError, r"not list: \[1, 2\]"),
    "too large": (2**64, OverflowError, str(2**64)),
    "too negative": (-(2**63) - 1, OverflowError, str(-(2**63) - 1)),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str) -> None:
    thing, error, message = REFUSED[kind]
    function = THREAD(lambda start, end, arg: pytest.fail("called"))
    with pytest.raises(error, match=rf"^func_arg .*{message}"):
        ktask.Ctl(function, thing)
    with pytest.raises(error, match=rf"^start .*{message}"):
        ktask.run(thing, 1, ktask.Ctl(function))


def test_a_cffi_structure_is_refused(clib: CLib) -> None:
    item = clib.ffi.new("struct item *")
    with pytest.raises(TypeError, match=r"func_arg must be a cffi pointer or array, .*addressof"):
        ktask.Ctl(clib.pointer("visit"), item[0])
