# SPDX-License-Identifier: BSD-3-Clause
"""The calls that do the work. A run whose functions are all C's is one call into C; for the others see ``_call``."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from sys import is_finalizing
from time import perf_counter_ns
from typing import Any

from ktask._call import RAISED, Call, TaskError, code_of, failure_of
from ktask._convert import ADDRESSES, Function, address_of, loop_body_of, size_of
from ktask._core import ffi, lib
from ktask._ctl import NUMA_NO_NODE, Ctl, Node, Plan
from ktask._places import parts_of_range
from ktask._progress import ProgressReport
from ktask._trace import Trace

DIRECT_NS = 200_000
"""A run of a Python callable that is expected to take no longer is one call in the calling thread: helpers would not
come in time, and C has nothing else to add."""

MAX_SIZE = lib.KTASK_MAX_SIZE
NO_CALL = ffi.NULL
NO_ARG: Any = object()


@dataclass(frozen=True)
class Report:
    """What happened in a run: see ``last_report``."""

    seconds: float
    chunks: int
    undone: int
    threads: int
    helpers_called: int
    helpers_cancelled: int
    helpers_willed: int
    error: int
    helpers_retreated: int
    seconds_busy: float
    why: int


def last_report() -> Report:
    """Tells about the last run that ended in this thread.

    ``chunks`` and ``undone`` are calls of the thread and the undo function, ``threads`` those that did a chunk at
    least, the caller included; ``helpers_cancelled`` were called, but not needed any more when they came, and
    ``helpers_retreated`` went home since somebody else wanted their CPU. ``seconds_busy`` is the time that all threads
    together spent in chunks. ``why`` tells what kept the caller from calling a helper, or one more, as the C interface
    numbers it (``enum ktask_why``); ``explain()`` says it in words.
    """
    r = lib.py_last_report()
    return Report(
        r.kr_ns / 1e9,
        r.kr_chunks,
        r.kr_undone,
        r.kr_threads,
        r.kr_called,
        r.kr_cancelled,
        r.kr_willed,
        r.kr_error,
        r.kr_retreated,
        r.kr_busy_ns / 1e9,
        r.kr_why,
    )


def run(start: Any, size: int, ctl: Ctl) -> None:
    """Runs ``ctl``'s thread function over ``size`` units from ``start`` on, on all free CPUs.

    In effect ``thread_func(start, start + size, func_arg)``, in chunks that run at the same time. ``start`` is a
    number for a Python callable, an address, number, writable buffer or pointer for a C function, or whatever the
    iterator takes. Nothing is called if ``size`` is 0.

    Returns None when all is done. Otherwise the first failure in time is raised, after the chunks under way have
    finished and all that was finished has been undone: the Python callable's own exception, or ``TaskError`` for a
    result other than 0. Ctrl-C stops the run in the same way and raises KeyboardInterrupt.

    Thread-safe; may be called from inside a thread function.
    """
    plan = _plan_of(ctl)
    if not (type(size) is int and 0 <= size <= MAX_SIZE):
        size = size_of(size, "size")
    if plan.needs_call:
        if plan.may_be_direct and type(start) is int and _is_short(plan.identity, size, plan.least_chunk):
            _run_directly(plan.thread, plan.identity, range(start, start + size), plan.func_arg, plan.least_chunk)
        else:
            _run_nodes([Node(start, size)], plan)
        return
    keep = None
    if not (type(start) is int and 0 <= start <= MAX_SIZE):
        start, keep = address_of(start, "start")
        _check_end(start, size, plan)
    error = lib.py_run(start, size, plan.c, NO_CALL)
    del keep
    if error:
        raise failure_of(error, [], _c_position)


def _is_short(identity: int, size: int, least_chunk: int) -> bool:
    """Is a run of this kind of work expected to take less than ``DIRECT_NS``?"""
    return 0 < lib.py_recall(identity, size, least_chunk) * size < DIRECT_NS


def _run_directly(thread: Function, identity: int, indexes: range, arg: object, least_chunk: int) -> None:
    """Does all of a short run in one chunk, here and now."""
    start, end = indexes.start, indexes.start + len(indexes) * indexes.step
    code = RAISED
    begin = perf_counter_ns()
    assert thread.python is not None
    try:
        result = thread.python(start, end, arg) if thread.takes_arg else thread.python(start, end)
        code = 0 if result is None else code_of(result, thread.any_result)
    finally:
        lib.py_remember(identity, len(indexes), least_chunk, perf_counter_ns() - begin, code)
    if code:
        raise TaskError(code, start, end)


def run_numa(nodes: Iterable[Node], ctl: Ctl) -> None:
    """Runs a task whose parts lie on different NUMA nodes: helpers start on their own node's part.

    Otherwise like ``run``; a chunk never crosses parts. ``nodes`` are ``ktask.Node(start, size, nid)``.
    """
    plan = _plan_of(ctl)
    if isinstance(nodes, Node):
        raise TypeError(f"nodes must be several, such as [{nodes!r}]")
    checked = []
    for i, node in enumerate(nodes):
        if i == lib.KTASK_MAX_NODES:
            raise ValueError(f"a task may have {lib.KTASK_MAX_NODES} nodes, and not one more")
        if not isinstance(node, Node):
            raise TypeError(f"nodes[{i}] must be a ktask.Node, not {type(node).__name__}: {node!r}")
        checked.append(Node(node.start, size_of(node.size, f"nodes[{i}].size"), _nid_of(node.nid, i)))
    total = sum(n.size for n in checked)
    if total > MAX_SIZE:
        raise OverflowError(f"the nodes' sizes add up to {total}; the most is {MAX_SIZE}")
    _run_nodes(checked, plan)


def _plan_of(ctl: Ctl) -> Plan:
    """What the run goes by from now on, whatever becomes of ``ctl`` meanwhile."""
    if not isinstance(ctl, Ctl):
        raise TypeError(f"ctl must be a ktask.Ctl, not {type(ctl).__name__}: {ctl!r}")
    return ctl._plan


def _nid_of(value: object, i: int) -> int:
    try:
        nid = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"nodes[{i}].nid must be an int, not {type(value).__name__}: {value!r}") from None
    if nid == NUMA_NO_NODE:
        return nid
    # A part without units starts nothing, but its node has to exist.
    if not 0 <= nid < 2**31 or lib.py_run_numa(ffi.new("struct ktask_node *", {"kn_nid": nid}), 1, _NOTHING, NO_CALL):
        raise ValueError(f"nodes[{i}].nid is {nid}, which is no NUMA node of this machine; see ktask.info()")
    return nid


def _c_position(position: Any) -> int | None:
    return int(ffi.cast("intptr_t", position))


def _check_end(start: int, size: int, plan: Plan) -> None:
    if plan.iter is None and start + size >= ADDRESSES:
        raise OverflowError(
            f"start + size is beyond the largest pointer: start {start:#x}, size {size} (a C function takes no range "
            "that goes from negative to positive numbers)"
        )


def _run_nodes(nodes: list[Node], plan: Plan, step: int = 1) -> None:
    """Runs with everything that may come: several parts, Python functions, progress."""
    if plan.progress is None:
        _run_call(nodes, plan, step, None)
        return
    total = sum(n.size for n in nodes)
    with plan.progress.shown(total) as report:
        _run_call(nodes, plan, step, report)
        report(total, total)


def _run_call(nodes: list[Node], plan: Plan, step: int, report: ProgressReport | None) -> None:
    if is_finalizing():
        plan = replace(plan, max_threads=1)  # when the interpreter ends, no other thread gets the GIL ever again
    # Where no C function sees them, numbers need not be C's.
    counts = plan.iter is None and plan.thread.python is not None and not plan.c_undo
    base = _base_of(nodes, plan, step) if counts else 0
    call = Call(plan, base, step, report) if plan.needs_call else None
    if call is not None:
        call.handle = call.c.handle = ffi.new_handle(call)

    def start_of(n: Node) -> tuple[Any, object]:
        if counts:
            return size_of(n.start - base, "the distance of starts"), None
        if call is not None and call.iter is not None:
            return call.position(n.start), None
        start, keep = address_of(n.start, "start")
        _check_end(start, n.size, plan)
        return start, keep

    try:
        c_nodes, keep = _c_nodes(nodes, start_of)
        error = lib.py_run_numa(c_nodes, len(nodes), plan.c, NO_CALL if call is None else call.c)
        del keep
        if error:
            raise failure_of(error, [], _c_position) if call is None else call.failure(error)
    finally:
        if call is not None:
            call.handle = None  # or they would keep each other alive


def _c_nodes(nodes: list[Node], start_of: Callable[[Node], tuple[Any, object]]) -> tuple[Any, list[object]]:
    """The nodes as C takes them, and what has to stay alive with them."""
    c_nodes = ffi.new("struct ktask_node[]", max(len(nodes), 1))
    keep = []
    for i, n in enumerate(nodes):
        start, kept = start_of(n)
        keep.append(kept)
        c_nodes[i].kn_start = ffi.cast("void *", start)
        c_nodes[i].kn_task_size = n.size
        c_nodes[i].kn_nid = n.nid
    return c_nodes, keep


def _base_of(nodes: list[Node], plan: Plan, step: int) -> int:
    """The number that C's 0 stands for: 0, unless some numbers are too small or too large for C."""
    for n in nodes:
        if isinstance(n.start, bool) or not hasattr(n.start, "__index__"):
            raise TypeError(
                f"start must be an int for a Python callable without an iterator, "
                f"not {type(n.start).__name__}: {n.start!r}"
            )
    base = min((operator.index(n.start) for n in nodes), default=0)
    if step == 1 and base >= 0 and all(n.start + n.size <= MAX_SIZE for n in nodes):
        return 0
    return base - base % plan.align if plan.align and step == 1 else base


