# SPDX-License-Identifier: BSD-3-Clause
"""``ktask.trace()``: all that happens in all runs of the process, for a while."""

from __future__ import annotations

import ctypes
import os
import threading
from types import TracebackType

from ktask._core import ffi, lib
from ktask._trace import Trace

_lock = threading.Lock()
_active: list[Trace] = []
"""The last one records."""
_in_use: list[Trace] = []
"""Switched off, but runs that were under way then may still record into them."""


class trace:  # noqa: N801 - a verb, like limits
    """Records all that happens in all runs of this process: ``with ktask.trace() as t:``, or with a file to write.

    ``t`` is a ``Trace``, whose events tell of runs, chunks, and helpers called, come, sent home and so on. At the end
    of the ``with`` it is complete, unless other threads are in the middle of runs; ``t.summary()`` says what it comes
    to. With ``path``, ``t.save(path)`` is done then, also if the block fails: ``.json``, ``.svg`` or ``.png``.
    ``capacity`` is the number of events that there is room for; ``t.dropped`` says how many more there were.

    Nested ones, or those of several threads, take turns: the last that began records, until it ends. What a child of
    ``fork`` does is not seen. Each chunk costs some 0.1 µs more. In C: ``ktask_set_trace``.

    >>> import ktask
    >>> with ktask.trace() as t:
    ...     ktask.parallel_for(lambda start, end: None, 1000)
    >>> t.summary().units
    1000
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, capacity: int = 1 << 16) -> None:
        """Makes the room for the events. Raises ValueError for a path with another ending."""
        if path is not None and os.path.splitext(path)[1].lower() not in (".json", ".svg", ".png"):
            raise ValueError(f"a trace is saved as .json, .svg or .png, not as {os.fspath(path)!r}")
        self._path = path
        self._trace = Trace(capacity)

    def __enter__(self) -> Trace:
        """From now on."""
        lib.ktask_max_threads()  # the pool stands, and remembers threads' numbers, which the system is slow to tell
        with _lock:
            _active.append(self._trace)
            _switch(None)
        return self._trace

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """No longer."""
        with _lock:
            _active.remove(self._trace)
            _switch(self._trace)
        for thread in threading.enumerate():
            if thread.native_id is not None:
                self._trace.thread_names[thread.native_id] = thread.name
        if self._path is not None:
            self._trace.save(self._path)


def _switch(ended: Trace | None) -> None:
    """Sets the last of the active ones; with the lock held."""
    runs = lib.ktask_set_trace(_active[-1]._c if _active else ffi.NULL)
    if ended is not None:
        _in_use.append(ended)
        # Until the end of the process: daemon threads may be in the middle of runs when Python itself is over.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(ended))
    if runs == 0:
        for t in _in_use:
            ctypes.pythonapi.Py_DecRef(ctypes.py_object(t))
        _in_use.clear()
