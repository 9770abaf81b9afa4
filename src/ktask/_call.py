# SPDX-License-Identifier: BSD-3-Clause
"""One run that involves Python: how C comes back to it, and what is raised in the end.

Where one of a run's functions is Python's, C is given a ``struct py_call`` as the functions' argument; its handle leads
back to the ``Call`` object of the run.
"""

from __future__ import annotations

import errno
import operator
import os
from collections.abc import Callable
from threading import get_ident
from types import TracebackType
from typing import Any

from ktask._convert import ADDRESSES, address_of
from ktask._core import ffi, lib
from ktask._ctl import Plan
from ktask._progress import ProgressReport

RAISED = -(2**31) + 1
"""Result of a chunk whose Python function raised; also of wrapped_thread in _build.py."""


class TaskError(Exception):
    """A thread function returned something else than 0; what was finished is undone, if there is an undo function.

    ``code`` is what it returned; ``start`` and ``end`` are the chunk that it was given.
    """

    def __init__(self, code: int, start: Any = None, end: Any = None) -> None:
        """The chunk is None where the code came from elsewhere than a chunk."""
        super().__init__(code, start, end)
        self.code = code
        self.start = start
        self.end = end

    def __str__(self) -> str:
        """Tells the code and the chunk."""
        return f"the thread function returned {self.code} for the chunk from {self.start!r} to {self.end!r}"


class ForkedError(TaskError):
    """The process was forked off in the middle of the run, and the run's helpers exist in its parent only."""

    def __str__(self) -> str:
        """Says what to do."""
        return "the run was under way when this process was forked; its helpers are in the parent, so run it again"


class Call:
    """One run that involves Python."""

    def __init__(self, plan: Plan, base: int, step: int, report: ProgressReport | None) -> None:
        """``base`` and ``step`` turn the numbers that C counts with into the range's own."""
        thread, undo = plan.thread, plan.undo
        self.func = thread.python if thread.takes_arg else _without_arg(thread.python)
        self.undo = undo.python if undo is not None else None
        self.iter = plan.iter.python if plan.iter is not None else None
        self.c_positions = self.func is None or plan.c_undo
        self.arg = plan.func_arg
        self.any_result = thread.any_result
        self.base = base
        self.step = step
        self.report = report
        self.objects: dict[int, tuple[Any, ...]] = {}  # position's address: the object it stands for, and to keep
        self.exceptions: list[tuple[int, BaseException]] = []  # and the start of the chunk; 0 if not in one
        self.undo_exceptions: list[BaseException] = []
        self.handle: Any = None
        self.c = ffi.new(
            "struct py_call *",
            {
                "thread_func": ffi.cast("ktask_thread_func", thread.address),
                "undo_func": ffi.cast("ktask_undo_func", undo.address if undo is not None else 0),
                "func_arg": ffi.cast("void *", plan.arg_address),
                "python_positions": self.iter is not None,
            },
        )

    def position(self, value: Any) -> Any:
        """Makes a position for C out of what a Python iterator returned."""
        c_value, keep = 0, None
        if self.c_positions:
            c_value, keep = address_of(value, "a position")
        p = ffi.new("struct py_position *", {"handle": self.handle, "value": ffi.cast("void *", c_value)})
        self.objects[int(ffi.cast("uintptr_t", p))] = (value, p, keep)
        return p

    def value(self, position: int) -> Any:
        """What a position of C's stands for."""
        if self.iter is None:
            signed = position - ADDRESSES if position >= ADDRESSES // 2 else position
            return self.base + self.step * signed
        return self.objects[position][0]

    def thread(self, start: int, end: int) -> int:
        """Does a chunk with a Python callable."""
        assert self.func is not None
        if self.iter is not None and not end:
            return RAISED  # the iterator did
        result = self.func(self.value(start), self.value(end), self.arg)
        return 0 if result is None else code_of(result, self.any_result)

    def failure(self, error: int) -> BaseException:
        """What the run failed with. The exceptions' frames know this object: it forgets them, or none would go."""
        failure = failure_of(error, self.exceptions, lambda p: self.value(int(ffi.cast("uintptr_t", p))))
        undo_exceptions = self.undo_exceptions
        self.exceptions, self.undo_exceptions = [], []
        for e in undo_exceptions:
            if isinstance(e, KeyboardInterrupt) and not isinstance(failure, KeyboardInterrupt):
                e.__cause__ = failure
                failure = e
            add_note(failure, f"the undo function raised {e!r}; what it was called for may not be undone")
        return failure


