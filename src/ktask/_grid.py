# SPDX-License-Identifier: BSD-3-Clause
"""Loops in two dimensions: ``parallel_for_2d``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from ktask._call import TaskError, code_of
from ktask._convert import accepts, count_of, is_python, size_of
from ktask._run import parallel_for
from ktask._trace import Trace


def parallel_for_2d(
    func: object,
    shape: tuple[int, int],
    *,
    tile: tuple[int, int] = (64, 64),
    min_tiles: int = 1,
    undo: object = None,
    max_threads: int | None = None,
    progress: bool | Callable[[int, int], object] | None = None,
    trace: Trace | None = None,
) -> None:
    """Calls ``func(row, row_end, column, column_end)`` for tiles of a ``(rows, columns)`` grid, on all free CPUs.

    Each cell is in exactly one tile; tiles have ``tile`` rows and columns, fewer at the lower and right edges. A tile
    that fits a cache, with what belongs to it, is a good one. ``func`` fails by raising or by returning a non-zero int;
    then ``undo(row, row_end, column, column_end)`` gets every tile that was done. ``min_tiles`` is the least number of
    tiles worth giving to a thread at once; progress, trace and the failure's start and end count in tiles, row by row.
    The other arguments are ``Ctl``'s.

    >>> import ktask
    >>> picture = [[0] * 100 for _ in range(80)]
    >>> def paint(row, row_end, column, column_end):
    ...     for r in range(row, row_end):
    ...         for c in range(column, column_end):
    ...             picture[r][c] = r * c
    >>> ktask.parallel_for_2d(paint, (80, 100), tile=(16, 32))
    >>> picture[79][99]
    7821
    """
    rows, columns = _pair(shape, "shape", least=0)
    high, wide = _pair(tile, "tile", least=1)
    across = -(-columns // wide)
    nr = size_of(-(-rows // high) * across, "the number of tiles")
    do_tile = _tile_function(func, "func")
    undo_tile = None if undo is None else _tile_function(undo, "undo")

    def tiles(first: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        for number in range(first, end):
            row, column = number // across * high, number % across * wide
            yield row, min(row + high, rows), column, min(column + wide, columns)

    def do_tiles(first: int, end: int) -> None:
        done = first
        try:
            for t in tiles(first, end):
                code = code_of(do_tile(*t), True)
                if code:
                    raise TaskError(code, done, done + 1)
                done += 1
        except BaseException:
            undo_tiles(first, done, None)  # a chunk that fails leaves nothing behind
            raise

    def undo_tiles(first: int, end: int, _: object) -> None:
        if undo_tile is not None:
            for t in tiles(first, end):
                undo_tile(*t)

    functools.update_wrapper(do_tiles, do_tile, assigned=(), updated=())  # what it costs is remembered as func's
    parallel_for(
        do_tiles,
        nr,
        min_chunk=count_of(min_tiles, "min_tiles", least=1),
        undo=None if undo_tile is None else undo_tiles,
        max_threads=max_threads,
        progress=progress,
        trace=trace,
    )


def _pair(value: Any, what: str, *, least: int) -> tuple[int, int]:
    try:
        first, second = value
    except (TypeError, ValueError):
        raise TypeError(f"{what} must be a pair of ints, such as (480, 640), not {value!r}") from None
    return size_of(first, f"{what}[0]", least=least), size_of(second, f"{what}[1]", least=least)


def _tile_function(value: object, what: str) -> Callable[..., Any]:
    if not is_python(value):
        raise TypeError(f"{what} must be a Python callable, not {type(value).__name__}: {value!r}")
    if not accepts(value, 4):
        raise TypeError(f"{what} is called with 4 arguments (row, row_end, column, column_end): {value!r}")
    return value
