# SPDX-License-Identifier: BSD-3-Clause
"""parallel_for_2d does each cell of a grid once, in tiles, and undoes them when one fails."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ktask

Tile = tuple[int, int, int, int]


def cells(tiles: list[Tile]) -> Counter[tuple[int, int]]:
    return Counter(cell for r, r_end, c, c_end in tiles for cell in product(range(r, r_end), range(c, c_end)))


@given(
    st.tuples(st.integers(0, 40), st.integers(0, 40)),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.integers(1, 5),
)
def test_every_cell_once(shape: tuple[int, int], tile: tuple[int, int], min_tiles: int) -> None:
    tiles: list[Tile] = []
    ktask.parallel_for_2d(lambda *t: tiles.append(t), shape, tile=tile, min_tiles=min_tiles)
    assert cells(tiles) == Counter(product(range(shape[0]), range(shape[1])))
    assert all(0 < r_end - r <= tile[0] and r % tile[0] == 0 for r, r_end, _, _ in tiles)
    assert all(0 < c_end - c <= tile[1] and c % tile[1] == 0 for _, _, c, c_end in tiles)


@pytest.mark.parametrize("min_tiles", [1, 7, 1000])
@pytest.mark.parametrize("how", ["raise", "return"])
def test_what_was_done_is_undone(min_tiles: int, how: str) -> None:
    done: Counter[Tile] = Counter()

    def paint(*tile: int) -> int:
        if tile[0] <= 50 < tile[1] and tile[2] <= 60 < tile[3]:
            if how == "raise":
                raise LookupError
            return 4
        done[tile] += 1  # type: ignore[index]
        return 0

    def wipe(*tile: int) -> None:
        done[tile] -= 1  # type: ignore[index]

    with pytest.raises(LookupError if how == "raise" else ktask.TaskError):
        ktask.parallel_for_2d(paint, (100, 100), tile=(8, 16), min_tiles=min_tiles, undo=wipe)
    assert len(done) > 0
    assert set(done.values()) == {0}


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((None, (5, 5)), {}, TypeError, "func must be a Python callable"),
        ((lambda r, c: None, (5, 5)), {}, TypeError, "called with 4 arguments"),
        ((max, 5), {}, TypeError, "shape must be a pair"),
        ((max, (1, 2, 3)), {}, TypeError, "shape must be a pair"),
        ((max, (5, -1)), {}, ValueError, r"shape\[1\] must be at least 0, not -1"),
        ((max, (5, 5)), {"tile": (0, 1)}, ValueError, r"tile\[0\] must be at least 1"),
        ((max, (5, 5)), {"tile": 8}, TypeError, "tile must be a pair"),
        ((max, (5, 5)), {"min_tiles": 0}, ValueError, "min_tiles must be at least 1"),
        ((max, (5, 5)), {"undo": 5}, TypeError, "undo must be a Python callable"),
        ((max, (2**47, 2**47)), {"tile": (1, 1)}, OverflowError, "number of tiles"),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ktask.parallel_for_2d(*arguments, **options)


def test_progress_counts_tiles() -> None:
    seen: list[tuple[int, int]] = []
    ktask.parallel_for_2d(lambda *t: None, (30, 30), tile=(10, 10), progress=lambda *p: seen.append(p))
    assert seen[-1] == (9, 9)
