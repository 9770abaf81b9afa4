# SPDX-License-Identifier: BSD-3-Clause
"""What a trace comes down to: a row for each thread, and a few numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from ktask._trace import Event, Trace

BAR = 32
"""Characters of the longest bar of the histogram."""


@dataclass
class Row:
    """A thread, and what it did or what befell it, in the order of the begins."""

    name: str
    events: list[Event] = field(default_factory=list)

    def kind(self, *kinds: str) -> list[Event]:
        """The events of some kinds."""
        return [e for e in self.events if e.kind in kinds]


def rows_of(trace: Trace, events: Iterable[Event]) -> list[Row]:
    """Callers first, as they came, then helpers by their numbers. A helper's own runs are in its row."""
    helpers = {e.tid: e.thread for e in events if e.thread and e.tid}
    callers: dict[int, Row] = {}
    rows: dict[int, Row] = {}
    for e in sorted(events, key=lambda e: (e.begin, -e.end)):
        helper = e.thread or helpers.get(e.tid, 0)
        if helper:
            row = rows.setdefault(helper, Row(f"helper {helper - 1}"))
        else:
            row = callers.setdefault(e.tid, Row(trace.thread_names.get(e.tid, f"thread {e.tid}")))
        row.events.append(e)
    names = Counter(row.name for row in callers.values())
    for tid, row in callers.items():
        if len(callers) == 1:
            row.name = "caller"
        elif names[row.name] > 1:
            row.name += f" ({tid})"
    return [*callers.values(), *(row for _, row in sorted(rows.items()))]


def duration(seconds: float) -> str:
    """With three digits, in a unit that fits."""
    for unit, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= 0.9995 * unit:
            return f"{seconds / unit:.{max(2 - int(math.log10(seconds / unit)), 0)}f} {name}"
    return f"{seconds * 1e9:.0f} ns"


def some(n: int, thing: str) -> str:
    """A number of things."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


@dataclass(frozen=True)
class Summary:
    """What a trace comes down to; ``str()`` says it in words, ``as_dict()`` is for ``json.dumps``. Times in seconds.

    ``seconds``: from the first event to the last; ``seconds_in_runs``: with a run under way. ``failed``: runs that did.
    ``threads_at_work``: inside runs, on average. ``balance``: of runs with several threads, how long those were busy on
    average, as a part of the busiest one's time; 1 is perfect, None if there was none. ``idle``: what part of their
    time in runs threads spent on anything but chunks: callers while they wait for the last helper, and all between
    chunks. ``called`` helpers either ``came`` or were ``sent_home`` before; ``wake_latency``: how long they took to
    come (``median``, ``p90``, ``longest``), None if none came. ``willed``: times a caller lent something to one;
    ``retreated``: times one went home for somebody else. ``chunk_seconds`` and ``chunk_units``: ``shortest``,
    ``median`` and ``longest``. ``histogram``: pairs of an upper limit in seconds and how many chunks took less, but not
    less than the one before; ``units_histogram``: the same of how many units they had. ``busy``: of each thread, the
    part of ``seconds_in_runs`` that it spent in chunks. ``dropped`` events had no room, and count nowhere.
    """

    seconds: float
    seconds_in_runs: float
    runs: int
    failed: int
    chunks: int
    units: int
    threads_at_work: float
    balance: float | None
    idle: float
    called: int
    came: int
    sent_home: int
    willed: int
    retreated: int
    wake_latency: dict[str, float] | None
    chunk_seconds: dict[str, float] | None
    chunk_units: dict[str, float] | None
    histogram: list[tuple[float, int]]
    units_histogram: list[tuple[int, int]]
    busy: dict[str, float]
    dropped: int

    @classmethod
    def of(cls, trace: Trace) -> Summary:
        """The summary of a trace."""
        events = trace.events
        runs = [_RunSum(list(group)) for _, group in groupby(sorted(events, key=lambda e: e.run), key=lambda e: e.run)]
        chunks = [e for e in events if e.kind == "chunk"]
        lengths = [e.end - e.begin for e in chunks]
        waits = [e.end - e.begin for e in events if e.kind == "call"]
        in_runs = _together([(run.begin, run.end) for run in runs])
        shared = [run for run in runs if len(run.busy) > 1]
        most = sum(max(run.busy.values()) for run in shared)
        present = sum(run.present for run in runs)
        busy = sum(sum(run.busy.values()) for run in runs)

        def count(kind: str) -> int:
            return sum(e.kind == kind for e in events)

        return cls(
            seconds=max((e.end for e in events), default=0.0),
            seconds_in_runs=in_runs,
            runs=len(runs),
            failed=sum(run.failed for run in runs),
            chunks=len(chunks),
            units=sum(e.units for e in chunks),
            threads_at_work=busy / sum(run.end - run.begin for run in runs) if busy else 0.0,
            balance=sum(sum(run.busy.values()) / len(run.busy) for run in shared) / most if most else None,
            idle=max(1 - busy / present, 0.0) if present else 0.0,
            called=count("call") + count("dismiss"),
            came=count("call"),
            sent_home=count("dismiss"),
            willed=count("will"),
            retreated=count("retreat"),
            wake_latency=_spread(waits, low=False),
            chunk_seconds=_spread(lengths),
            chunk_units=_spread([e.units for e in chunks]),
            histogram=_histogram(lengths, [m * 10.0**e for e in range(-7, 6) for m in (1, 3)]),
            units_histogram=_histogram([e.units for e in chunks], [m * 10**e for e in range(20) for m in (1, 3)]),
            busy={
                row.name: sum(e.end - e.begin for e in row.kind("chunk")) / in_runs if in_runs else 0.0
                for row in rows_of(trace, events)
            },
            dropped=trace.dropped,
        )

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for ``json.dumps``."""
        return asdict(self)

    def __str__(self) -> str:
        """In words."""
        if not self.chunks:
            return "No run of ktask did any work." + self._remark()
        lines = [
            f"{some(self.runs, 'run')} in {duration(self.seconds)}, {duration(self.seconds_in_runs)} of it in runs"
            + (f"; {self.failed} failed" if self.failed else ""),
            f"{some(self.chunks, 'chunk')} of {some(self.units, 'unit')}, with {self.threads_at_work:.2f} threads at "
            f"work on average, idle for {self.idle:.1%} of their time in runs",
        ]
        if self.balance is not None:
            lines.append(f"balance {self.balance:.1%}: what threads did on average, beside the busiest one")
        lines.append(self._helpers())
        lines += ["", *(f"{name:<20} {part:6.1%} of the time in runs" for name, part in self.busy.items())]
        assert self.chunk_seconds is not None
        assert self.chunk_units is not None
        lines += [
            "",
            f"chunks took {duration(self.chunk_seconds['median'])} in the median, "
            f"from {duration(self.chunk_seconds['shortest'])} to {duration(self.chunk_seconds['longest'])}",
            *_bars([(duration(limit), n) for limit, n in self.histogram]),
            f"and had {some(round(self.chunk_units['median']), 'unit')} in the median, "
            f"from {self.chunk_units['shortest']:,} to {self.chunk_units['longest']:,}",
            *_bars([(f"{limit:,}", n) for limit, n in self.units_histogram]),
        ]
        return "\n".join(lines) + self._remark()

    __repr__ = __str__  # for who types it at a prompt or in a notebook

    def _helpers(self) -> str:
        if not self.called:
            return "no helper was called" + (", with one thread at a time" if self.balance is None else "")
        text = f"{some(self.called, 'call')} for a helper: {self.came} came, {self.sent_home} sent home before"
        if self.wake_latency is not None:
            text += (
                f"; they took {duration(self.wake_latency['median'])} in the median, "
                f"{duration(self.wake_latency['p90'])} in the 90th percentile"
            )
        if self.willed:
            text += f"; {some(self.willed, 'time')} a waiting caller lent its priority or CPU"
        if self.retreated:
            text += f"; {some(self.retreated, 'time')} one went home for somebody else"
        return text

    def _remark(self) -> str:
        if not self.dropped:
            return ""
        return f"\n{some(self.dropped, 'event')} had no room in the trace and are missing here: give it more capacity"


