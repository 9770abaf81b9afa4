# SPDX-License-Identifier: BSD-3-Clause
"""``Ctl``: how a task is to be run. ``Node``: a part of a task on one NUMA node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ktask._convert import ITER, THREAD, UNDO, Function, address_of, count_of, function_of, size_of
from ktask._core import ffi, lib
from ktask._progress import Progress, progress_of
from ktask._trace import Trace

NUMA_NO_NODE = -1
"""For ``Node.nid``: helpers may run on any node."""


PYTHON_CALL_NS = 1500
"""What a chunk of a Python callable costs besides its units: from C to the callable and back, and the GIL."""


@dataclass(frozen=True)
class Node:
    """A part of a task, and the NUMA node that its memory is on.

    ``start`` is the position of its first unit, ``size`` the number of units, ``nid`` the node's number as the
    system counts them, or ``NUMA_NO_NODE``.
    """

    start: Any
    size: int
    nid: int = NUMA_NO_NODE


@dataclass
class Plan:
    """All that a run goes by. Never changed once it is made: a ``Ctl`` that is changed gets a new one, and runs under
    way keep theirs.
    """

    thread: Function
    func_arg: object
    min_chunk_size: int
    iter: Function | None
    undo: Function | None
    max_threads: int  # 0: as many as there are CPUs
    align: int  # 0: no alignment
    progress: Progress | None
    trace: Trace | None

    def __post_init__(self) -> None:
        """Makes the C structure."""
        if self.func_arg is None:
            self.func_arg = self.thread.user_data
        functions = [f for f in (self.thread, self.undo, self.iter) if f is not None]
        calls_python = any(f.python is not None for f in functions)
        self.identity = self.thread.identity
        self.least_chunk = max(self.min_chunk_size, self.align)
        self.needs_call = calls_python or self.progress is not None
        # May a short run be one plain call of the Python callable?
        others = (self.iter, self.progress, self.trace)
        self.may_be_direct = self.thread.python is not None and all(other is None for other in others)
        # Does a C function see the positions, or only Python?
        self.c_undo = self.undo is not None and self.undo.python is None
        self.arg_address, self.keep_arg = 0, None
        if self.thread.python is None or self.c_undo:
            self.arg_address, self.keep_arg = address_of(self.func_arg, "func_arg")

        c = ffi.new("struct ktask_ctl *")
        c.kc_struct_size = ffi.sizeof("struct ktask_ctl")
        c.kc_thread_func = self._c_function(self.thread, lib.py_thread_func, lib.py_wrapped_thread_func)
        c.kc_undo_func = self._c_function(self.undo, lib.py_undo_func, lib.py_wrapped_undo_func)
        c.kc_func_arg = ffi.cast("void *", self.arg_address)
        c.kc_min_chunk_size = self.min_chunk_size
        c.kc_iter_func = self._c_iter()
        c.kc_max_threads = self.max_threads
        c.kc_align = self.align
        c.kc_poll_func = lib.py_poll
        c.kc_trace = ffi.NULL if self.trace is None else self.trace._c
        c.kc_identity = ffi.cast("void *", self.identity)
        c.kc_call_ns = PYTHON_CALL_NS if calls_python else 0
        c.kc_shares_lock = calls_python  # the GIL
        self.c = c

    def _c_function(self, function: Function | None, python: Any, wrapped: Any) -> Any:
        """The thread or the undo function as C is to call it."""
        if function is None:
            return ffi.NULL
        if function.python is not None:
            return python
        return wrapped if self.needs_call else ffi.cast(ffi.typeof(wrapped), function.address)

    def _c_iter(self) -> Any:
        if self.iter is None:
            return ffi.NULL  # ktask_iter_range, without a lock
        return lib.py_iter if self.iter.python is not None else ffi.cast("ktask_iter_func", self.iter.address)


class Ctl:
    """How a task is to be run: its thread function, and everything that has a default.

    ``thread_func(start, end, arg)`` does the units from ``start`` up to, not including, ``end``; it is called from
    several threads at once. It is a Python callable, which returns None or 0 when all went well, a non-zero int or
    an exception when not; or, to run without the GIL, a C function ``int f(void *start, void *end, void *arg)``: a
    cffi function pointer, a ctypes function, a numba ``cfunc``, a capsule of Cython's, a ``scipy.LowLevelCallable`` or
    an address. A chunk that fails must clean up after itself.

    ``func_arg`` is passed to every call: any object for a Python callable; for a C function an address, a writable
    contiguous buffer, a capsule or a cffi or ctypes pointer; None for the ``user_data`` of a ``LowLevelCallable``. It
    is kept alive.

    ``min_chunk_size`` is the least number of units worth giving to a thread at once. In doubt leave it 1.

    ``iter_func(position, size)`` returns the position ``size`` units after ``position``, for tasks whose positions
    are not numbers; the default adds. It is called in order, by one thread at a time.

    ``undo_func(start, end, arg)`` gives back what a finished range did, when another one failed. It must not fail.

    ``max_threads`` limits the threads, the caller included; None: as many as there are CPUs.

    ``align`` makes chunks end at positions that are multiples of it.

    ``progress`` is called as ``progress(done, total)`` some 50 times a second, in the calling thread, or True for a
    tqdm bar. What it raises stops the run.

    ``trace`` records each chunk: see ``Trace``.

    A Ctl may be used for many runs, also at the same time.
    """

    def __init__(
        self,
        thread_func: object,
        func_arg: object = None,
        min_chunk_size: int = 1,
        *,
        iter_func: object = None,
        undo_func: object = None,
        max_threads: int | None = None,
        align: int | None = None,
        progress: bool | Callable[[int, int], object] | None = None,
        trace: Trace | None = None,
    ) -> None:
        """See the class."""
        if trace is not None and not isinstance(trace, Trace):
            raise TypeError(f"trace must be a ktask.Trace, not {type(trace).__name__}: {trace!r}")
        self._plan = Plan(
            thread=function_of(thread_func, THREAD),
            func_arg=func_arg,
            min_chunk_size=count_of(min_chunk_size, "min_chunk_size", least=1),
            iter=None if iter_func is None else function_of(iter_func, ITER),
            undo=None if undo_func is None else function_of(undo_func, UNDO),
            max_threads=0 if max_threads is None else count_of(max_threads, "max_threads", least=1),
            align=0 if align is None else size_of(align, "align", least=1),
            progress=progress_of(progress),
            trace=trace,
        )

    def __repr__(self) -> str:
        """Shows the functions and the minimum."""
        thread = self._plan.thread
        function = thread.keep if thread.keep is not None else hex(thread.address)
        return f"<ktask.Ctl of {function!r}, at least {self._plan.min_chunk_size} units a chunk>"

    # The kernel's setters. Each takes effect in the runs that begin afterwards, or raises and changes nothing.

    def set_iter_func(self, iter_func: object) -> None:
        """Sets the iterator; None for the default."""
        self._plan = replace(self._plan, iter=None if iter_func is None else function_of(iter_func, ITER))

    def set_undo_func(self, undo_func: object) -> None:
        """Sets the undo function; None for none."""
        self._plan = replace(self._plan, undo=None if undo_func is None else function_of(undo_func, UNDO))

    def set_max_threads(self, max_threads: int | None) -> None:
        """Sets the limit of threads, the caller included; None or 0 for as many as there are CPUs."""
        n = 0 if max_threads is None else count_of(max_threads, "max_threads")
        self._plan = replace(self._plan, max_threads=n)

    def set_align(self, align: int | None) -> None:
        """Sets the alignment of chunk ends; None or 0 for none."""
        self._plan = replace(self._plan, align=0 if align is None else size_of(align, "align"))
