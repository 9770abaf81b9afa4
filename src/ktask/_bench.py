# SPDX-License-Identifier: BSD-3-Clause
"""``python -m ktask bench``: what ktask is worth on this machine, for loops from a microsecond to ten milliseconds.

The same C function, on the same range, serially, with ktask and in as many parts as there are CPUs by a
``ThreadPoolExecutor``, in turns; the medians count. What it is beside OpenMP and others, ``make bench`` in the source
tree measures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from statistics import median
from time import perf_counter_ns
from typing import Any

import ktask
from ktask._demo_kernels import ffi, lib
from ktask._info import sentence
from ktask._summary import duration
from ktask._terminal import print_table

LENGTHS_US = (2, 5, 20, 100, 1000, 10000)
ROUNDS, QUICK_ROUNDS = 15, 3

BATCH_NS, MOST_CALLS = 2_000_000, 200
"""A measurement is of calls in a row that together take about so long."""

MAX_STEPS = 50
"""Of a unit: some 0.1 µs."""


class Work:
    """So many units, each a point of the Mandelbrot set, in C: all take the same time."""

    def __init__(self, units: int) -> None:
        """Where they are is in the middle of the set."""
        self.units = units
        self.pixels = ffi.new("float[]", units)
        self.arg = ffi.new("struct picture *", {"pixels": self.pixels, "width": 1, "max_steps": MAX_STEPS})
        self.ctl = ktask.Ctl(ffi.addressof(lib, "mandelbrot"), self.arg)

    def part(self, begin: int, end: int) -> None:
        """Does a part of it, without the GIL."""
        lib.mandelbrot(ffi.cast("void *", begin), ffi.cast("void *", end), self.arg)

    def serial(self) -> None:
        """All of it, in one call."""
        self.part(0, self.units)

    def ktask(self) -> None:
        """The same with ktask."""
        ktask.run(0, self.units, self.ctl)

    def threads(self, pool: ThreadPoolExecutor, cpus: int) -> None:
        """The same in ``cpus`` parts."""
        borders = [self.units * i // cpus for i in range(cpus + 1)]
        futures = [pool.submit(self.part, a, b) for a, b in pairwise(borders)]
        for future in futures:
            future.result()


def bench(*, as_json: bool, quick: bool) -> int:
    """Measures and shows it; returns the exit code."""
    machine = ktask.info()
    cpus = len(machine["allowed_cpus"])
    measured = measure(QUICK_ROUNDS if quick else ROUNDS, cpus)
    if as_json:
        told = {"version": machine["version"], "cpus": cpus, "max_helpers": machine.get("max_helpers", 0)}
        print(json.dumps(told | {"loops": measured}))
        return 0
    print(f"ktask {machine['version']}. {sentence(machine)}")
    if machine["load"] is not None and machine["load"] >= 0.5:
        print(f"The load is {machine['load']:.1f}: what other programs need shows in the figures.")
    print()
    print_table(
        ("Loop", "Serial", "ktask", "ThreadPoolExecutor"),
        [
            (
                f"{duration(row['us'] / 1e6)}",
                duration(row["serial_seconds"]),
                f"{row['ktask']:.2f}x",
                f"{row['threads']:.2f}x",
            )
            for row in measured
        ],
        numbers=3,
    )
    return 0


def measure(rounds: int, cpus: int) -> list[dict[str, Any]]:
    """For each length: ``serial_seconds``, and how many times as fast ``ktask`` and ``threads`` are."""
    ktask.init()
    per_us = units_per_us()
    results = []
    with ThreadPoolExecutor(cpus) as pool:
        for us in LENGTHS_US:
            work = Work(max(math.ceil(us * per_us), 1))
            calls = min(max(BATCH_NS // (us * 1000), 1), MOST_CALLS)
            ways: list[Callable[[], None]] = [work.serial, work.ktask, partial(work.threads, pool, cpus)]
            times: list[list[float]] = [[] for _ in ways]
            for _ in range(rounds + 1):
                for way, taken in zip(ways, times, strict=True):
                    taken.append(seconds(way, calls))
            serial, with_ktask, threads = (median(taken[1:]) for taken in times)  # the first round warms up
            results.append(
                {"us": us, "serial_seconds": serial, "ktask": serial / with_ktask, "threads": serial / threads}
            )
    return results


def units_per_us() -> float:
    """How fast this machine is."""
    work = Work(100_000)
    return work.units / (min(seconds(work.serial, 1) for _ in range(5)) * 1e6)


def seconds(way: Callable[[], None], calls: int) -> float:
    """Of one call, on average."""
    begin = perf_counter_ns()
    for _ in range(calls):
        way()
    return (perf_counter_ns() - begin) / calls / 1e9
