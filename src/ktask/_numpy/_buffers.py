# SPDX-License-Identifier: BSD-3-Clause
"""NumPy's arrays get their memory from ``buffers.c``, which keeps that of large ones for the next.

What allocates for NumPy is a matter of context (NEP 49), as a context variable is: a thread that is started meanwhile
has NumPy's own allocator. Each array knows which one its memory is from.
"""

from __future__ import annotations

import ctypes
from contextvars import ContextVar
from functools import cache
from typing import Any

from ktask._core import ffi, lib
from ktask._numpy._api import NUMPY_2, api, capsule_pointer, error_state, multiarray

_entered: ContextVar[tuple[int, Any]] = ContextVar("ktask._numpy._buffers", default=(0, None))
"""How often this context has entered, and the allocator that it had before."""


def enter() -> None:
    """From now on it is ktask's, in this context; unless somebody else has put in another one than NumPy's own.

    Where a context has variables, it is searched for each one that is asked for. Each call of a ufunc asks for the
    state of np.errstate, which Python remembers if it is there, and searches for if it is not: so it is put there.
    """
    times, before = _entered.get()
    if times == 0 and NUMPY_2 and lib.py_max_helpers() > 0:
        before = _exchange(_ours()) if _name() == "default_allocator" else None
        lib.buffers_keep(True)
    _entered.set((times + 1, before))
    if NUMPY_2:
        errors = error_state()
        errors.set(errors.get())


def leave() -> None:
    """As often as it was entered: then it is what it was before."""
    times, before = _entered.get()
    if times == 1 and before is not None and _name() == "ktask":
        _exchange(before)
    _entered.set((max(times - 1, 0), before if times > 1 else None))


def end() -> None:
    """Gives the system what is kept; from now on nothing is."""
    lib.buffers_keep(False)


def _name() -> str:
    name: str = multiarray().get_handler_name()
    return name


def _exchange(allocator: Any) -> Any:
    address = int(ffi.cast("uintptr_t", api("_multiarray_umath", "_ARRAY_API")[304]))  # PyDataMem_SetHandler
    return ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(address)(allocator)


@cache
def _ours() -> Any:
    """The capsule that NumPy knows ktask's allocator by."""
    default = ffi.cast("void **", api("_multiarray_umath", "_ARRAY_API")[306])[0]  # PyDataMem_DefaultHandler
    numpys = ctypes.cast(int(ffi.cast("uintptr_t", default)), ctypes.py_object).value
    huge = multiarray()._get_madvise_hugepage()
    memory = lib.buffers_before(ffi.cast("struct numpy_memory *", capsule_pointer(numpys, b"mem_handler")), huge)
    name_of, new = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_New
    name_of.restype, name_of.argtypes = ctypes.c_void_p, [ctypes.py_object]
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    # A capsule does not copy its name. NumPy's is compared at each allocation, as quickly as it lies in memory.
    return new(int(ffi.cast("uintptr_t", memory)), name_of(numpys), None)
