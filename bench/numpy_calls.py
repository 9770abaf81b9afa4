# SPDX-License-Identifier: BSD-3-Clause
"""Measures single calls of NumPy's with and without ktask: python bench/numpy_calls.py [--quick] [--small] [--csv FILE]

Once on an idle machine, and once while a process is busy for each CPU but one; calls on small arrays (--small: only
those) on an idle one only. Plain NumPy and accelerate_numpy() take turns in this process. A figure is how many times as
fast a turn of ktask's is as the turn of NumPy's before or after it; all calls of a turn count, also those in which a
helper was in somebody's way.

What is entered stays in a context (contextvars) of its own: Python finds NumPy's state more quickly where nobody has
ever written to a context, and NumPy is to have that.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from functools import partial
from pathlib import Path
from time import perf_counter
from timeit import Timer
from typing import Any

import numpy as np
from calls import CPUS, Run

from ktask import accelerate_numpy

SIZES = (10**4, 10**5, 10**6, 10**7)
LARGE = SIZES[-1:]
CALLS: dict[str, tuple[int, ...]] = {  # of so many elements: see operands()
    "exp(x)": SIZES,
    "sin(x)": SIZES,
    "x + x": SIZES,
    "x * y + x": LARGE,
    "-x": LARGE,
    "sqrt(x)": LARGE,
    "exp(x, out=y)": LARGE,
    "add(x, x, out=y)": LARGE,
    "exp(i)": LARGE,
    "exp(x, out=y, where=mask)": LARGE,
    "f + x": LARGE,
    "matrix - row": LARGE,
    "add.outer(column, row)": LARGE,
    "matrix + fortran": LARGE,
    "argmax(x)": LARGE,
    "argmax(i)": LARGE,
}
SMALL_SIZES = (1, 10, 100, 1000)
SMALL_CALLS = (
    *("x + y", "x + 1.5", "x < y", "add(x, y)", "multiply(x, y, out=z)", "sqrt(x)", "exp(x)", "sum(x)", "x.max()"),
    *("square + square", "square + row"),
)
COLUMNS = 1000
TURN = 0.05
"""A turn of each takes so many seconds, and two calls at least."""
SMALL_TURN = 3000
"""Calls."""
SMALL_ROUNDS = 41
HOG = "import ctypes, signal; ctypes.CDLL(None).prctl(1, signal.SIGKILL)\nwhile True: pass"

Row = tuple[int, str, int, str, float, float]


def operands(n: int) -> dict[str, Any]:
    """What calls may name."""
    x = np.linspace(0.5, 9.5, n)
    matrix = np.ones((n // COLUMNS, COLUMNS))
    return {
        "x": x,
        "y": x[::-1].copy(),
        "i": np.arange(n) % 10,
        "f": x.astype(np.float32),
        "mask": np.arange(n) % 2 == 0,
        "matrix": matrix,
        "fortran": np.asfortranarray(matrix),
        "row": np.arange(COLUMNS) / 10.0,
        "column": np.arange(n // COLUMNS) / 10.0,
    }


def small_operands(n: int) -> dict[str, Any]:
    """The same for small ones: vectors of n elements, and a matrix of about as many."""
    x, side = np.linspace(0.5, 9.5, n), round(n**0.5)
    square = np.ones((side, side))
    return {"x": x, "y": x[::-1].copy(), "z": np.empty(n), "square": square, "row": np.arange(side) / 10.0}


def turn(call: Run, seconds: float) -> float:
    """Seconds that a call takes, on average."""
    call()
    begin, calls = perf_counter(), 0
    while calls < 2 or perf_counter() - begin < seconds:
        call()
        calls += 1
    return (perf_counter() - begin) / calls


def small_turn(timer: Timer, calls: int) -> float:
    """The same of short ones, after some that do not count."""
    timer.timeit(calls // 4)
    return timer.timeit(calls) / calls


def accelerated(measured: Callable[[], float]) -> float:
    """A turn of ktask's."""
    with accelerate_numpy():
        return measured()


def both(measured: Callable[[], float], round_: int) -> tuple[float, float]:
    """A turn of NumPy's and one of ktask's, in one order or the other: nanoseconds."""
    ways: dict[str, Callable[[], float]] = {"numpy": measured, "ktask": lambda: Context().run(accelerated, measured)}
    took = {way: 1e9 * ways[way]() for way in sorted(ways, reverse=round_ % 2 == 0)}
    return took["numpy"], took["ktask"]


@contextmanager
def others_busy() -> Iterator[None]:
    """A process that works without end for each CPU but one."""
    hogs = [subprocess.Popen([sys.executable, "-c", HOG]) for _ in range(CPUS - 1)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def measure(machine: str, rounds: int, seconds: float) -> Iterator[Row]:
    """All calls of all sizes."""
    for n in SIZES:
        names = {**vars(np), **operands(n)}
        for text, sizes in CALLS.items():
            if n not in sizes:
                continue
            call: Run = partial(eval, compile(text, text, "eval"), names)
            for round_ in range(rounds):
                yield round_, text, n, machine, *both(partial(turn, call, seconds), round_)


def measure_small(rounds: int, calls: int) -> Iterator[Row]:
    """Calls whose cost is mostly not that of the elements."""
    for n in SMALL_SIZES:
        for text in SMALL_CALLS:
            timer = Timer(text, globals={**vars(np), **small_operands(n)})
            for round_ in range(rounds):
                yield round_, text, n, "idle", *both(partial(small_turn, timer, calls), round_)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round: to see that it works")
    parser.add_argument("--csv", type=Path, help="where the raw figures go")
    parser.add_argument("--small", action="store_true", help="small arrays only")
    arguments = parser.parse_args()

    rounds, seconds = (1, TURN / 10) if arguments.quick else (9, TURN)
    rows = list(measure_small(1 if arguments.quick else SMALL_ROUNDS, SMALL_TURN))
    if not arguments.small:
        rows += measure("idle", rounds, seconds)
        with others_busy():
            rows += measure("taken", rounds, seconds)
    if arguments.csv:
        with arguments.csv.open("w", newline="") as f:
            writer = csv.writer(f, lineterminator="\n")
            writer.writerow(("round", "call", "elements", "machine", "numpy_ns", "ktask_ns"))
            writer.writerows((*row[:4], *(f"{ns:.10g}" for ns in row[4:])) for row in rows)
    for text, n, machine in dict.fromkeys(row[1:4] for row in rows):
        ratios = [numpys / ours for _, *which, numpys, ours in rows if which == [text, n, machine]]
        print(f"{text:36}{n:12,}{machine:>8}{statistics.median(ratios):8.3f} times as fast as NumPy")


if __name__ == "__main__":
    main()
