# SPDX-License-Identifier: BSD-3-Clause
"""ktask.memory does to large memory what NumPy does to small, and refuses what makes no sense before it touches any."""

from __future__ import annotations

import array
import mmap
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fresh import fresh

from ktask import memory
from ktask._core import lib

SIZES = [0, 1, 1000, memory.SMALL // 8 - 1, memory.SMALL // 8, 300_001]
DTYPES = ["f8", "f4", "i2", "u1", "c16", "?", "M8[s]", "S5", "f8,i4"]


def random(n: int, dtype: str = "f8") -> np.ndarray[Any, Any]:
    kind = np.dtype(dtype)
    if dtype == "?":
        return np.random.default_rng(n).integers(0, 2, n).astype("?")
    return np.frombuffer(np.random.default_rng(n).bytes(n * kind.itemsize), kind).copy()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_clear(n: int, dtype: str) -> None:
    a = random(n, dtype)
    memory.clear(a)
    assert a.tobytes() == bytes(a.nbytes)


VALUES: dict[str, Any] = {
    "f8": 1.5,
    "f4": np.float64(2.25),
    "i2": -3,
    "u1": 7,
    "c16": 1 + 2j,
    "?": True,
    "M8[s]": np.datetime64(5, "s"),
    "S5": b"abc",
    "f8,i4": (1.5, 2),
}


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_fill(n: int, dtype: str) -> None:
    a, b = random(n, dtype), random(n, dtype)
    memory.fill(a, VALUES[dtype])
    b[...] = VALUES[dtype]
    assert (a == b).all()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_copy(n: int, dtype: str) -> None:
    a, b = random(n, dtype), np.zeros(n, dtype)
    memory.copy(b, a)
    assert a.tobytes() == b.tobytes()


def test_other_buffers() -> None:
    for make in (bytearray, lambda data: array.array("B", data), lambda data: memoryview(bytearray(data))):
        buffer: Any = make(b"x" * 100_000)
        memory.fill(buffer, 65)
        assert bytes(buffer) == b"A" * 100_000
        memory.copy(buffer, b"y" * 100_000)
        assert bytes(buffer) == b"y" * 100_000
        memory.clear(buffer)
        assert bytes(buffer) == bytes(100_000)
    with mmap.mmap(-1, 1 << 20) as mapped:
        memory.fill(mapped, 1)
        assert mapped[:] == b"\x01" * (1 << 20)
        memory.prefault(mapped)
        memory.free(mapped)


def test_order_and_axes() -> None:
    f = np.asfortranarray(np.arange(200_000.0).reshape(400, 500))
    to = np.empty_like(f)
    memory.copy(to, f)
    assert (to == f).all()
    memory.fill(f, 3)
    assert (f == 3).all()
    with pytest.raises(ValueError, match="order"):
        memory.copy(np.ascontiguousarray(f), f)


def overlap() -> None:
    a = np.zeros(100)
    memory.copy(a[:60], a[40:])


BAD: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "read-only": (lambda: memory.clear(b"x" * 100_000), BufferError, "read-only"),
    "small read-only": (lambda: memory.clear(b"x"), BufferError, "read-only"),
    "strided": (lambda: memory.clear(np.zeros(100_000)[::2]), BufferError, "not contiguous"),
    "no buffer": (lambda: memory.clear([1, 2, 3]), TypeError, "list"),
    "objects": (lambda: memory.clear(np.array([None] * 10)), TypeError, "objects"),
    "overlap": (overlap, ValueError, "overlap"),
    "sizes": (lambda: memory.copy(np.zeros(5), np.zeros(6)), ValueError, "40 bytes and source 48"),
    "dtypes": (lambda: memory.copy(np.zeros(5), np.zeros(5, "i8")), TypeError, "float64 and source of int64"),
    "value": (lambda: memory.fill(np.zeros(100_000), "x"), ValueError, "x"),
    "small value": (lambda: memory.fill(np.zeros(1), "x"), ValueError, "x"),
    "byte": (lambda: memory.fill(bytearray(10), 256), ValueError, "256"),
    "placement": (lambda: memory.zeros(5, placement="near"), ValueError, "'near'"),  # type: ignore[arg-type]
    "negative shape": (lambda: memory.zeros(-5), ValueError, "negative"),
    "dtype": (lambda: memory.zeros(5, object), TypeError, "objects"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused(name: str) -> None:
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call()


def test_small_read_only_array() -> None:
    a = np.zeros(10)
    a.flags.writeable = False
    for call in (memory.clear, lambda a: memory.fill(a, 1), memory.prefault, memory.pin, memory.free):
        with pytest.raises((BufferError, ValueError), match="read-only"):
            call(a)


@pytest.mark.parametrize("make", [memory.empty, memory.zeros])
@pytest.mark.parametrize("placement", ["local", "interleave", "spread"])
def test_arrays(make: Any, placement: str) -> None:
    for shape, dtype in (((), "f8"), (0, "f8"), (5, "i4"), ((300, 400), "f4"), ((0, 3), "f8"), (1000, "f8,i4")):
        a = make(shape, dtype, placement)
        assert a.dtype == np.dtype(dtype)
        assert a.shape == np.zeros(shape).shape
        assert a.flags.writeable
        assert a.flags.c_contiguous
        assert a.tobytes() == bytes(a.nbytes)


def resident(a: np.ndarray[Any, Any]) -> int:
    """Bytes of it that are there. (Of the mapping that it is in, others may have a part, next to it.)"""
    entries = array.array("Q")
    page = mmap.PAGESIZE
    with open("/proc/self/pagemap", "rb", buffering=0) as pages:
        pages.seek(a.__array_interface__["data"][0] // page * entries.itemsize)
        entries.frombytes(pages.read(a.nbytes // page * entries.itemsize))
    return sum(entry >> 63 for entry in entries) * page


def test_pages_are_there_and_go() -> None:
    a = memory.empty(1 << 20)
    assert resident(a) == 8 << 20
    memory.free(a)
    assert resident(a) == 0
    assert not a.any()
    memory.fill(a, 1)
    assert a.all()
    memory.prefault(a)
    memory.advise_huge(a)
    assert a.all()


def test_pins() -> None:
    def locked() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmLck"))

    a = memory.empty(1 << 16)
    before = locked()
    try:
        memory.pin(a)
    except OSError as error:
        pytest.skip(f"pinning is not allowed here: {error}")
    assert locked() >= before + 512
    with pytest.raises(OSError, match="pinned"):
        memory.free(a)
    memory.unpin(a)
    assert locked() == before


def pin_too_much() -> None:
    import os

    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
    with pytest.raises(OSError, match="ulimit -l"):
        memory.pin(np.zeros(1 << 20))


def test_too_many_pins() -> None:
    fresh(pin_too_much)


def test_several_threads() -> None:
    """Each its own array; nobody's bytes end in another's."""
    arrays = [np.empty(200_000) for _ in range(4)]

    def work(i: int) -> None:
        for _ in range(20):
            memory.fill(arrays[i], i)
            assert (arrays[i] == i).all()
            memory.copy(arrays[i], np.full(200_000, i + 0.5))
            assert (arrays[i] == i + 0.5).all()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((a == i + 0.5).all() for i, a in enumerate(arrays))


def test_small_arrays_of_numbers_are_told_at_once() -> None:
    if not hasattr(lib, "py_arrays_functions") or sys.implementation.name != "cpython":
        pytest.skip("built without threads, or not CPython")
    a, b = np.ones(512), np.zeros((2, 3), order="F")
    memory.fill(a, 1.0)
    called = []
    sys.setprofile(lambda frame, event, _: called.append(frame.f_code.co_name) if event == "call" else None)
    try:
        memory.fill(a, 2.5)
        memory.clear(b)
        memory.copy(a, np.full(512, 3.0).copy())
    finally:
        sys.setprofile(None)
    assert [name for name in called if name in dir(memory)] == ["fill", "clear", "copy"]
    assert set(called) & {"_is_small_array", "_are_alike", "_bytes"} == set()
    assert (a == 3).all()


def test_what_is_told_at_once() -> None:
    quick: Any = memory._Quick
    quick.is_small(np.ones(1))
    if not quick.is_small(np.ones(1)):
        pytest.skip("built without threads, or not CPython")

    class Sub(np.ndarray[Any, Any]):
        pass

    small = [np.ones(()), np.ones((0, 3)), np.ones((3, 4), "F"), np.ones((2, 3), order="F"), np.ones(32767, "G")]
    other: list[Any] = [np.ones(32768, "i1"), np.ones((4, 4))[:, :2], np.ones(4)[::2], np.ones(3).view(Sub)]
    other += [np.ones(3, "O"), np.ones(3, "U1"), np.ones(3, "f8,i4"), np.ones(3, "M8[s]"), np.float64(1), b"abc", None]
    assert [a for a in small if not quick.is_small(a)] == []
    assert [a for a in other if quick.is_small(a)] == []

    a = np.ones((3, 4))
    assert quick.are_alike(a, np.zeros((3, 4)))
    assert quick.are_alike(np.ones(5), np.zeros(5))
    unlike: list[Any] = [a, a[:], np.ones((4, 3)), np.ones((3, 4), order="F"), np.ones((3, 4), "f4"), np.ones(12), [1]]
    assert [b for b in [*unlike, np.ones((3, 4)).view(Sub), np.ones((3, 4), ">f8")] if quick.are_alike(a, b)] == []
    with pytest.raises(IndexError):
        quick.are_alike(a)
