# SPDX-License-Identifier: BSD-3-Clause
"""``arun``: a run that an event loop waits for."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from ktask._ctl import Ctl
from ktask._progress import Progress, ProgressReport
from ktask._run import _plan_of, run


async def arun(start: Any, size: int, ctl: Ctl) -> None:
    """``ktask.run(start, size, ctl)``, while the event loop goes on: ``await ktask.arun(start, size, ctl)``.

    The run's caller is a thread of the loop's default executor, and has the context variables of who awaits; what the
    run raises is raised here. When it is cancelled, the run stops as by Ctrl-C: chunks under way finish, what was
    finished is undone, and then CancelledError is raised. A run whose last chunks are under way just ends.
    """
    import asyncio  # who has a loop has it

    plan = _plan_of(ctl)
    stop = threading.Event()
    stoppable = Ctl.__new__(Ctl)
    stoppable._plan = replace(plan, progress=_Stoppable(plan.progress, stop))

    def run_unless_stopped() -> None:
        if not stop.is_set():
            run(start, size, stoppable)

    context = contextvars.copy_context()
    running = asyncio.get_running_loop().run_in_executor(None, context.run, run_unless_stopped)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError:
                continue  # once more; but it returns no earlier
        if not running.cancelled():
            running.exception()  # is known
        raise


class _StopError(Exception):
    """Goes no further than the thread that makes the run."""


class _Stoppable(Progress):
    """Shows what another one does, and stops the run on demand."""

    def __init__(self, shown: Progress | None, stop: threading.Event) -> None:
        self._inner = shown
        self._stop = stop

    @contextmanager
    def _both(self, total: int) -> Iterator[ProgressReport]:
        inner: AbstractContextManager[ProgressReport | None]
        inner = nullcontext() if self._inner is None else self._inner.shown(total)
        with inner as show:

            def report(done: int, total: int) -> None:
                if self._stop.is_set() and done < total:
                    raise _StopError
                if show is not None:
                    show(done, total)

            yield report

    def shown(self, total: int) -> AbstractContextManager[ProgressReport]:
        """Returns a context in which progress of one run is shown."""
        return self._both(total)
