# SPDX-License-Identifier: BSD-3-Clause
"""reduce and map do what functools.reduce and the builtin map do; deterministic reductions to the last bit."""

from __future__ import annotations

import math
import operator
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ktask

STEPS = st.integers(-50, 50).filter(bool)
RANGES = st.builds(range, st.integers(-300, 300), st.integers(-300, 300), STEPS)


@given(RANGES, st.booleans(), st.integers(1, 20), st.none() | st.integers(1, 9))
def test_every_number_is_folded_once(indexes: range, deterministic: bool, min_chunk: int, threads: int | None) -> None:
    folded: list[int] = ktask.reduce(
        lambda start, end: list(range(start, end, indexes.step)),
        indexes,
        [],
        operator.add,
        deterministic=deterministic,
        min_chunk=min_chunk,
        max_threads=threads,
    )
    assert sorted(folded) == sorted(indexes)
    if deterministic:
        assert folded == list(indexes)


@pytest.mark.parametrize("deterministic", [False, True])
def test_init_counts_once(deterministic: bool) -> None:
    def count(start: int, end: int) -> int:
        return end - start

    assert ktask.reduce(count, 5000, 1000, operator.add, deterministic=deterministic) == 6000
    assert ktask.reduce(count, 0, 1000, operator.add, deterministic=deterministic) == 1000


SUM = """
import ktask
def harmonic(start, end):
    total = 0.0
    for i in range(start, end):
        total += 1.0 / (i + 1)
    return total
for threads in {threads}:
    print(ktask.reduce(harmonic, 30_011, 0.0, float.__add__, deterministic=True, max_threads=threads).hex())
"""


def test_the_same_bits_for_1_to_64_threads() -> None:
    """With 63 helpers, whatever the CPUs; and in a process without any."""
    results = set()
    for helpers, threads in ("63", [1, 2, 3, 5, 8, 16, 33, 64] * 2), ("0", [1]):
        environment = {**os.environ, "KTASK_HELPERS": helpers, "KTASK_WAKE_NS": "0"}
        command = [sys.executable, "-c", SUM.format(threads=threads)]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert len(out.split()) == len(threads)
        results |= set(out.split())
    assert len(results) == 1
    assert math.isclose(float.fromhex(results.pop()), math.fsum(1 / (i + 1) for i in range(30_011)))


@pytest.mark.parametrize("deterministic", [False, True])
def test_what_is_raised_comes_out(deterministic: bool) -> None:
    def fold(start: int, end: int) -> int:
        if start <= 77 < end:
            raise LookupError(77)
        return 0

    with pytest.raises(LookupError, match="77"):
        ktask.reduce(fold, 1000, 0, operator.add, deterministic=deterministic)
    with pytest.raises(ZeroDivisionError):
        ktask.reduce(lambda start, end: 0, 1000, 0, operator.floordiv, deterministic=deterministic)


@pytest.mark.parametrize(
    ("func", "combine", "message"),
    [
        (None, operator.add, "func must be a Python callable"),
        (5, operator.add, "func must be a Python callable"),
        (lambda start: 0, operator.add, "called with 2 arguments"),
        (lambda start, end: 0, None, "combine must be a callable"),
    ],
)
def test_wrong_functions_are_refused(func: Any, combine: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        ktask.reduce(func, 10, 0, combine)


@pytest.mark.parametrize("deterministic", [False, True])
def test_wrong_sizes_are_refused(deterministic: bool) -> None:
    def fold(start: int, end: int) -> int:
        raise AssertionError("work has begun")

    with pytest.raises(ValueError, match="min_chunk must be at least 1"):
        ktask.reduce(fold, 10, 0, operator.add, deterministic=deterministic, min_chunk=0)
    with pytest.raises(ValueError, match="n_or_range must be at least 0"):
        ktask.reduce(fold, -1, 0, operator.add, deterministic=deterministic)
    with pytest.raises(TypeError, match="n_or_range must be an int"):
        ktask.reduce(fold, 1.5, 0, operator.add, deterministic=deterministic)  # type: ignore[arg-type]


@given(st.lists(st.integers()), st.lists(st.integers()))
def test_map_is_the_builtin_one(a: list[int], b: list[int]) -> None:
    assert ktask.map(operator.add, a, b) == list(map(operator.add, a, b))
    assert ktask.map(abs, iter(a)) == list(map(abs, a))


def test_map_raises_what_the_function_raises() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        ktask.map(int, ["1", "2", "x"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((None, [1]), "func must be callable"), ((abs,), "needs an iterable"), ((abs, 5), "not iterable|must support")],
)
def test_map_refuses(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        ktask.map(*arguments)


def test_costs_are_remembered_by_the_function() -> None:
    """The wrappers have one code for all; what runs next has to be known by what it wraps."""
    calls: list[Callable[..., int]] = []

    def quick(x: int) -> int:
        calls.append(quick)
        return x

    def quick_too(x: int) -> int:
        calls.append(quick_too)
        return x

    from ktask._core import lib

    ktask.map(quick, range(100))
    assert lib.py_recall(id(quick.__code__), 100, 1) > 0
    assert lib.py_recall(id(quick_too.__code__), 100, 1) == 0
    ktask.map(quick_too, range(100))
    assert lib.py_recall(id(quick_too.__code__), 100, 1) > 0
    assert len(calls) == 200
