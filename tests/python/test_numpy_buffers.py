# SPDX-License-Identifier: BSD-3-Clause
"""The memory of large NumPy arrays is kept for the next ones, while ktask accelerates NumPy."""

from __future__ import annotations

import contextvars
import ctypes
import os
import threading
from typing import Any

import numpy
import pytest

import ktask
from ktask._core import ffi, lib
from ktask._numpy import _buffers
from ktask._numpy._api import NUMPY_2, api, capsule_pointer

np: Any = numpy

pytestmark = pytest.mark.skipif(
    not hasattr(lib, "py_loop_call") or not NUMPY_2 or lib.py_max_helpers() == 0,
    reason="built without threads, NumPy 1, or one CPU",
)

N = 5_000_000
BLOCK = 40 << 20  # N doubles, in whole huge pages


def handler() -> str:
    name: str = np._core.multiarray.get_handler_name()
    return name


def address(a: Any) -> int:
    data: int = a.__array_interface__["data"][0]
    return data


def test_memory_is_used_again() -> None:
    with ktask.accelerate_numpy():
        assert handler() == "ktask"
        x = np.full(N, 1.0)
        first = address(x)
        y = x + x
        del x
        x = y + y
        assert address(x) == first
        assert (x == 4).all()
        assert np.zeros(N).max() == 0
    assert handler() == "default_allocator"


def test_what_is_kept_is_given_back_when_the_last_block_is_left() -> None:
    with ktask.accelerate_numpy():
        with ktask.accelerate_numpy():
            for _ in range(3):
                np.exp(np.full(N, 1.0))
        assert lib.buffers_drop() >= BLOCK
        np.exp(np.full(N, 1.0))
    assert lib.buffers_drop() == 0


def test_arrays_outlive_the_block() -> None:
    with ktask.accelerate_numpy():
        x = np.arange(N)
    x.resize(2 * N, refcheck=False)
    x.resize(N // 2, refcheck=False)
    assert (x == np.arange(N // 2)).all()
    del x
    assert lib.buffers_drop() == 0  # nothing is kept any more


def test_each_context_has_its_own() -> None:
    seen = {}

    def look() -> None:
        seen["new"] = handler()
        with ktask.accelerate_numpy():
            seen["inside"] = handler()
        seen["after"] = handler()

    with ktask.accelerate_numpy():
        thread = threading.Thread(target=contextvars.Context().run, args=(look,))
        thread.start()
        thread.join()
        copy = contextvars.copy_context()
    assert seen == {"new": "default_allocator", "inside": "ktask", "after": "default_allocator"}
    assert copy.run(handler) == "ktask"  # as it was when it was copied


def test_another_allocator_is_left_alone() -> None:
    memory = ffi.new("struct numpy_memory *")
    default = ffi.cast("void **", api("_multiarray_umath", "_ARRAY_API")[306])[0]
    capsule = ctypes.cast(int(ffi.cast("uintptr_t", default)), ctypes.py_object).value
    numpys = ffi.cast("struct numpy_memory *", capsule_pointer(capsule, b"mem_handler"))
    ffi.buffer(memory)[:] = ffi.buffer(numpys)
    memory.name = b"somebody's"
    _buffers._ours()  # declares PyCapsule_New
    name = ctypes.c_char_p(b"mem_handler")
    theirs = ctypes.pythonapi.PyCapsule_New(int(ffi.cast("uintptr_t", memory)), name, None)
    before = _buffers._exchange(theirs)
    try:
        with ktask.accelerate_numpy():
            assert handler() == "somebody's"
        assert handler() == "somebody's"
    finally:
        _buffers._exchange(before)


def test_after_fork() -> None:
    with ktask.accelerate_numpy():
        np.exp(np.full(N, 1.0))
        pid = os.fork()
        if pid == 0:
            x = np.full(N, 2.0)
            os._exit(0 if ((x + x) == 4).all() else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert (np.full(N, 3.0) == 3).all()
