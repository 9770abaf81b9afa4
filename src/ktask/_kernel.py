# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's door: the names and the argument order of the Linux kernel's ktask v4, with integer results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ktask._call import ForkedError, TaskError
from ktask._ctl import Ctl, Node
from ktask._run import run, run_numa

KTASK_RETURN_SUCCESS = 0
"""What a thread function returns, and ``ktask_run``, when all went well."""


def DEFINE_KTASK_CTL(thread_func: object, func_arg: object, min_chunk_size: int) -> Ctl:
    """Returns the control structure of a task: see ``Ctl``."""
    return Ctl(thread_func, func_arg, min_chunk_size)


def ktask_ctl_set_iter_func(ctl: Ctl, iter_func: object) -> None:
    """Sets ``iter_func(position, size)``, which returns the position ``size`` units on."""
    ctl.set_iter_func(iter_func)


def ktask_ctl_set_undo_func(ctl: Ctl, undo_func: object) -> None:
    """Sets ``undo_func(start, end, arg)``, which gives back what a finished range did."""
    ctl.set_undo_func(undo_func)


def ktask_ctl_set_max_threads(ctl: Ctl, max_threads: int) -> None:
    """Limits the threads that work on the task, the caller included; 0: as many as there are CPUs."""
    ctl.set_max_threads(max_threads)


def ktask_ctl_set_align(ctl: Ctl, align: int) -> None:
    """Makes chunks end at multiples of ``align``; 0: anywhere."""
    ctl.set_align(align)


def ktask_run(start: Any, task_size: int, ctl: Ctl) -> int:
    """Runs the task; returns ``KTASK_RETURN_SUCCESS`` or the first thread function's other result.

    Exceptions of Python functions, bad arguments and Ctrl-C raise, as in ``run``.
    """
    return _result_of(lambda: run(start, task_size, ctl))


def ktask_run_numa(nodes: Iterable[Node], ctl: Ctl) -> int:
    """Like ``ktask_run``, for a task whose parts lie on different NUMA nodes: see ``run_numa``."""
    return _result_of(lambda: run_numa(nodes, ctl))


def _result_of(call: Callable[[], None]) -> int:
    try:
        call()
    except ForkedError:
        raise
    except TaskError as error:
        return error.code
    return KTASK_RETURN_SUCCESS
