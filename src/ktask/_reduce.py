# SPDX-License-Identifier: BSD-3-Clause
"""Loops with a result: ``reduce`` and ``map``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from threading import get_ident
from typing import Any, TypeVar

from ktask._convert import count_of, is_python, loop_body_of, size_of
from ktask._run import parallel_for

T = TypeVar("T")
R = TypeVar("R")

MAX_BLOCKS = 1024
"""Of a deterministic reduction: enough for hundreds of threads to share, few beside what combining them costs."""


def reduction_of(
    func: object, n_or_range: int | range, combine: object, min_chunk: int, *, deterministic: bool
) -> tuple[range, int, int]:
    """What a reduction is given, checked: its indexes, the least chunk, and the size of its blocks; 0: it has none."""
    indexes = n_or_range if isinstance(n_or_range, range) else range(size_of(n_or_range, "n_or_range"))
    if not is_python(func):
        raise TypeError(f"func must be a Python callable that returns a result, not {type(func).__name__}: {func!r}")
    loop_body_of(func, takes_arg=False)
    if not callable(combine):
        raise TypeError(f"combine must be a callable of two results, not {type(combine).__name__}: {combine!r}")
    min_chunk = count_of(min_chunk, "min_chunk", least=1)
    return indexes, min_chunk, max(min_chunk, -(-len(indexes) // MAX_BLOCKS)) if deterministic else 0


def reduce(
    func: Callable[[int, int], T],
    n_or_range: int | range,
    init: R,
    combine: Callable[[R, T], R],
    *,
    deterministic: bool = False,
    min_chunk: int = 1,
    max_threads: int | None = None,
    progress: bool | Callable[[int, int], object] | None = None,
) -> R:
    """Folds ``range(n)`` or a range, in chunks on all free CPUs, and combines what they give.

    ``func(start, end)`` returns the result of one chunk; ``combine(a, b)`` puts two together. In effect

        combine(init, func(0, n))

    so ``init`` counts once. ``combine`` must be associative, and commutative too unless the reduction is
    deterministic. It is called by several threads at once, on different results.

    Where rounding matters (sums of floats), the last digits depend on the cut, and so on the number of threads and on
    time; with ``deterministic=True`` they do not: chunks are always the same, and combined in their order, so that any
    machine and any number of threads give the same bits.

    What ``func`` or ``combine`` raises stops the reduction and is raised here.

    >>> import ktask
    >>> ktask.reduce(lambda start, end: sum(range(start, end)), 1001, 0, lambda a, b: a + b)
    500500
    """
    indexes, min_chunk, block = reduction_of(func, n_or_range, combine, min_chunk, deterministic=deterministic)
    n, first, step = len(indexes), indexes.start, indexes.step

    def fold(start: int, end: int) -> T:
        result: T = func(first + step * start, first + step * end)
        return result

    if block:
        blocks: list[Any] = [None] * -(-n // block)

        def do_chunk(start: int, end: int) -> None:
            for i in range(start, end, block):
                blocks[i // block] = fold(i, min(i + block, end))

        options: dict[str, Any] = {"min_chunk": block, "align": block}
    else:
        of_thread: dict[int, Any] = {}

        def do_chunk(start: int, end: int) -> None:
            result: Any = fold(start, end)
            thread = get_ident()
            of_thread[thread] = combine(of_thread[thread], result) if thread in of_thread else result

        options = {"min_chunk": min_chunk}

    functools.update_wrapper(do_chunk, func, assigned=(), updated=())  # what it costs is remembered as func's
    parallel_for(do_chunk, n, max_threads=max_threads, progress=progress, **options)
    return functools.reduce(combine, blocks if block else of_thread.values(), init)


def map(
    func: Callable[..., T],
    *iterables: Iterable[Any],
    min_chunk: int = 1,
    max_threads: int | None = None,
    progress: bool | Callable[[int, int], object] | None = None,
) -> list[T]:
    """Returns ``[func(x, ...) for x, ... in zip(*iterables)]``, computed in chunks on all free CPUs.

    The iterables are read to the end first. The first exception in time is raised, and the results are lost.

    >>> import ktask
    >>> ktask.map(pow, [2, 3, 4], [5, 2, 3])
    [32, 9, 64]
    """
    if not callable(func):
        raise TypeError(f"func must be callable, not {type(func).__name__}: {func!r}")
    if not iterables:
        raise TypeError("map needs an iterable at least")
    arguments = list(zip(*iterables, strict=False))
    results: list[Any] = [None] * len(arguments)

    def do_chunk(start: int, end: int) -> None:
        for i in range(start, end):
            results[i] = func(*arguments[i])

    functools.update_wrapper(do_chunk, func, assigned=(), updated=())
    parallel_for(do_chunk, len(arguments), min_chunk=min_chunk, max_threads=max_threads, progress=progress)
    return results
