# SPDX-License-Identifier: BSD-3-Clause
"""Which thread did which chunk, and when."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ktask._convert import size_of
from ktask._core import ffi


@dataclass(frozen=True)
class Event:
    """One chunk: ``begin`` and ``end`` in seconds since the trace's first chunk began.

    ``thread`` 0 is the caller of the run, n the pool's helper number n - 1. ``cpu`` is where the chunk began, ``nid``
    the NUMA node that it belonged to (-1: none), ``result`` what the thread function returned.
    """

    begin: float
    end: float
    start: int
    units: int
    thread: int
    cpu: int
    nid: int
    result: int


class Trace:
    """Records the chunks of the runs whose ``Ctl`` it is given to; ``capacity`` of them, the rest is only counted.

    The room is made here, so that recording allocates nothing. Several runs may share a trace; read it when none of
    them is under way.
    """

    def __init__(self, capacity: int = 65536) -> None:
        """``capacity`` is in chunks, of 48 bytes each."""
        self._capacity = size_of(capacity, "capacity", least=1)
        self._events = ffi.new("struct ktask_event[]", self._capacity)
        self._c = ffi.new("struct ktask_trace *", {"kt_events": self._events, "kt_capacity": self._capacity})

    def __len__(self) -> int:
        """Returns how many chunks are recorded."""
        return min(int(self._c.kt_count), self._capacity)

    @property
    def dropped(self) -> int:
        """How many chunks did not fit."""
        return max(int(self._c.kt_count) - self._capacity, 0)

    def clear(self) -> None:
        """Forgets all chunks."""
        self._c.kt_count = 0

    @property
    def events(self) -> list[Event]:
        """All recorded chunks, in the order in which they ended."""
        recorded = self._events[0 : len(self)]
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
            )
            for e in recorded
        ]
        return sorted(events, key=lambda e: e.end)

    def plot(self, path: str | os.PathLike[str] | None = None, *, title: str = "ktask: who did what when") -> Any:
        """Draws a row for each thread and a bar for each chunk; saves it to ``path``, if given.

        Returns the matplotlib figure. Needs matplotlib: ``pip install 'ktask[plot]'``.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise ImportError("Trace.plot needs matplotlib: pip install 'ktask[plot]'") from None
        events = self.events
        threads = sorted({e.thread for e in events})
        figure = Figure(figsize=(11, 1.6 + 0.55 * len(threads)), layout="constrained")
        axes = figure.subplots()
        for row, thread in enumerate(threads):
            mine = [e for e in events if e.thread == thread]
            # Neighbours in two shades, so that chunks can be told apart.
            shades = ["#1f6f8b" if i % 2 else "#58b4d1" for i in range(len(mine))] if thread else []
            shades = shades or ["#c2571a" if i % 2 else "#f0a35e" for i in range(len(mine))]
            axes.broken_barh(
                [(1e3 * e.begin, 1e3 * (e.end - e.begin)) for e in mine], (row - 0.4, 0.8), facecolors=shades
            )
        axes.set_yticks(range(len(threads)), [f"helper {t - 1}" if t else "caller" for t in threads])
        axes.invert_yaxis()
        axes.set_xlabel("milliseconds")
        axes.set_title(f"{title} ({len(events)} chunks)")
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        if path is not None:
            figure.savefig(path, dpi=130)
        return figure
