# SPDX-License-Identifier: BSD-3-Clause
"""A large call of a ufunc that is no single inner loop, made as several calls on slices, side by side.

``calls.h`` finds them. What can be split is plain: NumPy arrays, numbers, and the arguments ``out``, ``where``,
``dtype``, ``casting`` and ``signature``; everything else is left to NumPy, and so is every error: where there is any
doubt, ``split`` returns None, and NumPy makes the call and raises what there is to raise.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

import numpy

from ktask._core import lib
from ktask._run import parallel_for

ROWS = 16
"""The array is cut along its outermost axis of at least that length; or the longest one."""

PLAIN = set("?bBhHiIlLqQefdgFDG")
WEAK = (int, float, complex)
"""Python's numbers take part in promotion by their kind only."""

ARGUMENTS = {"out", "where", "dtype", "casting", "signature"}
SAY_NOTHING: Any = {"divide": "call", "over": "call", "under": "call", "invalid": "call"}


class _Chunks:
    """The calls that one call is made of."""

    def __init__(self, ufunc: numpy.ufunc, operands: list[Any], shape: tuple[int, ...], axis: int, rest: Any) -> None:
        """``operands`` are inputs and outputs, and where= if it is an array, with which ``rest`` is called."""
        self.ufunc = self.__wrapped__ = ufunc  # by which its cost is remembered
        self.operands = operands
        self.rest = rest
        self.row = 1
        for n in shape[:axis] + shape[axis + 1 :]:
            self.row *= n
        self.raised: set[int] = set()
        self._cuts = [_axis_of(o, shape, axis) for o in operands]

    def __call__(self, start: int, end: int) -> None:
        """Does some rows; positions are elements, so that costs are comparable from one array to another."""
        rows = slice(start // self.row, end // self.row)
        slices = [
            o if cut is None else o[(slice(None),) * cut + (rows,)]
            for o, cut in zip(self.operands, self._cuts, strict=True)
        ]
        nargs = self.ufunc.nargs
        kwargs = self.rest if len(slices) == nargs else {**self.rest, "where": slices[nargs]}
        lib.loops_enter()
        try:
            with numpy.errstate(call=self._raised, **SAY_NOTHING):
                self.ufunc(*slices[:nargs], **kwargs)
        finally:
            lib.loops_leave()

    def _raised(self, error: str, flags: int) -> None:
        self.raised.add(flags)  # from any thread

    @property
    def flags(self) -> int:
        """All floating-point flags that were raised."""
        return reduce(or_, self.raised, 0)


def split(ufunc: numpy.ufunc, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, int] | None:
    """Makes the call in chunks.

    Returns its result and the floating-point flags that it raised; None if NumPy is to make it.
    """
    if not ARGUMENTS.issuperset(kwargs) or not ufunc.nin <= len(args) <= ufunc.nargs:
        return None
    inputs = list(args[: ufunc.nin])
    outs = _outs(ufunc, args[ufunc.nin :], kwargs.get("out"))
    where = kwargs.get("where", True)
    masked = where is not True
    if outs is None or not all(map(_is_plain, inputs)) or (masked and not _is_mask(where, outs)):
        return None
    dtypes = _resolve(ufunc, inputs, outs, kwargs)
    if dtypes is None:
        return None
    if not masked and _is_one_loop(inputs, outs, dtypes):
        return None
    try:
        iterator = _iterator([*inputs, *outs, *([where] if masked else [])], ufunc, dtypes)
    except (ValueError, TypeError):
        return None
    shape = iterator.shape
    if iterator.itersize < lib.loops_limits.split_size or any(o is not None and o.shape != shape for o in outs):
        return None
    results = list(iterator.operands[ufunc.nin : ufunc.nargs])
    sources = [a for a in (*inputs, where) if isinstance(a, numpy.ndarray)]
    if any(o is not None for o in outs) and not all(_is_independent(o, sources, results) for o in results):
        return None
    rest = {k: v for k, v in kwargs.items() if k not in {"out", "where"}}
    operands = [*inputs, *results, *([where] if masked else [])]
    axis = _axis(results[0])
    chunks = _Chunks(ufunc, operands, shape, axis, rest)
    parallel_for(
        chunks, iterator.itersize, align=chunks.row, min_chunk=max(lib.loops_limits.split_size // 4, chunks.row)
    )
    return (results[0] if ufunc.nout == 1 else tuple(results)), chunks.flags


def _outs(ufunc: numpy.ufunc, positional: tuple[Any, ...], out: Any) -> list[Any] | None:
    """One for each output, None where NumPy would make it; None if they are nothing to work with."""
    if out is None:
        outs = [*positional, *[None] * (ufunc.nout - len(positional))]
    elif positional:
        return None
    else:
        outs = list(out) if isinstance(out, tuple) else [out]
    if len(outs) != ufunc.nout or not all(o is None or type(o) is numpy.ndarray for o in outs):
        return None
    return outs if all(o is None or (not _overlaps_itself(o) and o.flags.writeable) for o in outs) else None


def _is_plain(value: Any) -> bool:
    if type(value) is numpy.ndarray or isinstance(value, numpy.generic):
        return value.dtype.char in PLAIN
    return type(value) in WEAK


def _is_mask(where: Any, outs: list[Any]) -> bool:
    # Without out, what is not computed is whatever it is, and NumPy says so.
    return type(where) is numpy.ndarray and where.dtype.char == "?" and all(o is not None for o in outs)


def _resolve(ufunc: numpy.ufunc, inputs: list[Any], outs: list[Any], kwargs: dict[str, Any]) -> Any:
    """What types the inner loop is called with; None if NumPy knows of none, or of one that is not plain."""
    types = [type(v) if type(v) in WEAK else v.dtype for v in inputs]
    types += [None if o is None else o.dtype for o in outs]
    given = {k: kwargs[k] for k in ("casting", "signature") if k in kwargs}
    if kwargs.get("dtype") is not None:
        if "signature" in given:
            return None
        given["signature"] = (None,) * ufunc.nin + (numpy.dtype(kwargs["dtype"]),) * ufunc.nout
    try:
        dtypes = ufunc.resolve_dtypes(tuple(types), **given)
    except (TypeError, ValueError):
        return None
    return dtypes if all(d.char in PLAIN for d in dtypes) else None


def _is_one_loop(inputs: list[Any], outs: list[Any], dtypes: Any) -> bool:
    """Will NumPy make one inner loop of it, which ``loops.c`` can cut?"""
    shapes, order = set(), {"C_CONTIGUOUS", "F_CONTIGUOUS"}
    for a, dtype in zip((*inputs, *outs), dtypes, strict=True):
        if a is None or type(a) in WEAK or a.ndim == 0:
            continue
        if a.dtype != dtype or not a.flags.aligned:
            return False
        shapes.add(a.shape)
        order = {o for o in order if a.flags[o] or a.ndim == 1}
    return len(shapes) == 1 and bool(order)


def _iterator(operands: list[Any], ufunc: numpy.ufunc, dtypes: Any) -> Any:
    """NumPy's own way over the operands: it has the shape of the result, and makes outputs as the ufunc would."""
    nin, nargs = ufunc.nin, ufunc.nargs
    flags = [["readonly"]] * nin + [["writeonly", "allocate", "no_broadcast", "no_subtype"]] * ufunc.nout
    flags += [["readonly"]] * (len(operands) - nargs)
    types = [None if o is not None or i < nin else dtypes[i] for i, o in enumerate(operands)]
    nditer: Any = numpy.nditer  # typed too narrowly
    return nditer(operands, ["zerosize_ok", "multi_index"], flags, types, order="K", casting="unsafe")


def _overlaps_itself(out: Any) -> bool:
    """May several elements be the same memory?"""
    needed = out.itemsize
    for step, n in sorted((abs(s), n) for s, n in zip(out.strides, out.shape, strict=True) if n > 1):
        if step < needed:
            return True
        needed = step * n
    return False


def _is_independent(out: Any, sources: list[Any], results: list[Any]) -> bool:
    """Does no slice of ``out`` overlap another slice of anything?"""
    if any(o is not out and numpy.may_share_memory(o, out) for o in results):
        return False
    return all(_same_elements(s, out) or not numpy.may_share_memory(s, out) for s in sources)


def _same_elements(a: Any, b: Any) -> bool:
    return bool(
        a.ctypes.data == b.ctypes.data and a.strides == b.strides and a.shape == b.shape and a.itemsize == b.itemsize
    )


def _axis(result: Any) -> int:
    """The one to cut along."""
    axes = sorted(range(result.ndim), key=lambda i: -abs(result.strides[i]))
    return next((i for i in axes if result.shape[i] >= ROWS), max(axes, key=lambda i: result.shape[i]))


def _axis_of(operand: Any, shape: tuple[int, ...], axis: int) -> int | None:
    """The axis of an operand that is the result's axis; None if it is broadcast along it."""
    if type(operand) is not numpy.ndarray:
        return None
    own = axis - len(shape) + operand.ndim
    return own if own >= 0 and operand.shape[own] != 1 else None
