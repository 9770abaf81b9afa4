# SPDX-License-Identifier: BSD-3-Clause
"""What the examples share: the option --quick, and ways to do the same job side by side."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

QUICK = "--quick" in sys.argv
"""A small job: to see that it works."""

ROUNDS = 7


def compare(ways: dict[str, Callable[[], Any]], *, tolerance: float = 0.0) -> Any:
    """Runs all the ways, the usual one first, checks that they give the same, and prints how long they take.

    Results may differ by ``tolerance``, of 1 or of their value. Returns the usual one.
    """
    results = {name: way() for name, way in ways.items()}  # compiles and warms up as well
    usual, *others = ways
    for name in others:
        np.testing.assert_allclose(
            results[name], results[usual], tolerance, tolerance, err_msg=f"{name} is not {usual}"
        )

    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(ROUNDS):
        for name in list(ways)[:: -1 if round_ % 2 else 1]:
            begin = perf_counter()
            ways[name]()
            seconds[name].append(perf_counter() - begin)

    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        print(f"{name:32}{1e3 * median:10.2f} ms{medians[usual] / median:8.2f} times as fast")
    return results[usual]