def code_of(result: object, any_result: bool) -> int:
    """The C result for what a Python callable returned."""
    try:
        n = operator.index(result)  # type: ignore[arg-type]
    except TypeError:
        if any_result:
            return 0
        raise TypeError(
            f"the thread function must return None or an int, not {type(result).__name__}: {result!r}"
        ) from None
    if not -(2**31) < n < 2**31:
        raise OverflowError(f"the thread function returned {n}, which does not fit into a C int")
    return n


def _without_arg(func: Any) -> Callable[[Any, Any, Any], object]:
    return lambda start, end, arg: func(start, end)


_stray: dict[int, BaseException] = {}
"""By thread: what was raised in a callback that belongs to no Call, such as KeyboardInterrupt."""


def add_note(exception: BaseException, note: str) -> None:
    """What comes with the exception, so that ``except`` finds the kind that it looks for."""
    exception.__notes__ = [*getattr(exception, "__notes__", []), note]  # PEP 678; Python 3.10 knows no add_note


def failure_of(error: int, raised: list[tuple[int, BaseException]], value: Callable[[Any], Any]) -> BaseException:
    """The exception for a run that returned ``error``, while Python functions raised some."""
    report = lib.py_last_report()
    stray = _stray.pop(get_ident(), None)
    exceptions = [e for _, e in raised]
    if stray is not None:
        exceptions.insert(0, stray)
    interrupt = next((e for e in exceptions if isinstance(e, KeyboardInterrupt)), None)
    if interrupt is not None:  # not lost to an error that happened at the same time
        failure: BaseException = interrupt
    elif error == RAISED and exceptions:
        failed = int(ffi.cast("uintptr_t", report.kr_error_start))
        failure = next((e for start, e in raised if start == failed), exceptions[0])
    else:
        failure = _error_result(error, report, value)
    for other in exceptions:
        if other is not failure:
            add_note(failure, f"another chunk raised {other!r}")
    return failure


def _error_result(error: int, report: Any, value: Callable[[Any], Any]) -> Exception:
    """The exception for a run that failed with a number."""
    if report.kr_error == 0:  # it never began
        return ValueError(f"ktask refused the run: {os.strerror(-error)}")
    if not report.kr_error_start and not report.kr_error_end:  # no chunk failed
        return ForkedError(error) if error == -errno.ECHILD else TaskError(error)
    return TaskError(error, value(report.kr_error_start), value(report.kr_error_end))


# ---- C calls back -----------------------------------------------------------------------------------------------


def _call_of(names: dict[str, Any]) -> Call | None:
    """The run that a callback was called for, from the names of the callback's own frame."""
    if "c_call" in names:
        handle = names["c_call"].handle
    elif "position" in names:
        handle = ffi.cast("struct py_position *", names["position"]).handle
    else:
        return None
    call: Call = ffi.from_handle(handle)
    return call


def _raised(kind: type, exception: BaseException, traceback: TracebackType | None) -> None:
    exception = exception.with_traceback(traceback)
    names = traceback.tb_frame.f_locals if traceback else {}
    call = _call_of(names)
    if call is None:
        _stray[get_ident()] = exception
    else:
        call.exceptions.append((names.get("start", 0), exception))


def _undo_raised(kind: type, exception: BaseException, traceback: TracebackType | None) -> None:
    call = _call_of(traceback.tb_frame.f_locals if traceback else {})
    if call is not None:
        call.undo_exceptions.append(exception)


@ffi.def_extern(error=RAISED, onerror=_raised)
def py_thread(start: int, end: int, c_call: Any) -> int:
    return ffi.from_handle(c_call.handle).thread(start, end)  # type: ignore[no-any-return]


@ffi.def_extern(onerror=_undo_raised)
def py_undo(start: int, end: int, c_call: Any) -> None:
    call: Call = ffi.from_handle(c_call.handle)
    assert call.undo is not None
    call.undo(call.value(start), call.value(end), call.arg)


@ffi.def_extern(error=ffi.NULL, onerror=_raised)
def py_iter(position: Any, size: int) -> Any:
    if not position:
        return position  # raised before
    call: Call = ffi.from_handle(ffi.cast("struct py_position *", position).handle)
    assert call.iter is not None
    return call.position(call.iter(call.value(int(ffi.cast("uintptr_t", position))), size))


@ffi.def_extern(error=RAISED, onerror=_raised)
def py_poll(done: int, total: int, handle: Any) -> int:
    # Being here is enough: in the main thread, Python now runs the handlers of signals that have come.
    if handle:
        report = ffi.from_handle(handle).report
        if report is not None:
            report(done, total)
    return 0
