# SPDX-License-Identifier: BSD-3-Clause
"""``ktask.explain()``: the last run, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ktask._call import RAISED
from ktask._core import lib
from ktask._info import info
from ktask._run import Report, last_report
from ktask._summary import duration, some

WHYS = {
    lib.KTASK_WHY_SHORT: "what was left of the work was too short to gain by a helper: waking one and waiting until it "
    "comes counts as {price}, and the run lasted {lasted}",
    lib.KTASK_WHY_WAITED: "the last time, helpers of this work did little but wait for each other (the GIL, a lock)",
    lib.KTASK_WHY_ENOUGH: "there were as many threads as the task may have, by max_threads, its chunks or the CPUs",
    lib.KTASK_WHY_NONE_FREE: "no helper was to be had, or no more: CPUs were taken, limits reached, or one went home",
}


@dataclass(frozen=True)
class Explanation:
    """What happened in a run, and why; ``str()`` says it in words.

    ``report`` is its ``last_report()``, ``machine`` what ``info()`` says. ``reasons`` are sentences: why there were no
    helpers or no more of them, by what the run has met and by how things are now.
    """

    report: Report
    machine: dict[str, Any]
    reasons: list[str]

    def __str__(self) -> str:
        """In words."""
        r = self.report
        if r.chunks == 0:
            return "No run with any work has ended in this thread."
        lines = [
            f"The run took {duration(r.seconds)}: {some(r.chunks, 'chunk')} on {some(r.threads, 'thread')}"
            + ("; an exception ended it" if r.error == RAISED else f"; it failed with {r.error}" if r.error else "")
            + (f", and {some(r.undone, 'range')} of it {'was' if r.undone == 1 else 'were'} undone" if r.undone else "")
            + "."
        ]
        if r.threads > 1 and r.seconds:
            lines.append(
                f"{r.seconds_busy / r.seconds:.2f} threads were at work on average: "
                f"{min(r.seconds_busy / r.seconds / r.threads, 1):.0%} of what {r.threads} could have done."
            )
        lines.append(_helpers(r))
        return "\n".join([*lines, *(f"- {reason}." for reason in self.reasons)])

    __repr__ = __str__  # for who types it at a prompt or in a notebook


def _helpers(r: Report) -> str:
    if not r.helpers_called:
        return "No helper was called."
    came = r.helpers_called - r.helpers_cancelled
    told = [f"{some(r.helpers_called, 'helper')} called, {came} came"]
    if r.helpers_cancelled:
        told.append(f"{r.helpers_cancelled} sent home before, since the work was done")
    if r.helpers_willed:
        told.append(f"{some(r.helpers_willed, 'time')} the waiting caller lent one its priority or CPU")
    if r.helpers_retreated:
        told.append(f"{some(r.helpers_retreated, 'time')} one went home, since somebody else wanted its CPU")
    return "; ".join(told) + "."


def explain() -> Explanation:
    """Explains the last run that ended in this thread, for ``print``.

    >>> import ktask
    >>> ktask.parallel_for(lambda start, end: None, 1000, max_threads=1)
    >>> print(ktask.explain())
    The run took ... on 1 thread.
    No helper was called.
    - ...
    """
    report, machine = last_report(), info()
    return Explanation(report, machine, list(_reasons(report, machine)) if report.chunks else [])


def _reasons(r: Report, machine: dict[str, Any]) -> list[str]:
    if not machine["enabled"]:
        return [f"runs are serial: {machine['reason']}"]
    told = []
    if r.why == lib.KTASK_WHY_NOT_ASKED and not r.helpers_called:
        told.append("it was over before it was time to think of a helper")
    elif r.why in WHYS and (not r.helpers_called or r.why != lib.KTASK_WHY_SHORT):
        price = duration((machine.get("wake_ns", 0) + machine.get("answer_ns", 0)) / 1e9)
        told.append(WHYS[r.why].format(price=price, lasted=duration(r.seconds)))
    if r.why == lib.KTASK_WHY_NONE_FREE and machine.get("pause_ns"):
        told.append(
            f"one has just gone home for somebody else: for {duration(machine['pause_ns'] / 1e9)} fewer are called"
        )
    if machine.get("capped"):
        told.append(f"there may be {some(machine['max_helpers'], 'helper')} only: {machine['capped']}")
    alone = machine.get("table", {}).get("reason")
    if alone and r.helpers_called:
        told.append(f"helpers of other processes are not counted: {alone}")
    return told
