# SPDX-License-Identifier: BSD-3-Clause
"""Large memory: clear, fill, copy, touch, pin and free it on all free CPUs, and choose its NUMA nodes.

>>> import numpy as np
>>> from ktask import memory
>>> a = memory.zeros((1000, 1000))  # its pages are there, and spread over the NUMA nodes
>>> memory.fill(a, 1.5)
>>> b = np.empty_like(a)
>>> memory.copy(b, a)
>>> float(b[999, 999])
1.5

These are what the Linux kernel's ktask is for, as C functions of the same names (``ktask_memory.h``) and here for NumPy
arrays and all other contiguous writable buffers. The GIL is let go. All may be called from several threads at once;
what two of them do to the same memory is up to the caller. Errors of the system are OSError; nothing has begun when
TypeError, ValueError or BufferError is raised. What is smaller than a mebibyte is dealt with on the spot, by
NumPy itself where it is an array.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from typing import TYPE_CHECKING, Any, Literal

from ktask._core import ffi, lib

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray

__all__ = ["advise_huge", "clear", "copy", "empty", "fill", "free", "pin", "prefault", "unpin", "zeros"]

Placement = Literal["local", "interleave", "spread"]

SMALL = 1 << 20
"""Bytes: an array that is smaller is NumPy's, since one CPU has it in its cache."""

_PLACEMENTS = {
    "local": lib.KTASK_PLACE_LOCAL,
    "interleave": lib.KTASK_PLACE_INTERLEAVE,
    "spread": lib.KTASK_PLACE_SPREAD,
}


def clear(buffer: Any) -> None:
    """Sets all bytes to zero."""
    if _Quick.is_small(buffer) or (_is_small_array(buffer) and buffer.dtype.kind in "iufc"):
        buffer.fill(0)
        return
    data = _writable(buffer, "buffer")
    _check(lib.ktask_memory_clear(data, len(data)), "clear")


def fill(buffer: Any, value: object) -> None:
    """Sets all items to ``value``, as ``array.fill(value)`` does; for a buffer that is no array, its bytes.

    ``value`` is turned into the array's dtype as NumPy does it.
    """
    if _Quick.is_small(buffer) or _is_small_array(buffer):
        buffer.fill(value)
        return
    data = _writable(buffer, "buffer")
    if hasattr(buffer, "dtype"):
        import numpy as np

        item = np.empty(1, buffer.dtype)
        item[0] = value
        pattern = item.tobytes()
    elif isinstance(value, int) and 0 <= value < 256:
        pattern = bytes([value])
    else:
        raise ValueError(f"value must be an int from 0 to 255 for a {type(buffer).__name__}, not {value!r}")
    _check(lib.ktask_memory_fill(data, len(data), pattern, len(pattern)), "fill")


def copy(to: Any, source: Any) -> None:
    """Copies all bytes of ``source``, which is as large and of the same dtype, and does not overlap ``to``."""
    if _Quick.are_alike(to, source) or (_is_small_array(to) and _are_alike(to, source)):
        to[...] = source
        return
    ours, theirs = _writable(to, "to"), _readable(source, "source")
    if len(ours) != len(theirs):
        raise ValueError(f"to has {len(ours)} bytes and source {len(theirs)}; both must have the same size")
    if hasattr(to, "dtype") and hasattr(source, "dtype") and to.dtype != source.dtype:
        raise TypeError(f"to is of {to.dtype} and source of {source.dtype}; use np.copyto to convert")
    if _is_fortran(to) != _is_fortran(source):
        raise ValueError("one of to and source is in C and the other in Fortran order; use np.copyto")
    if len(ours) and _overlap(ours, theirs):
        raise ValueError("to and source overlap")
    _check(lib.ktask_memory_copy(ours, theirs, len(ours)), "copy")


def prefault(buffer: Any) -> None:
    """Has the system provide all pages, so that the first access is as quick as the next. Contents stay."""
    data = _writable(buffer, "buffer")
    _check(lib.ktask_memory_prefault(data, len(data)), "prefault")


def pin(buffer: Any) -> None:
    """Has all pages provided and kept in memory until ``unpin``, as mlock(2) does.

    Where that fails, because of RLIMIT_MEMLOCK (``ulimit -l``) say, nothing of it is pinned afterwards. Pins do not
    nest; they are of whole pages, and end when the memory is unmapped.
    """
    data = _writable(buffer, "buffer")
    _check(lib.ktask_memory_pin(data, len(data)), "pin", "see ulimit -l")


def unpin(buffer: Any) -> None:
    """Takes back ``pin``."""
    data = _writable(buffer, "buffer")
    _check(lib.ktask_memory_unpin(data, len(data)), "unpin")


def advise_huge(buffer: Any) -> None:
    """Asks for huge pages for the memory that was not touched yet, which saves much of the time of touching it."""
    data = _writable(buffer, "buffer")
    _check(lib.ktask_memory_advise_huge(data, len(data)), "advise_huge", "does this kernel have huge pages?")


def free(buffer: Any) -> None:
    """Gives the pages back to the system. The buffer stays, but what is in it is lost: it holds zeros or anything.

    Only whole pages are given back. Pinned ones are refused.
    """
    data = _writable(buffer, "buffer")
    _check(lib.ktask_memory_free(data, len(data)), "free", "is it pinned?")


