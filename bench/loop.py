# SPDX-License-Identifier: BSD-3-Clause
"""Measures loops over arrays, compiled by numba: python bench/loop.py PEER ROUND SCALE. bench/run.py starts it.

even      the square root of 1 + x * x for so many doubles
sum       the sum of the squares of so many doubles
triangle  so many iterations, of which the i-th adds up i doubles
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numba
import numba.core.config
import numpy as np
from calls import Run, measure
from numba import prange
from peers import BUILD

import ktask

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
TRIANGLES = (100, 300, 1_000, 3_000, 10_000)
config: Any = numba.core.config
LAYERS = {"prange, OpenMP": "omp", "prange, workqueue": "workqueue"}

config.CACHE_DIR = str(BUILD / "numba")


# The loops, which numba runs serially or in parallel ...


def even(n, x, y):  # type: ignore[no-untyped-def]
    for i in prange(n):
        y[i] = math.sqrt(1.0 + x[i] * x[i])


def sum_(n, x, y):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in prange(n):
        total += x[i] * x[i]
    return total


def triangle(n, x, y):  # type: ignore[no-untyped-def]
    for i in prange(n):
        total = 0.0
        for j in range(i):
            total += x[j]
        y[i] = total


# ... and their bodies.


@ktask.loop
def even_body(i, x, y):  # type: ignore[no-untyped-def]
    y[i] = math.sqrt(1.0 + x[i] * x[i])


@ktask.loop
def sum_body(i, x, y, *, total=0.0):  # type: ignore[no-untyped-def]
    total += x[i] * x[i]


@ktask.loop
def triangle_body(i, x, y):  # type: ignore[no-untyped-def]
    total = 0.0
    for j in range(i):
        total += x[j]
    y[i] = total


WORKLOADS: dict[str, tuple[Callable[..., Any], Any, tuple[int, ...]]] = {
    "even": (even, even_body, SIZES),
    "sum": (sum_, sum_body, SIZES),
    "triangle": (triangle, triangle_body, TRIANGLES),
}


def workloads(peer: str) -> Iterator[tuple[str, int, Run, Run]]:
    """Name, size, what does it serially, and what in parallel."""
    for name, (loop, body, sizes) in WORKLOADS.items():
        serial = numba.njit(loop)  # not in the cache, which does not tell it from the parallel one
        parallel = body if peer == "ktask" else numba.njit(parallel=True, cache=True)(loop)
        for n in sizes:
            x, y = np.linspace(-5, 5, n), np.empty(n)
            serial(n, x, y)
            yield name, n, partial(serial, n, x, y), partial(parallel, n, x, y)


def main() -> None:
    """All workloads, for one peer."""
    peer, round_, scale = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    if peer in LAYERS:
        config.THREADING_LAYER = LAYERS[peer]
    for workload, size, serial, parallel in workloads(peer):
        print(workload, size, *measure(serial, parallel, round_, scale), flush=True)


if __name__ == "__main__":
    main()
