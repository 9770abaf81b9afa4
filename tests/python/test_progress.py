# SPDX-License-Identifier: BSD-3-Clause
"""The progress function is told how far the run is, and may stop it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from clib import CLib
from contract import units

import ktask


class Progress:
    """Notes what it is told; raises when it is called for the ``raise_at``th time."""

    def __init__(self, raise_at: int | None = None) -> None:
        self.reports: list[tuple[int, int]] = []
        self.raise_at = raise_at

    def __call__(self, done: int, total: int) -> None:
        self.reports.append((done, total))
        if len(self.reports) == self.raise_at:
            raise LookupError(done)

    def check(self, total: int) -> None:
        assert self.reports == sorted(self.reports)
        assert all(0 <= done <= total for done, _ in self.reports)
        assert {t for _, t in self.reports} == {total}
        assert self.reports[-1] == (total, total)


def lasts(start: int, end: int, arg: object) -> None:
    time.sleep(0.002 * (end - start))


def test_progress_grows_and_ends_with_all() -> None:
    progress = Progress()
    ktask.run(0, 100, ktask.Ctl(lasts, progress=progress, max_threads=2))
    progress.check(100)
    assert len(progress.reports) > 1


def test_progress_of_a_c_function(clib: CLib) -> None:
    progress = Progress()
    counter = np.zeros(1, np.int64)
    ktask.run(0, 2000, ktask.Ctl(clib.pointer("slow"), counter, progress=progress, max_threads=2))
    progress.check(2000)
    assert len(progress.reports) > 1
    assert counter[0] == 2000


def test_progress_of_several_nodes() -> None:
    progress = Progress()
    ktask.run_numa([ktask.Node(0, 30), ktask.Node(50, 40)], ktask.Ctl(lasts, progress=progress))
    progress.check(70)


def test_progress_of_short_and_empty_runs() -> None:
    for size in (0, 1):
        progress = Progress()
        ktask.run(0, size, ktask.Ctl(lasts, progress=progress))
        progress.check(size)


@pytest.mark.parametrize("max_threads", [1, None])
def test_what_it_raises_stops_the_run(max_threads: int | None) -> None:
    progress = Progress(raise_at=2)
    done: list[tuple[int, int]] = []
    undone: list[tuple[int, int]] = []

    def body(start: int, end: int, arg: object) -> None:
        time.sleep(0.001)
        done.append((start, end))

    def undo(start: int, end: int, arg: object) -> None:
        undone.append((start, end))

    ctl = ktask.Ctl(body, undo_func=undo, progress=progress, max_threads=max_threads)
    with pytest.raises(LookupError):
        ktask.run(0, 10**9, ctl)
    assert len(progress.reports) >= 2  # perhaps once more, while threads finish
    assert units_count(done) == units_count(undone) > 0
    assert units_count(done) < 10**9
    assert merged(done) == merged(undone)


def units_count(ranges: list[tuple[int, int]]) -> int:
    return sum(end - start for start, end in ranges)


def merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same units, in as few ranges as possible."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if result and result[-1][1] == start:
            result[-1] = (result[-1][0], end)
        else:
            result.append((start, end))
    return result


def test_what_it_raises_stops_a_c_function(clib: CLib) -> None:
    counter = np.zeros(1, np.int64)
    ctl = ktask.Ctl(clib.pointer("slow"), counter, undo_func=clib.pointer("slow_undo"), progress=Progress(raise_at=2))
    with pytest.raises(LookupError):
        ktask.run(0, 10**9, ctl)
    assert counter[0] == 0


@pytest.mark.parametrize("progress", [None, False])
def test_no_progress(progress: Any) -> None:
    calls: list[tuple[int, int]] = []
    ktask.run(0, 9, ktask.Ctl(lambda start, end, arg: calls.append((start, end)), progress=progress))
    assert units(calls) == list(range(9))


@pytest.mark.parametrize("fails", [False, True])
def test_a_bar(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    tqdm = pytest.importorskip("tqdm.auto")
    bars: list[Any] = []
    text = io.StringIO()
    original: Callable[..., Any] = tqdm.tqdm

    def make(**options: Any) -> Any:
        bars.append(original(file=text, **options))
        return bars[-1]

    monkeypatch.setattr(tqdm, "tqdm", make)
    ctl = ktask.Ctl(lambda start, end, arg: int(fails), progress=True)
    assert ktask.ktask_run(0, 100, ctl) == int(fails)
    (bar,) = bars
    assert bar.total == 100
    assert bar.n == (0 if fails else 100)
    assert bar.disable or text.getvalue().endswith("\n")  # closed


def test_a_bar_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"ktask\[progress\]"):
        ktask.Ctl(lasts, progress=True)