def empty(shape: int | tuple[int, ...], dtype: DTypeLike = float, placement: Placement = "spread") -> NDArray[Any]:
    """Makes an array whose pages are there already, on NUMA nodes as wanted.

    ``"spread"``: the array is cut along its first axis, a part for each node with CPUs that this thread may use, as
    long as the node's share of them. Runs over ``nodes_of(array)``, and ``parallel_for(..., data=array)``, then have
    each node work on its own memory. ``"local"``: all on the caller's node. ``"interleave"``: in turns, for what all
    threads read everywhere. Where a node is full, its pages lie elsewhere.

    The memory is the system's own (mmap), so small arrays are better made by NumPy; and it is zero, which NumPy's
    ``empty`` is not.
    """
    return _made(shape, dtype, placement)


def zeros(shape: int | tuple[int, ...], dtype: DTypeLike = float, placement: Placement = "spread") -> NDArray[Any]:
    """``empty``, with the promise that all items are zero."""
    return _made(shape, dtype, placement)


def _made(shape: int | tuple[int, ...], dtype: DTypeLike, placement: Placement) -> NDArray[Any]:
    import numpy as np

    if placement not in _PLACEMENTS:
        raise ValueError(f"placement must be one of {', '.join(map(repr, _PLACEMENTS))}, not {placement!r}")
    kind = np.dtype(dtype)
    if kind.hasobject:
        raise TypeError(f"dtype must be of plain data, not of Python objects: {kind}")
    model: np.ndarray[Any, Any] = np.broadcast_to(np.empty((), kind), shape)  # checks the shape
    if model.size * kind.itemsize == 0:
        return np.empty(shape, kind)
    # The pool starts first: the stack of a thread that starts after the mmap lies beside the array, and may have a huge
    # page in common with its beginning, which then cannot be moved any more.
    _check(lib.ktask_memory_place(ffi.NULL, 0, _PLACEMENTS[placement]), "make the array")
    flags = {} if os.name == "nt" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
    memory = mmap.mmap(-1, model.size * kind.itemsize, **flags)
    array: NDArray[Any] = np.frombuffer(memory, kind).reshape(shape)
    data = ffi.from_buffer(memory, require_writable=True)
    _check(lib.ktask_memory_place(data, len(data), _PLACEMENTS[placement]), "make the array")
    return array


# ---- what was handed over ---------------------------------------------------------------------------------------


class _Quick:
    """What tells the commonest small arrays within nanoseconds: arrays.h, from the first call on that finds NumPy.

    NumPy is not imported for it. What is not among them may still be a small array of other kinds.
    """

    is_small: Any = lambda array: _Quick.look() and _Quick.is_small(array)
    are_alike: Any = lambda to, source: _Quick.look() and _Quick.are_alike(to, source)
    looked = False

    @classmethod
    def look(cls) -> bool:
        """Are there others in place of these two now?"""
        numpy: Any = sys.modules.get("numpy")
        if cls.looked or not hasattr(numpy, "ndarray"):
            return False
        cls.looked = True
        if sys.implementation.name != "cpython" or not hasattr(lib, "py_arrays_functions"):
            return False
        address = int(ffi.cast("uintptr_t", lib.py_arrays_functions))
        cls.is_small, cls.are_alike = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(address)(numpy.ndarray)
        return True


def _is_small_array(buffer: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(buffer) is numpy.ndarray and buffer.nbytes < SMALL and bool(buffer.flags.forc)


def _are_alike(a: Any, b: Any) -> Any:
    """Are they two arrays, each with memory of its own, that differ in their numbers only?"""
    if type(a) is not type(b) or a is b or a.base is not None or b.base is not None:
        return False
    dtype, other = a.dtype, b.dtype
    return (dtype is other or dtype == other) and a.shape == b.shape and a.strides == b.strides and not dtype.hasobject


def _is_fortran(buffer: Any) -> bool:
    flags = getattr(buffer, "flags", None)
    return flags is not None and bool(flags.f_contiguous and not flags.c_contiguous)


def _writable(buffer: Any, what: str) -> Any:
    return _bytes(buffer, what, writable=True)


def _readable(buffer: Any, what: str) -> Any:
    return _bytes(buffer, what, writable=False)


def _bytes(buffer: Any, what: str, *, writable: bool) -> Any:
    """The buffer as C's bytes, which keep it alive; or raises what is wrong with it."""
    if _is_fortran(buffer):
        buffer = buffer.T
    dtype: np.dtype[Any] | None = getattr(buffer, "dtype", None)
    if dtype is not None:
        if dtype.hasobject:
            raise TypeError(f"{what} must be of plain data, not of Python objects: its dtype is {dtype}")
        if buffer.flags.c_contiguous and buffer.dtype.kind in "mM":  # dates, which buffers do not know
            buffer = buffer.view("i8")
    try:
        view = memoryview(buffer)
    except (TypeError, ValueError):
        raise TypeError(f"{what} must be an array or a buffer, not {type(buffer).__name__}: {buffer!r}") from None
    if writable and view.readonly:
        raise BufferError(f"{what} is a read-only {type(buffer).__name__}")
    if not view.c_contiguous:
        raise BufferError(
            f"{what} is not contiguous (shape {view.shape}, strides {view.strides}); pass the array it is a part of, "
            "or its parts one by one"
        )
    if view.nbytes == 0:
        return b""
    return ffi.from_buffer(buffer, require_writable=writable)


def _overlap(a: Any, b: Any) -> bool:
    first, second = (int(ffi.cast("uintptr_t", data)) for data in (a, b))
    return first < second + len(b) and second < first + len(a)


def _check(error: int, what: str, hint: str = "") -> None:
    if error:
        raise OSError(-error, f"memory.{what}: {os.strerror(-error)}{f'; {hint}' if hint else ''}")
