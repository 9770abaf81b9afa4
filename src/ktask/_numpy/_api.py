# SPDX-License-Identifier: BSD-3-Clause
"""NumPy's C interface, as other extension modules find it."""

from __future__ import annotations

import ctypes
from contextvars import ContextVar
from importlib import import_module
from typing import Any

import numpy

from ktask._core import ffi

NUMPY_2 = int(numpy.__version__.partition(".")[0]) >= 2


def api(module: str, capsule: str) -> Any:
    """One of its tables."""
    return ffi.cast("void **", capsule_pointer(getattr(import_module(f"numpy._core.{module}"), capsule), None))


def multiarray() -> Any:
    """The module that allocates."""
    return import_module("numpy._core.multiarray")


def error_state() -> ContextVar[Any]:
    """What ``np.errstate`` changes (NumPy 2)."""
    state: ContextVar[Any] = import_module("numpy._core.umath")._extobj_contextvar
    return state


def capsule_pointer(capsule: Any, name: bytes | None) -> int:
    """What it holds."""
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    pointer: int = pointer_of(capsule, name)
    return pointer
