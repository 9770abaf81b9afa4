# SPDX-License-Identifier: BSD-3-Clause
"""Two threads that meet in a run, so that a helper is sure to take part."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import ktask

TIMEOUT = 60

_kept: list[object] = []


class Meeting:
    """A thread function for two units, whose two calls wait for each other.

    Each meeting is work that ktask has never seen, so it calls a helper at once: what is known to be short it may well
    do alone. That is why meetings stay alive; another object in the same place would be taken for the same work.
    """

    def __init__(self, body: Callable[[int, int, Any], object] = lambda start, end, arg: None) -> None:
        self.together = threading.Barrier(2)
        self.body = body
        _kept.append(self)

    def __call__(self, start: int, end: int, arg: object) -> object:
        self.together.wait(TIMEOUT)
        return self.body(start, end, arg)


def meet(body: Callable[[int, int, Any], object] = lambda start, end, arg: None, **options: Any) -> None:
    """Calls ``body`` for 0 and for 1, in the calling thread and in a helper."""
    ktask.run(0, 2, ktask.Ctl(Meeting(body), max_threads=2, **options))
