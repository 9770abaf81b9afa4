# SPDX-License-Identifier: BSD-3-Clause
"""Which thread did which chunk, and when."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from typing import Any

from ktask._convert import size_of
from ktask._core import ffi, lib
from ktask._summary import Summary, rows_of

TIME_UNITS = (("seconds", 1), ("milliseconds", 1e3), ("microseconds", 1e6))
"""Of the time axis, and how many there are in a second."""


KINDS = {
    lib.KTASK_EVENT_CHUNK: "chunk",
    lib.KTASK_EVENT_RUN: "run",
    lib.KTASK_EVENT_CALL: "call",
    lib.KTASK_EVENT_DISMISS: "dismiss",
    lib.KTASK_EVENT_STAY: "stay",
    lib.KTASK_EVENT_WILL: "will",
    lib.KTASK_EVENT_RETREAT: "retreat",
}


@dataclass(frozen=True)
class Event:
    """Something that happened from ``begin`` to ``end``, in seconds since the first event of the trace began.

    ``kind`` tells what; a trace that was given to a ``Ctl`` has chunks only:

    - ``chunk``: one was done. ``start`` is its position, of so many ``units``; in a range that begins below 0 or has a
      step, the number of units before it. ``cpu`` is where it began, ``nid`` the NUMA node that it belonged to (-1:
      none), ``result`` what the thread function returned.
    - ``run``: a run of ``units`` in all, seen by its caller. ``start`` is a number for the kind of work, ``result``
      that of the run.
    - ``call``: a helper, from when it was called until it came; ``dismiss``: until it was sent home before it had come.
    - ``stay``: a helper at work on a run; ``units`` are what it did.
    - ``will``: the waiting caller lent a helper its priority (``result`` 1), its CPU (2), or both (3).
    - ``retreat``: a helper went home, since somebody else wanted its CPU.

    ``thread`` 0 is the caller of the run, n the pool's helper number n - 1; ``tid`` its number in the system, or 0
    where that is not known. ``run`` is a number for the run.
    """

    begin: float
    end: float
    start: int
    units: int
    thread: int
    cpu: int
    nid: int
    result: int
    kind: str = "chunk"
    run: int = 0
    tid: int = 0


TITLE = "ktask: who did what when"

TOUCHED = 1 << 20
"""So many events are recorded without waiting for the system to find memory; for more, it is found when they come."""


def room_for(events: int) -> Any:
    """Zeroed memory for so many, each on a cache line of its own."""
    size = events * ffi.sizeof("struct ktask_event")
    if os.name == "nt":
        memory = mmap.mmap(-1, size)
    else:
        touch = getattr(mmap, "MAP_POPULATE", 0) if events <= TOUCHED else 0
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | touch)
    return ffi.from_buffer("struct ktask_event[]", memory)


class Trace:
    """Records the chunks of the runs whose ``Ctl`` it is given to; ``capacity`` of them, the rest is only counted.

    What ``ktask.trace()`` gives is one, too: of all runs, with all kinds of events.

    The room is made here, so that recording allocates nothing. Several runs may share a trace; read it when none of
    them is under way.
    """

    def __init__(self, capacity: int = 65536) -> None:
        """``capacity`` is in events, of 64 bytes each."""
        self._capacity = size_of(capacity, "capacity", least=1)
        self._events = room_for(self._capacity)
        self._c = ffi.new("struct ktask_trace *", {"kt_events": self._events, "kt_capacity": self._capacity})
        self.thread_names: dict[int, str] = {}
        """By ``tid``: names of threads that made runs, as far as they are known."""

    def __len__(self) -> int:
        """Returns how many events are recorded."""
        return min(int(self._c.kt_count), self._capacity)

    @property
    def dropped(self) -> int:
        """How many events did not fit."""
        return max(int(self._c.kt_count) - self._capacity, 0)

    def clear(self) -> None:
        """Forgets all events."""
        ffi.buffer(self._events, len(self) * ffi.sizeof("struct ktask_event"))[:] = bytes(
            len(self) * ffi.sizeof("struct ktask_event")
        )
        self._c.kt_count = 0

    @property
    def events(self) -> list[Event]:
        """All recorded events, in the order in which they ended."""
        recorded = [e for e in self._events[0 : len(self)] if e.ke_end]  # the others are being written
        epoch = min((e.ke_begin for e in recorded), default=0)
        events = [
            Event(
                begin=(e.ke_begin - epoch) / 1e9,
                end=(e.ke_end - epoch) / 1e9,
                start=int(ffi.cast("intptr_t", e.ke_start)),
                units=e.ke_units,
                thread=e.ke_thread,
                cpu=e.ke_cpu,
                nid=e.ke_nid,
                result=e.ke_result,
                kind=KINDS[e.ke_kind],
                run=e.ke_run,
                tid=e.ke_tid,
            )
            for e in recorded
        ]
        return sorted(events, key=lambda e: e.end)

    def summary(self) -> Summary:
        """What it comes down to: balance, idle time, how fast helpers came, how long chunks were; for ``print``."""
        return Summary.of(self)

    def save(self, path: str | os.PathLike[str], *, title: str = TITLE) -> None:
        """Writes the trace to a file, by the end of its name.

        ``.json``: for https://ui.perfetto.dev or chrome://tracing. ``.svg``: a picture, a row for each thread.
        ``.png``: as ``plot`` draws it. Raises ValueError for others.
        """
        suffix = os.path.splitext(path)[1].lower()
        if suffix == ".png":
            self.plot(path, title=title)
            return
        if suffix == ".json":
            from ktask._chrome import chrome_trace

            text = chrome_trace(self)
        elif suffix == ".svg":
            from ktask._timeline import timeline

            text = timeline(self, title)
        else:
            raise ValueError(f"a trace is saved as .json, .svg or .png, not as {os.fspath(path)!r}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def _repr_svg_(self) -> str:
        """The picture, in notebooks."""
        from ktask._timeline import timeline

        return timeline(self, TITLE)

    def plot(self, path: str | os.PathLike[str] | None = None, *, title: str = TITLE) -> Any:
        """Draws a row for each thread and a bar for each chunk; saves it to ``path``, if given.

        A bar's colour goes with the chunk's position in the range; a chunk that failed is red, idle time grey.

        Returns the matplotlib figure. Needs matplotlib: ``pip install 'ktask[plot]'``.
        """
        try:
            from matplotlib import colormaps
            from matplotlib.colors import Normalize
            from matplotlib.figure import Figure
        except ImportError:
            raise ImportError("Trace.plot needs matplotlib: pip install 'ktask[plot]'") from None
        events = [e for e in self.events if e.kind == "chunk"]
        rows = rows_of(self, events)
        span = max((e.end for e in events), default=0.0)
        unit, scale = next(u for u in TIME_UNITS if span * u[1] >= 10 or u is TIME_UNITS[-1])
        figure = Figure(figsize=(11, 1.5 + min(0.6 * max(len(rows), 1), 20)), layout="constrained")
        axes = figure.subplots()
        axes.set_xlim(0, scale * span or 1)

        # The colour says which part of the range: who does what far from the others stands out.
        starts = [e.start for e in events]
        place_of = Normalize(min(starts, default=0), max(starts, default=1))
        for row, thread in enumerate(rows):
            mine = thread.events
            axes.broken_barh([(0, scale * span)], (row - 0.4, 0.8), facecolors="#eeeeee")  # idle, where it shows
            axes.broken_barh(
                [(scale * e.begin, scale * (e.end - e.begin)) for e in mine],
                (row - 0.4, 0.8),
                facecolors=["#d62728" if e.result else colormaps["viridis"](place_of(e.start)) for e in mine],
            )
            # Lines between chunks, but for those too narrow to have one.
            borders = [scale * e.begin for e in mine if e.end - e.begin > span / 250]
            axes.vlines(borders, row - 0.4, row + 0.4, colors="white", linewidth=0.6)
            busy = sum(e.end - e.begin for e in mine) / span if span else 0
            axes.annotate(
                f"{len(mine)} chunk{'s' if len(mine) > 1 else ''}, in them {busy:.0%} of the time",
                (1, row),
                xycoords=("axes fraction", "data"),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
        axes.set_xlabel(f"{unit} (colours: from the first chunk of the range, dark, to the last, bright)")
        axes.set_title(title + self._remark(events), loc="left")
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        if path is not None:
            figure.savefig(path, dpi=130)
        return figure

    def _remark(self, events: list[Event]) -> str:
        """What the bars alone do not tell."""
        failed = sum(e.result != 0 for e in events)
        return (f"; {failed} failed (red)" if failed else "") + (
            f"; {self.dropped} more events had no room in the trace" if self.dropped else ""
        )
