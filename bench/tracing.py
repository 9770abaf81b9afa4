# SPDX-License-Identifier: BSD-3-Clause
"""What a trace of all runs costs: `python bench/tracing.py [CSV]`. The same runs without and with it, in turns.

Runs of one chunk each, in the caller alone, so that all that is recorded (a chunk and a run) is seen in each; and runs
of 100 ms on all CPUs, cut as ktask cuts them.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter_ns

import ktask
from ktask._demo_kernels import ffi, lib

ROUNDS = 31
STEPS = 50


def main() -> None:
    """Measures and prints; keeps the raw figures, if there is a file to keep them in."""
    print(f"{'':<28}{'off':>12}{'on':>12}{'slower':>10}")
    rows: list[tuple[str, int, float, float]] = []
    per_us = units_per_us()
    for us, calls in ((1, 4000), (10, 1000), (100, 200), (1000, 20)):
        units = max(round(us * per_us), 1)
        rows += compare(f"a chunk of {us} µs", runs_of(units, calls, max_threads=1), calls)
    rows += compare("100 ms on all CPUs", runs_of(round(100_000 * per_us), 1, max_threads=None), 1)
    if len(sys.argv) > 1:
        with open(sys.argv[1], "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("what", "round", "off", "on"))
            writer.writerows(rows)


def runs_of(units: int, calls: int, max_threads: int | None) -> Callable[[], None]:
    """So many runs of so many units."""
    pixels = ffi.new("float[]", units)
    picture = ffi.new("struct picture *", {"pixels": pixels, "width": 1, "max_steps": STEPS})
    ctl = ktask.Ctl(ffi.addressof(lib, "mandelbrot"), picture, units if max_threads else 1, max_threads=max_threads)

    def runs() -> None:
        assert pixels  # which the picture points to
        for _ in range(calls):
            ktask.run(0, units, ctl)

    return runs


def units_per_us() -> float:
    """How fast this machine is."""
    runs = runs_of(100_000, 1, max_threads=1)
    return 100_000 / min(taken(runs) for _ in range(5)) * 1e3


def taken(runs: Callable[[], None]) -> int:
    """In ns."""
    begin = perf_counter_ns()
    runs()
    return perf_counter_ns() - begin


def compare(what: str, runs: Callable[[], None], calls: int) -> list[tuple[str, int, float, float]]:
    """The rounds, in ns a call, and a line of the table: the median over rounds of on to off, side by side."""
    off, on = [], []
    runs()
    for _ in range(ROUNDS):
        off.append(taken(runs))
        with ktask.trace(capacity=1 << 16):
            runs()  # the first touch of the caller's own memory of it
            on.append(taken(runs))
    slower = median(b / a for a, b in zip(off, on, strict=True)) - 1
    print(f"{what:<28}{median(off) / calls / 1e3:>9.2f} us{median(on) / calls / 1e3:>9.2f} us{slower:>10.2%}")
    return [(what, i, a / calls, b / calls) for i, (a, b) in enumerate(zip(off, on, strict=True))]


if __name__ == "__main__":
    main()
