# SPDX-License-Identifier: BSD-3-Clause
"""argmin and argmax on ktask: NumPy's results."""

from __future__ import annotations

from typing import Any

import pytest
from test_numpy import CODES, N, accelerated, array, assert_same, np, pytestmark

import ktask

__all__ = ["accelerated", "pytestmark"]


@pytest.mark.parametrize("code", CODES + "?gG")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_first_of_equals_is_found(code: str) -> None:
    x = array(code) if code != "?" else np.arange(N) % 7 > 2
    for special in (None, 5, N // 2, N - 1):
        y = x.copy()
        if special is not None:
            y[special:] = y.max() if special % 2 else y.min()
        for a in (y, y[::-1], y[: N // 3 * 3].reshape(3, -1), y[: N // 3 * 3].reshape(-1, 3)):
            assert_same(lambda a=a: (np.asarray(a.argmin(-1)), np.asarray(a.argmax(-1))))  # type: ignore[misc]
            assert_same(lambda a=a: (np.asarray(a.argmin()), np.asarray(a.argmax())))  # type: ignore[misc]


@pytest.mark.parametrize("code", "efdgFDG")
@pytest.mark.parametrize("places", [[0], [N - 1], [N // 2, N // 2 + 1, N - 3], range(20_000, N, 20_000)])
def test_the_first_nan_comes_before_all(code: str, places: Any) -> None:
    x = array(code)
    for i in places:
        x[i] = complex(1, np.nan) if code in "FDG" else np.nan
    assert_same(lambda: (np.asarray(x.argmin()), np.asarray(x.argmax()), np.asarray(np.nanargmax(x))))
    assert x.argmin() == places[0]


def test_bools_are_searched_no_further_than_needed() -> None:
    x = np.zeros(N, bool)
    for i in (None, N - 1, N // 2, 3):
        if i is not None:
            x[i:] = True
        assert_same(lambda: (np.asarray(x.argmax()), np.asarray((~x).argmin()), np.asarray(x.argmin())))


def test_searches_are_cut_and_helpers_come(accelerated: None) -> None:
    x = np.arange(20_000_000)
    seen = set()
    for _ in range(20):
        assert x.argmax() == len(x) - 1
        report = ktask.last_report()
        seen.add(report.threads)
    assert max(seen) > 1
    assert report.chunks > 1
