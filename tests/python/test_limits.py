# SPDX-License-Identifier: BSD-3-Clause
"""limits() holds for the process, from its beginning to its end, whoever else sets one."""

from __future__ import annotations

import threading

import pytest
from fresh import MANY_HELPERS, fresh
from meeting import meet

import ktask


def threads_of_a_run() -> set[int]:
    threads: set[int] = set()
    ktask.run(0, 1000, ktask.Ctl(lambda start, end, arg: threads.add(threading.get_ident())))
    return threads


def test_none_at_all() -> None:
    with ktask.limits(max_helpers=0):
        for _ in range(20):
            assert threads_of_a_run() == {threading.get_ident()}
        assert ktask.info()["max_helpers"] == 0
        assert ktask.info()["enabled"] is False
        assert "limited to no helpers" in ktask.info()["reason"]
    assert ktask.info()["max_helpers"] == 7
    meet()


def test_the_lowest_holds() -> None:
    def most() -> int:
        return int(ktask.info()["max_helpers"])

    with ktask.limits(max_helpers=3):
        assert most() == 3
        with ktask.limits(max_helpers=5):
            assert most() == 3
            with ktask.limits(max_helpers=2):
                assert most() == 2
            assert most() == 3
        with ktask.limits(max_helpers=10**20):
            assert most() == 3
    assert most() == 7
    with ktask.limits(max_helpers=1):
        meet()


def test_ends_in_any_order() -> None:
    first, second = ktask.limits(max_helpers=1), ktask.limits(max_helpers=4)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert ktask.info()["max_helpers"] == 4
    second.__exit__(None, None, None)
    assert ktask.info()["max_helpers"] == 7


def test_ends_with_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), ktask.limits(max_helpers=1):
        raise ZeroDivisionError
    assert ktask.info()["max_helpers"] == 7


def test_decorator() -> None:
    @ktask.limits(max_helpers=2)
    def limited(deeper: int) -> int:
        """Its own name and text."""
        return limited(deeper - 1) if deeper else int(ktask.info()["max_helpers"])

    assert limited(3) == 2
    assert limited.__doc__ == "Its own name and text."
    assert ktask.info()["max_helpers"] == 7


def test_it_is_the_process_s() -> None:
    """Other threads' runs are limited, too; and all may set limits at once."""
    seen: list[set[int]] = []

    def other() -> None:
        seen.append(threads_of_a_run())

    with ktask.limits(max_helpers=0):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(seen[0]) == 1

    def often() -> None:
        for i in range(300):
            with ktask.limits(max_helpers=i % 5):
                assert ktask.info()["max_helpers"] <= i % 5

    threads = [threading.Thread(target=often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ktask.info()["max_helpers"] == 7


def before_the_first_run() -> None:
    with ktask.limits(max_helpers=0):
        assert threads_of_a_run() == {threading.get_ident()}
    meet()


def test_before_the_first_run() -> None:
    fresh(before_the_first_run, **MANY_HELPERS)


def capped_by_environment() -> None:
    with ktask.limits(max_helpers=5):
        assert ktask.info()["max_helpers"] == 2
    assert ktask.info()["max_helpers"] == 2


def serial_by_environment() -> None:
    assert ktask.info()["enabled"] is False
    assert "KTASK_MAX_HELPERS" in ktask.info()["reason"]
    assert threads_of_a_run() == {threading.get_ident()}


def test_the_environment_s_limit() -> None:
    fresh(capped_by_environment, **MANY_HELPERS, KTASK_MAX_HELPERS="2")
    fresh(serial_by_environment, **MANY_HELPERS, KTASK_MAX_HELPERS="0")


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more, not -1"):
        ktask.limits(max_helpers=-1)
    for nonsense in ("2", 1.5, None):
        with pytest.raises(TypeError, match="max_helpers must be an integer, not"):
            ktask.limits(max_helpers=nonsense)  # type: ignore[arg-type]
