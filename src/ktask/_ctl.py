# SPDX-License-Identifier: BSD-3-Clause
"""``Ctl``: how a task is to be run. ``Node``: a part of a task on one NUMA node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


class Ctl:
    """How a task is to be run: its thread function, and everything that has a default.

    ``thread_func(start, end, arg)`` does the units from ``start`` up to, not including, ``end``; it is called from
    several threads at once. It is a Python callable, which returns None or 0 when all went well, a non-zero int or
    an exception when not; or, to run without the GIL, a C function ``int f(void *start, void *end, void *arg)``: a
    cffi function pointer, a ctypes function, a numba ``cfunc`` or an address. A chunk that fails must clean up after
    itself.

    ``func_arg`` is passed to every call: any object for a Python callable; for a C function an address, a writable
    contiguous buffer or a cffi or ctypes pointer. It is kept alive.

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
        self._thread = function_of(thread_func, THREAD)
        self._iter = None if iter_func is None else function_of(iter_func, ITER)
        self._undo = None if undo_func is None else function_of(undo_func, UNDO)
        self._func_arg = func_arg
        self._min_chunk_size = count_of(min_chunk_size, "min_chunk_size", least=1)
        self._max_threads = 0 if max_threads is None else count_of(max_threads, "max_threads", least=1)
        self._align = 0 if align is None else size_of(align, "align", least=1)
        self._progress: Progress | None = progress_of(progress)
        if trace is not None and not isinstance(trace, Trace):
            raise TypeError(f"trace must be a ktask.Trace, not {type(trace).__name__}: {trace!r}")
        self._trace = trace
        self._prepare()

    def __repr__(self) -> str:
        """Shows the functions and the minimum."""
        function = self._thread.python or self._thread.keep or hex(self._thread.address)
        return f"<ktask.Ctl of {function!r}, at least {self._min_chunk_size} units a chunk>"

    def _prepare(self) -> None:
        """Makes the C structure anew; runs under way have a copy of the one before."""
        functions = [f for f in (self._thread, self._undo) if f is not None]
        if self._iter is not None:
            functions.append(self._iter)
        self._calls_python = any(f.python is not None for f in functions)
        self._needs_call = self._calls_python or self._progress is not None
        self._identity = self._thread.identity
        # May a short run be one plain call of the Python callable?
        others = (self._iter, self._progress, self._trace)
        self._may_be_direct = self._thread.python is not None and all(other is None for other in others)
        if any(f.address for f in (self._thread, self._undo) if f is not None):
            self._arg_address, self._keep_arg = address_of(self._func_arg, "func_arg")
        else:
            self._arg_address, self._keep_arg = 0, None

        c = ffi.new("struct ktask_ctl *")
        c.kc_struct_size = ffi.sizeof("struct ktask_ctl")
        c.kc_thread_func, c.kc_undo_func = self._c_functions()
        c.kc_func_arg = ffi.cast("void *", self._arg_address)
        c.kc_min_chunk_size = self._min_chunk_size
        c.kc_iter_func = self._c_iter()
        c.kc_max_threads = self._max_threads
        c.kc_align = self._align
        c.kc_poll_func = lib.py_poll
        c.kc_trace = ffi.NULL if self._trace is None else self._trace._c
        c.kc_identity = ffi.cast("void *", self._identity)
        c.kc_call_ns = PYTHON_CALL_NS if self._calls_python else 0
        self._c = c

    def _c_functions(self) -> tuple[Any, Any]:
        """The thread and the undo function as C is to call them."""

        def cast(kind: str, f: Function, wrapped: Any, python: Any) -> Any:
            if f.python is not None:
                return python
            return wrapped if self._needs_call else ffi.cast(kind, f.address)

        return (
            cast("ktask_thread_func", self._thread, lib.py_wrapped_thread_func, lib.py_thread_func),
            ffi.NULL
            if self._undo is None
            else cast("ktask_undo_func", self._undo, lib.py_wrapped_undo_func, lib.py_undo_func),
        )

    def _c_iter(self) -> Any:
        if self._iter is None:
            return ffi.NULL  # ktask_iter_range, without a lock
        return lib.py_iter if self._iter.python is not None else ffi.cast("ktask_iter_func", self._iter.address)

    # The kernel's setters.

    def set_iter_func(self, iter_func: object) -> None:
        """Sets the iterator; None for the default."""
        self._iter = None if iter_func is None else function_of(iter_func, ITER)
        self._prepare()

    def set_undo_func(self, undo_func: object) -> None:
        """Sets the undo function; None for none."""
        self._undo = None if undo_func is None else function_of(undo_func, UNDO)
        self._prepare()

    def set_max_threads(self, max_threads: int | None) -> None:
        """Sets the limit of threads, the caller included; None or 0 for as many as there are CPUs."""
        self._max_threads = count_of(max_threads or 0, "max_threads")
        self._prepare()

    def set_align(self, align: int | None) -> None:
        """Sets the alignment of chunk ends; None or 0 for none."""
        self._align = size_of(align or 0, "align")
        self._prepare()