def parallel_for(
    func: object,
    n_or_range: int | range,
    *,
    min_chunk: int = 1,
    arg: object = NO_ARG,
    undo: object = None,
    max_threads: int | None = None,
    align: int | None = None,
    progress: bool | Callable[[int, int], object] | None = None,
    trace: Trace | None = None,
    data: object = None,
) -> None:
    """Calls ``func(start, end)`` for chunks of ``range(n)`` or of a range, on all free CPUs.

    A chunk of ``range(a, b, step)`` is ``range(start, end, step)``. ``func`` is a Python callable that takes
    ``(start, end)``, or ``(start, end, arg)`` if ``arg`` is given, or a C function as for ``Ctl``. It fails by raising,
    or by returning a non-zero int; anything else that it returns is ignored.

    ``data`` is an array whose item ``i`` is what the work on index ``i`` is about: on a machine with several NUMA
    nodes, each node's threads then begin with what lies on their own node (see ``nodes_of``). The other arguments are
    ``Ctl``'s.

    >>> import ktask
    >>> squares = [0] * 1000
    >>> def square(start, end):
    ...     for i in range(start, end):
    ...         squares[i] = i * i
    >>> ktask.parallel_for(square, 1000)
    >>> squares[999]
    998001
    """
    indexes = n_or_range if isinstance(n_or_range, range) else range(size_of(n_or_range, "n_or_range"))
    if (indexes.stop - indexes.start) // indexes.step > MAX_SIZE:  # where len() may fail
        raise OverflowError(f"n_or_range must have at most {MAX_SIZE} numbers: {indexes!r}")
    body = loop_body_of(func, takes_arg=arg is not NO_ARG)
    if arg is NO_ARG:
        arg = None
    plain = undo is None and max_threads is None and align is None and progress is None and trace is None
    plain = plain and data is None and body.python is not None and type(min_chunk) is int and min_chunk == 1
    if plain and _is_short(identity := body.identity, len(indexes), 1):
        _run_directly(body, identity, indexes, arg, 1)
        return
    ctl = Ctl(
        body,
        arg,
        min_chunk,
        undo_func=undo,
        max_threads=max_threads,
        align=align,
        progress=progress,
        trace=trace,
    )
    plan = ctl._plan
    if data is not None:
        if indexes.step != 1:
            raise ValueError(f"data goes with ranges with step 1 only, not {indexes!r}")
        _run_nodes(parts_of_range(indexes, data), plan)
    elif indexes.step == 1:
        run(indexes.start, len(indexes), ctl)
    elif body.python is not None and not plan.c_undo:
        _run_nodes([Node(indexes.start, len(indexes))], plan, indexes.step)
    else:
        raise ValueError(f"C functions take ranges with step 1 only, not {indexes!r}")


_NOTHING = ffi.new("struct ktask_ctl *", {"kc_struct_size": ffi.sizeof("struct ktask_ctl"), "kc_min_chunk_size": 1})
_NOTHING.kc_thread_func = lib.py_thread_func  # never called: for runs without units