class _RunSum:
    """What a run's events add up to."""

    def __init__(self, events: Sequence[Event]) -> None:
        chunks = [e for e in events if e.kind == "chunk"]
        whole = [e for e in events if e.kind == "run"] or events  # of a run that has not ended, or was given the trace
        self.begin = min(e.begin for e in whole)
        self.end = max(e.end for e in whole)
        self.failed = any(e.result for e in events if e.kind == "run") or any(e.result for e in chunks)
        self.busy: dict[int, float] = {}
        for e in chunks:
            self.busy[e.thread] = self.busy.get(e.thread, 0.0) + e.end - e.begin
        # The caller is there all the time, a helper while it stays, or as far as its chunks show.
        stays = [(e.begin, e.end) for e in events if e.kind == "stay"]
        if not any(e.kind == "run" for e in events):
            mine = [[e for e in chunks if e.thread == thread] for thread in self.busy if thread]
            stays = [(min(e.begin for e in m), max(e.end for e in m)) for m in mine]
        self.present = self.end - self.begin + sum(end - begin for begin, end in stays)


def _together(spans: list[tuple[float, float]]) -> float:
    """How long at least one of the spans lasted."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(end - max(begin, until), 0.0)
        until = max(until, end)
    return total


def _spread(values: Sequence[float], *, low: bool = True) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    if low:
        return {"shortest": ordered[0], "median": median(ordered), "longest": ordered[-1]}
    return {"median": median(ordered), "p90": ordered[math.ceil(0.9 * len(ordered)) - 1], "longest": ordered[-1]}


N = TypeVar("N", int, float)


def _histogram(values: Sequence[N], limits: Sequence[N]) -> list[tuple[N, int]]:
    """How many are less than each limit, but not than the one before; from the first to the last that has some."""
    counts = [0] * len(limits)
    for value in values:
        counts[next((i for i, limit in enumerate(limits) if value < limit), len(limits) - 1)] += 1
    filled = [i for i, n in enumerate(counts) if n]
    return [(limits[i], counts[i]) for i in range(filled[0], filled[-1] + 1)] if filled else []


def _bars(histogram: Sequence[tuple[str, int]]) -> list[str]:
    """A line for each limit."""
    width = max(len(limit) for limit, _ in histogram)
    most = max(n for _, n in histogram)
    return [
        f"  under {limit:>{width}} {n:>8,} {'█' * max(round(n / most * BAR), n > 0)}".rstrip() for limit, n in histogram
    ]
