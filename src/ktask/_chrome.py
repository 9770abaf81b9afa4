# SPDX-License-Identifier: BSD-3-Clause
"""A trace as a file for Perfetto (https://ui.perfetto.dev) and chrome://tracing: the trace event format, in JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ktask._summary import Row, rows_of

if TYPE_CHECKING:
    from ktask._trace import Event, Trace

NAMES = {"call": "coming", "dismiss": "sent home before it came", "stay": "at work"}
LENT = {1: "priority", 2: "CPU", 3: "priority and CPU"}


def chrome_trace(trace: Trace) -> str:
    """The text of the file; times in microseconds since the first event."""
    events = trace.events
    rows = rows_of(trace, events)
    told = [_metadata("process_name", 0, name="ktask")]
    for i, row in enumerate(rows):
        told += [_metadata("thread_name", i, name=row.name), _metadata("thread_sort_index", i, sort_index=i)]
        told += [_told(i, e) for e in row.events]
    told += _arrows(rows)
    return json.dumps(
        {
            "traceEvents": told,
            "displayTimeUnit": "ns",
            "otherData": {"made by": "ktask", "dropped events": trace.dropped},
        },
        separators=(",", ":"),
    )


def _metadata(what: str, row: int, **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": os.getpid(), "tid": row, "args": args}


def _told(row: int, e: Event) -> dict[str, Any]:
    args: dict[str, Any] = {"run": e.run}
    name = NAMES.get(e.kind, e.kind)
    if e.kind == "chunk":
        name = f"{e.start:,} + {e.units:,}"
        args |= {"start": e.start, "units": e.units, "cpu": e.cpu, "node": e.nid, "result": e.result}
    elif e.kind == "run":
        name = f"run {e.run}"
        args |= {"units": e.units, "result": e.result}
    elif e.kind == "stay":
        args |= {"units": e.units}
    elif e.kind == "will":
        name = f"lent {LENT[e.result]}"
    told = {"name": name, "cat": e.kind, "pid": os.getpid(), "tid": row, "ts": e.begin * 1e6, "args": args}
    if e.kind in ("will", "retreat"):
        return told | {"ph": "i", "s": "t"}
    return told | {"ph": "X", "dur": (e.end - e.begin) * 1e6}


def _arrows(rows: list[Row]) -> Iterator[dict[str, Any]]:
    """From each run's row to each helper that came to it."""
    caller = {e.run: i for i, row in enumerate(rows) for e in row.kind("run")}
    number = 0
    for i, row in enumerate(rows):
        for e in row.kind("call"):
            if e.run not in caller:
                continue
            number += 1
            common = {"name": "call", "cat": "call", "pid": os.getpid(), "id": number}
            yield common | {"ph": "s", "tid": caller[e.run], "ts": e.begin * 1e6}
            yield common | {"ph": "f", "bp": "e", "tid": i, "ts": e.end * 1e6}
