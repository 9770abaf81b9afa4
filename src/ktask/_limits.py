# SPDX-License-Identifier: BSD-3-Clause
"""How many helpers this process may have, for a while."""

from __future__ import annotations

import operator
import threading
from contextlib import ContextDecorator
from types import TracebackType
from typing import SupportsIndex

from ktask._core import lib

_MOST = (1 << 31) - 1
"""An int's."""

_lock = threading.Lock()
_active: list[int] = []
_outside = -1
"""What holds when no limit is active: what a C library has set, or nothing."""


class limits(ContextDecorator):  # noqa: N801 - a verb, like threadpoolctl.threadpool_limits
    """Limits the helpers of this process: ``with ktask.limits(max_helpers=n):``, or ``@ktask.limits(max_helpers=n)``.

    At most ``max_helpers`` helpers work at a time, 0 or more, counted over all threads of the process: the limit is the
    process's, not the thread's. Where several are active, nested or in different threads, the lowest holds; the order
    in which they end makes no difference. Callers are never limited: with ``max_helpers=0`` every run is serial.
    Helpers that are at work when the limit comes go on until their run ends.

    It cannot raise what the machine, KTASK_HELPERS or KTASK_MAX_HELPERS allow. Thread-safe; one object may be used
    many times, also at the same time. In C: ``ktask_set_max_helpers``.

    >>> import ktask
    >>> with ktask.limits(max_helpers=0):
    ...     ktask.info()["max_helpers"]
    0
    """

    def __init__(self, *, max_helpers: SupportsIndex) -> None:
        """Changes nothing yet. Raises TypeError for what is no integer, and ValueError for a negative number."""
        try:
            n = operator.index(max_helpers)
        except TypeError:
            raise TypeError(
                f"max_helpers must be an integer, not {type(max_helpers).__name__}: {max_helpers!r}"
            ) from None
        if n < 0:
            raise ValueError(f"max_helpers must be 0 or more, not {n}")
        self.max_helpers = n

    def __enter__(self) -> limits:
        """From now on."""
        global _outside  # noqa: PLW0603
        with _lock:
            _active.append(self.max_helpers)
            before = _apply()
            if len(_active) == 1:
                _outside = before
                if 0 <= before < self.max_helpers:
                    _apply()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """No longer."""
        with _lock:
            _active.remove(self.max_helpers)
            _apply()


def limit_from_outside(max_helpers: int) -> None:
    """Limits until further notice; what is no less than there may be anyhow is no limit any more."""
    global _outside  # noqa: PLW0603
    with _lock:
        _outside = -1
        _apply()
        if max_helpers < lib.py_max_helpers():
            _outside = max(max_helpers, 0)
            _apply()


def _apply() -> int:
    """Sets the lowest of the limits; with the lock held."""
    allowed = [n for n in (*_active, _outside) if n >= 0]
    return lib.ktask_set_max_helpers(min([*allowed, _MOST]) if allowed else -1)
