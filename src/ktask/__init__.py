# SPDX-License-Identifier: BSD-3-Clause
"""ktask: runs long loops on all the CPUs that are really free, and gets out of the way when they are not.

>>> import ktask
>>> numbers = list(range(1000))
>>> def negate(start, end):
...     for i in range(start, end):
...         numbers[i] = -numbers[i]
>>> ktask.parallel_for(negate, len(numbers))
>>> numbers[999]
-999

Everyday calls are ``parallel_for``, ``run`` and ``run_numa`` with a ``Ctl``; the names of the Linux kernel's ktask
(``DEFINE_KTASK_CTL``, ``ktask_run`` and so on) do the same with integer results.
"""

from ktask import memory as memory
from ktask._accelerate import accelerate_numpy
from ktask._async import arun
from ktask._call import ForkedError, TaskError
from ktask._ctl import NUMA_NO_NODE, Ctl, Node
from ktask._executor import Executor
from ktask._explain import Explanation, explain
from ktask._grid import parallel_for_2d
from ktask._info import info, init, refresh
from ktask._kernel import (
    DEFINE_KTASK_CTL,
    KTASK_RETURN_SUCCESS,
    ktask_ctl_set_align,
    ktask_ctl_set_iter_func,
    ktask_ctl_set_max_threads,
    ktask_ctl_set_undo_func,
    ktask_run,
    ktask_run_numa,
)
from ktask._limits import limits
from ktask._loop import loop
from ktask._places import nodes_of
from ktask._reduce import map, reduce
from ktask._run import Report, last_report, parallel_for, run, run_numa
from ktask._summary import Summary
from ktask._trace import Event, Trace
from ktask._tracing import trace

__version__ = "0.1.0"

__all__ = [
    "DEFINE_KTASK_CTL",
    "KTASK_RETURN_SUCCESS",
    "NUMA_NO_NODE",
    "Ctl",
    "Event",
    "Executor",
    "Explanation",
    "ForkedError",
    "Node",
    "Report",
    "Summary",
    "TaskError",
    "Trace",
    "accelerate_numpy",
    "arun",
    "explain",
    "info",
    "init",
    "ktask_ctl_set_align",
    "ktask_ctl_set_iter_func",
    "ktask_ctl_set_max_threads",
    "ktask_ctl_set_undo_func",
    "ktask_run",
    "ktask_run_numa",
    "last_report",
    "limits",
    "loop",
    "map",
    "nodes_of",
    "parallel_for",
    "parallel_for_2d",
    "reduce",
    "refresh",
    "run",
    "run_numa",
    "trace",
]

for _class in (Ctl, Event, Executor, Explanation, ForkedError, Node, Report, Summary, TaskError, Trace, limits, trace):
    _class.__module__ = "ktask"  # the name to know it by, in tracebacks too
