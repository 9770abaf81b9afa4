# SPDX-License-Identifier: BSD-3-Clause
"""The raw figures: what a row is, and what is computed from rows."""

from __future__ import annotations

import csv
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

# Sizes that are shown, and how.
HOT = {float(us): f"{us} µs" for us in (1, 2, 5, 10, 20, 50, 100, 200, 1000)}
APART = {float(us): f"{us} µs" for us in (1, 20, 50, 100, 200, 500, 1000)}
CALLS = {float(us): f"{us} µs" for us in (1, 5, 10, 20, 50, 100, 1000)}
EXP = {10.0**n: title for n, title in enumerate(("100", "1k", "10k", "100k", "1M", "10M"), 2)}
ELEMENTS = {10.0**n: f"10^{n}" for n in range(3, 9)}
TRIANGLES = {float(n): str(n) for n in (100, 300, 1000, 3000, 10000)}
DIGESTS = {float(n): str(n) for n in (4, 32, 256, 2048)}


class Row(NamedTuple):
    """One measurement; times are nanoseconds per call, medians of one round in one process."""

    round: int
    peer: str
    workload: str
    size: float
    serial: float
    parallel: float
    ideal: float
    serial_cpu: float
    parallel_cpu: float
    host: str = ""
    """How the CPUs were to each other, before the process and after it (host.cpp); mixed: it changed."""


def row_of(round_: int, peer: str, workload: str, figures: Iterable[str], host: str = "") -> Row:
    """A row from what a program has printed, or a file has."""
    size, serial, parallel, ideal, serial_cpu, parallel_cpu = map(float, figures)
    return Row(round_, peer, workload, size, serial, parallel, ideal, serial_cpu, parallel_cpu, host)


def load(file: Path) -> list[Row]:
    """The rows of one suite."""
    with file.open(newline="") as f:
        lines = list(csv.reader(f))[1:]
    return [row_of(int(r), peer, workload, rest[:6], *rest[6:]) for r, peer, workload, *rest in lines]


def hosts(rows: Iterable[Row]) -> Counter[str]:
    """In how many processes the CPUs were how to each other."""
    return Counter(host for *_, host in {(row.round, row.peer, row.host) for row in rows})


def alike(rows: list[Row]) -> list[Row]:
    """Those of the processes whose CPUs were as in most; all, if some peer had none such."""
    usual = hosts(rows).most_common(1)
    same = [row for row in rows if row.host == usual[0][0]] if usual else rows
    return same if set(peers_of(same)) == set(peers_of(rows)) else rows


class Figure(NamedTuple):
    """The median over the rounds, and the quartiles."""

    median: float
    low: float
    high: float


def figure(rows: Iterable[Row], of: Callable[[Row], float]) -> Figure | None:
    """What `of` is in these rows; None where there are none."""
    values = sorted(of(row) for row in rows)
    if not values:
        return None
    if len(values) == 1:
        return Figure(values[0], values[0], values[0])
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return Figure(statistics.median(values), low, high)


def speedup(row: Row) -> float:
    """Times as fast as serial."""
    return row.serial / row.parallel


def best_possible(row: Row) -> float:
    """What the speed-up would be if nothing cost anything."""
    return row.serial / row.ideal


def over_serial(row: Row) -> float:
    """Nanoseconds more than serial."""
    return row.parallel - row.serial


def burned(row: Row) -> float:
    """CPU seconds of the process for each second of serial work."""
    return row.parallel_cpu / row.serial


def burned_us(row: Row) -> float:
    """CPU microseconds of the process for each call, more than serial."""
    return (row.parallel_cpu - row.serial_cpu) / 1e3


def per_unit(row: Row) -> float:
    """CPU nanoseconds a unit, over the bare loop."""
    return (row.parallel_cpu - row.serial) / row.size


def peers_of(rows: Iterable[Row]) -> list[str]:
    """Each once, in the order of the first round."""
    return list(dict.fromkeys(row.peer for row in rows))
