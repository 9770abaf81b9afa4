# SPDX-License-Identifier: BSD-3-Clause
"""Two threads that meet in a run, so that a helper is sure to take part."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import ktask

TIMEOUT = 60


def nothing(start: int, end: int, arg: object) -> None:
    """A body for meetings that need none."""


class Meeting:
    """A thread function for two units, whose two calls wait for each other."""

    def __init__(self) -> None:
        self.together = threading.Barrier(2)
        self.body: Callable[[int, int, Any], object] = nothing

    def __call__(self, start: int, end: int, arg: object) -> object:
        self.together.wait(TIMEOUT)
        return self.body(start, end, arg)


# Work that ktask has never seen gets a helper at once; what is known to be short it may well do alone. It knows work by
# the place of the function in memory: so meetings are made before any run, in places of their own, and stay there.
_new = [Meeting() for _ in range(2000)]
_used: list[Meeting] = []


def meeting_of(body: Callable[[int, int, Any], object]) -> Meeting:
    """A thread function for two units, which calls ``body`` once two threads are there."""
    _used.append(_new.pop())
    _used[-1].body = body
    return _used[-1]


def meet(body: Callable[[int, int, Any], object] = nothing, **options: Any) -> None:
    """Calls ``body`` for 0 and for 1, in the calling thread and in a helper."""
    ktask.run(0, 2, ktask.Ctl(meeting_of(body), max_threads=2, **options))
