# SPDX-License-Identifier: BSD-3-Clause
"""Which processes have helpers at work: ``python -m ktask top``."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from typing import Any

import psutil

from ktask._core import lib
from ktask._info import read_json

HEADINGS = ("PID", "helpers", "callers", "CPU %", "program")
NUMBERS = 4
"""So many of the columns are numbers."""


def processes() -> dict[str, Any]:
    """The user's processes that share the CPUs: ``path`` of the table and ``processes``, the busiest first.

    Each has ``pid`` (None: in another PID namespace), ``helpers`` at work, ``callers``: threads whose runs have called
    helpers; ``name`` and ``command`` (None: it has just ended), and ``cpu_percent`` since the last look, None at the
    first. ``reason`` tells why nothing can be seen, if so.
    """
    described = read_json(lib.ktask_describe_processes)
    for process in described["processes"]:
        process["pid"] = process["pid"] or None
        process.update(_about(process["pid"]))
    described["processes"].sort(key=lambda p: (-p["helpers"], -p["callers"], p["pid"] or 0))
    return described


_seen: dict[int, psutil.Process] = {}


def _about(pid: int | None) -> dict[str, Any]:
    unknown = {"name": None, "command": None, "cpu_percent": None}
    if pid is None:
        return unknown
    known = _seen.get(pid)
    try:
        process = known if known and known.is_running() else psutil.Process(pid)
        _seen[pid] = process
        with process.oneshot():
            busy = process.cpu_percent()
            return {
                "name": process.name(),
                "command": " ".join(process.cmdline()),
                "cpu_percent": busy if process is known else None,
            }
    except psutil.Error:
        _seen.pop(pid, None)
        return unknown


def top(*, once: bool, as_json: bool, every: float) -> int:
    """Shows the processes, until Ctrl-C; returns the exit code, 1 if nothing can be seen."""
    show = show_json if as_json else show_live if _is_live(once) else show_text
    return show(once=once, every=every)


def _is_live(once: bool) -> bool:
    return not once and sys.stdout.isatty() and importlib.util.find_spec("rich") is not None


def show_json(*, once: bool, every: float) -> int:
    """An object a line."""
    while True:
        described = processes()
        print(json.dumps(described), flush=True)
        if once:
            return int(described["reason"] is not None)
        time.sleep(every)


def show_text(*, once: bool, every: float) -> int:
    """A table, again and again."""
    while True:
        described = processes()
        print(title(described))
        lines = [HEADINGS, *rows(described)]
        widths = [max(len(line[i]) for line in lines) for i in range(NUMBERS)]
        for line in lines if described["processes"] else []:
            print("  ".join([*(cell.rjust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]))
        if once:
            return int(described["reason"] is not None)
        print(flush=True)
        time.sleep(every)


def show_live(*, once: bool, every: float) -> int:
    """One table that changes."""
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    def table() -> Table:
        described = processes()
        t = Table(title=Text(title(described)), title_justify="left", box=None)
        for i, heading in enumerate(HEADINGS):
            t.add_column(heading, justify="right" if i < NUMBERS else "left", no_wrap=True)
        for row in rows(described):
            t.add_row(*map(Text, row))
        return t

    with Live(table(), auto_refresh=False, screen=True) as live:
        while not once:
            time.sleep(every)
            live.update(table(), refresh=True)
    return 0


def title(described: dict[str, Any]) -> str:
    """What it comes down to."""
    if described["reason"]:
        return f"Nothing can be seen. {described['path'] or 'ktask'}: {described['reason']}"
    n = len(described["processes"])
    helpers = sum(p["helpers"] for p in described["processes"])
    who = f"{n or 'No'} process{'' if n == 1 else 'es'} with ktask"
    return f"{who}, {helpers} helper{'' if helpers == 1 else 's'} at work ({described['path']})"


def rows(described: dict[str, Any]) -> list[tuple[str, ...]]:
    """A line for each process, in the order of the headings."""
    return [
        (
            "?" if p["pid"] is None else str(p["pid"]),
            str(p["helpers"]),
            str(p["callers"]),
            "" if p["cpu_percent"] is None else f"{p['cpu_percent']:.0f}",
            p["command"] or p["name"] or "in another namespace, or ended",
        )
        for p in described["processes"]
    ]
