# SPDX-License-Identifier: BSD-3-Clause
"""NumPy's ufuncs keep their inner loops in a table: here the table is exchanged for one that leads to ``loops.c``.

A ufunc object has two arrays, ``functions`` and ``data``: whenever it is called for the i-th of its types, NumPy
calls ``functions[i](args, dimensions, steps, data[i])`` (the members of ``PyUFuncObject`` are public; replacing loops is
what ``PyUFunc_ReplaceLoopBySignature`` in NumPy's C interface is for, but that keeps ``data``). Ours have
``loop_call`` and a ``struct loop`` that knows NumPy's own. So everything around the inner loop (types, casting,
broadcasting, ``out``, ``where``, overrides, errors) goes on being NumPy's, and so does the object itself.

Both pointers are exchanged at once, holding the GIL, which NumPy holds when it reads them. Loops that are under way
keep the pointers they began with: what is made here is never freed.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy

from ktask._core import ffi, lib

SIZES = {t: numpy.dtype(t).itemsize for t in "?bBhHiIlLqQefdgFDG"}
INTEGERS = set("?bBhHiIlLqQ")
SUMS = set("fdgFDG")

FAIL_IN_PYTHON = {"power": INTEGERS}
"""Loops that raise Python exceptions from within: in a helper, nobody would see them."""

FOLDED_ANYHOW = {
    **dict.fromkeys(["add", "multiply", "bitwise_and", "bitwise_or", "bitwise_xor"], INTEGERS),
    **dict.fromkeys(["logical_and", "logical_or", "logical_xor"], {"?"}),
    **dict.fromkeys(["minimum", "maximum", "fmin", "fmax"], INTEGERS | set("efdg")),
}
"""Reductions that have the same result however they are cut."""

ABSORBING = {
    **dict.fromkeys(["add", "bitwise_or", "logical_or", "maximum", "fmax"], 1),
    **dict.fromkeys(["multiply", "bitwise_and", "logical_and", "minimum", "fmin"], 0),
}
"""What a reduction of bools ends with once it is there."""


class Table:
    """The loops of one ufunc, NumPy's and ktask's."""

    def __init__(self, ufunc: numpy.ufunc) -> None:
        """Changes nothing yet."""
        self.ufunc = ufunc
        self.c = _c_ufunc(ufunc)
        n = ufunc.ntypes
        self._functions = ffi.new("inner_loop[]", list(self.c.functions[0:n]))
        self._data = ffi.new("void *[]", list(self.c.data[0:n]))
        self._loops = []
        for i, types in enumerate(ufunc.types):
            loop = _loop_for(ufunc, types.replace("->", ""), self._functions[i], self._data[i])
            if loop is not None:
                self._functions[i] = lib.py_loop_call
                self._data[i] = loop
                self._loops.append(loop)
        self._numpys = _pair(self.c.functions, self.c.data)
        self._ktasks = _pair(self._functions, self._data)

    def install(self) -> None:
        """Puts ktask's loops in."""
        _exchange(self.c, self._ktasks)

    def remove(self) -> None:
        """Puts NumPy's loops back."""
        _exchange(self.c, self._numpys)


def tables() -> list[Table]:
    """Those of all of NumPy's ufuncs that ktask can run; none where NumPy is not as ktask knows it."""
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return []
    if not hasattr(lib, "py_loop_call"):  # built without threads
        return []
    ufuncs = {id(f): f for f in vars(numpy).values() if isinstance(f, numpy.ufunc) and f.signature is None}
    if not all(map(_is_known, ufuncs.values())):
        return []
    return [Table(f) for f in ufuncs.values()]


def _loop_for(ufunc: numpy.ufunc, types: str, func: Any, data: Any) -> Any:
    """A loop of ktask's for one of NumPy's; None if it has to stay as it is."""
    name, first = ufunc.__name__, types[0]
    if not func or any(t not in SIZES for t in types) or first in FAIL_IN_PYTHON.get(name, ()):
        return None
    loop = ffi.new("struct loop *", {"func": func, "data": data, "nin": ufunc.nin, "nargs": ufunc.nargs})
    loop.size = [SIZES[t] for t in types]
    loop.type = first.encode()
    loop.absorbing = ABSORBING.get(name, -1) if first == "?" else -1
    loop.fold = lib.FOLD_SERIAL
    if len(set(types)) == 1:
        if first in FOLDED_ANYHOW.get(name, ()):
            loop.fold = lib.FOLD_ANYHOW
        elif name == "add" and first in SUMS:
            loop.fold = lib.FOLD_PAIRWISE
    lib.loop_init(loop)
    return loop


# ---- NumPy's structure ----------------------------------------------------------------------------------------------


def _c_ufunc(ufunc: numpy.ufunc) -> Any:
    return ffi.cast("struct numpy_ufunc *", id(ufunc) + object.__basicsize__)


def _is_known(ufunc: numpy.ufunc) -> bool:
    """Is the structure what we take it for? All that can be seen from Python as well has to agree."""
    c = _c_ufunc(ufunc)
    if (c.nin, c.nout, c.nargs, c.ntypes) != (ufunc.nin, ufunc.nout, ufunc.nargs, ufunc.ntypes):
        return False
    types = ffi.unpack(c.types, ufunc.nargs * ufunc.ntypes)
    numbers = [numpy.dtype(t).num for types in ufunc.types for t in types.replace("->", "")]
    return list(types) == numbers and bool(c.functions) and bool(c.data) and ufunc.nargs <= lib.LOOP_MAX_ARGS


def _pair(functions: Any, data: Any) -> bytes:
    return bytes(ffi.buffer(ffi.new("void *[]", [ffi.cast("void *", functions), ffi.cast("void *", data)])))


def _exchange(c: Any, pair: bytes) -> None:
    members = ffi.addressof(c, "functions")
    ffi.buffer(members, len(pair))[:] = pair  # one copy, holding the GIL
