# SPDX-License-Identifier: BSD-3-Clause
"""Makes the tables and plots of the pages from bench/results/: python bench/report.py, without measuring anything.

A page has the tables where it says `<!-- bench: NAME -->`, up to `<!-- end -->`. After the name may follow the first
words of the columns to show, and `brief`, which leaves out the spread.
"""

from __future__ import annotations

import csv
import json
import re
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import neighbour
import numpy_calls
import plots
import processes
from figures import (
    APART,
    CALLS,
    DIGESTS,
    ELEMENTS,
    EXP,
    HOT,
    TRIANGLES,
    Row,
    alike,
    best_possible,
    burned,
    burned_us,
    figure,
    hosts,
    load,
    over_serial,
    peers_of,
    per_unit,
    speedup,
)
from numpy_ufuncs import EXPRESSIONS, OF_THE_LARGEST, SIZES

HERE = Path(__file__).resolve().parent
PAGES = (
    "README.md",
    "docs/benchmarks.md",
    "docs/executor.md",
    "docs/loop.md",
    "docs/neighbour.md",
    "docs/memory.md",
    "docs/numpy.md",
    "docs/seeing.md",
)


class Column(NamedTuple):
    """One column of a table: which rows, what of them, and with how many digits."""

    title: str
    workload: str
    size: float | None
    of: Callable[[Row], float]
    digits: int = 2


def columns_of_sizes(
    workload: str, of: Callable[[Row], float], sizes: dict[float, str], digits: int = 2
) -> list[Column]:
    """A column for each size."""
    return [Column(title, workload, size, of, digits) for size, title in sizes.items()]


def columns_of_expressions(n: float) -> list[Column]:
    """A column for each expression of so many elements."""
    return [Column(name, name, n, speedup) for name in (EXPRESSIONS if n <= max(SIZES) else OF_THE_LARGEST)]


TABLES: dict[str, tuple[str, list[Column]]] = {  # name: suite, columns
    "hot-empty": ("hot", [Column("ns over serial", "empty", 0, over_serial, 0)]),
    "hot": ("hot", columns_of_sizes("loop", speedup, HOT)),
    "hot-burned": ("hot", columns_of_sizes("loop", burned, HOT)),
    "apart-empty": (
        "apart",
        [
            Column("ns over serial", "empty", 0, over_serial, 0),
            Column("CPU µs over serial", "empty", 0, burned_us, 0),
        ],
    ),
    "apart": ("apart", columns_of_sizes("loop", speedup, APART)),
    "apart-burned": ("apart", columns_of_sizes("loop", burned, APART)),
    "long": (
        "long",
        [
            *(Column(w, w, None, speedup) for w in ("balanced", "triangle", "mandelbrot", "random", "four", "tiny")),
            Column("tiny: ns per unit", "tiny", None, per_unit, 1),
        ],
    ),
    "memory": ("memory", [Column(w, w, None, speedup) for w in ("clear", "copy", "triad")]),
    "python-call": (
        "python",
        [Column("empty, ns over serial", "call", 0, over_serial, 0), *columns_of_sizes("call", speedup, CALLS)],
    ),
    "python-exp": ("python", columns_of_sizes("exp", speedup, EXP)),
    "python-digest": ("python", columns_of_sizes("digest", speedup, DIGESTS)),
    "loop-even": ("loop", columns_of_sizes("even", speedup, EXP)),
    "loop-sum": ("loop", columns_of_sizes("sum", speedup, EXP)),
    "loop-triangle": ("loop", columns_of_sizes("triangle", speedup, TRIANGLES)),
    **{f"ufuncs-{title}": ("ufuncs", columns_of_expressions(n)) for n, title in ELEMENTS.items()},
}
LIMITS = {"apart": "the limit", "long": "the ideal", "memory": "plain threads"}
"""Tables with a last line for the best that is possible."""


def cell(rows: list[Row], column: Column, spread: bool) -> str:
    """A median, and half the distance of the quartiles."""
    mine = (r for r in rows if r.workload == column.workload and column.size in (None, r.size))
    f = figure(mine, column.of)
    if f is None:
        return "-"
    digits = min(column.digits, 0 if abs(f.median) >= 100 else 1 if abs(f.median) >= 10 else 2)
    return f"{f.median:.{digits}f}" + (f" ±{(f.high - f.low) / 2:.{digits}f}" if spread else "")


def table(name: str, rows: list[Row], chosen: Iterable[str] = (), spread: bool = True) -> str:
    """One table in Markdown, all its columns or those chosen by their titles' first words."""
    columns = [c for c in TABLES[name][1] if not chosen or c.title.split()[0] in set(chosen)]
    lines = {peer: [cell([r for r in rows if r.peer == peer], c, spread) for c in columns] for peer in peers_of(rows)}
    if "ktask" in lines:
        lines = {"**ktask**": lines.pop("ktask"), **lines}
    if name in LIMITS:
        limits = [c._replace(of=best_possible) if c.of is speedup else None for c in columns]
        lines[f"*{LIMITS[name]}*"] = [cell(rows, c, spread) if c else "-" for c in limits]
    head = ["", *(c.title for c in columns)]
    return markdown([head, *([peer, *cells] for peer, cells in lines.items() if set(cells) != {"-"})])


def tables(suite: str, rows: list[Row]) -> str:
    """All tables of one suite."""
    return "\n\n".join(f"{name}:\n{table(name, rows)}" for name, (of, _) in TABLES.items() if of == suite)


def markdown(lines: Iterable[Iterable[str]]) -> str:
    """A table; the first line is its head."""
    head, *rest = [list(line) for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rest))


def neighbours_table(part: str, file: Path) -> str:
    """How many times as long it takes a neighbour, or tasks beside neighbours: bench/neighbour.py."""
    rows = read(file)
    names = list(dict.fromkeys(r["subject"] for r in rows if r["part"] == part and r["subject"] != neighbour.SERIAL))
    names.sort(key=lambda n: (n != neighbour.NOTHING, not n.startswith("ktask")))
    lines = [["the neighbour is in, beside it" if part == "victim" else "neighbours, in, task", *names]]
    for key in dict.fromkeys(neighbour.scene_of(r) for r in rows if r["part"] == part):
        _, others, session, load = key
        scene = f"{session} session, {load}" if part == "victim" else f"{others}, {session} session, {load}"
        cells = [neighbour.ratios(rows, key, name) for name in names]
        lines.append([scene, *(f"{cell[0]:.2f}" if cell else "" for cell in cells)])
    return markdown(lines)


MEMORY_SIZES = {4096: "4 KiB", 1 << 20: "1 MiB", 16 << 20: "16 MiB", 64 << 20: "64 MiB", 1 << 30: "1 GiB"}
MEMORY_PEERS = {
    "libc": "memset, loop, memcpy",
    "openmp": "OpenMP",
    "ktask": "**ktask**",
    "numpy": "NumPy",
    "ktask.memory": "**ktask.memory**",
}
MEMORY_OPERATIONS = {"clear": "clear", "clear fresh": "clear fresh memory", "copy": "copy", "fill": "fill with 1.5"}


def memory_table(file: Path) -> str:
    """GB/s of the functions of ktask_memory.h and others: bench/memory.py."""
    ns: dict[tuple[str, int, str], list[float]] = {}
    for r in read(file):
        ns.setdefault((r["operation"], int(r["bytes"]), r["peer"]), []).append(float(r["ns"]))
    lines = [["", "size", *MEMORY_PEERS.values()]]
    for operation, title in MEMORY_OPERATIONS.items():
        for size, shown in MEMORY_SIZES.items():
            medians = [ns.get((operation, size, peer)) for peer in MEMORY_PEERS]
            lines.append([title, shown, *(f"{size / statistics.median(m):.3g}" if m else "" for m in medians)])
    return markdown(lines)


def one_import_table(file: Path) -> str:
    """ktask.numpy in NumPy's place, in some expressions of many elements: bench/numpy_ufuncs.py."""
    rows = [r for r in load(file) if (r.peer, r.size) == ("ktask", max(SIZES))]
    names = ("exp", "sin", "compute", "add", "sum")
    cells = [
        cell([r for r in rows if r.workload == name], Column("", name, None, speedup), spread=False) for name in names
    ]
    head = ["10⁷ numbers, on two idle CPUs", *(f"`{EXPRESSIONS[name][0]}`" for name in names)]
    return markdown([head, ["times as fast as NumPy", *cells]])


def numpy_calls_table(file: Path) -> str:
    """How many times as fast as NumPy: bench/numpy_calls.py."""
    ratios: dict[tuple[str, int, str], list[float]] = {}
    for r in read(file):
        ratios.setdefault((r["call"], int(r["elements"]), r["machine"]), []).append(
            float(r["numpy_ns"]) / float(r["ktask_ns"])
        )
    lines = [["", *(f"{n:,}" for n in numpy_calls.SIZES), *(f"{n:,}, taken" for n in numpy_calls.SIZES)]]
    for call in numpy_calls.CALLS:
        cells = [ratios.get((call, n, machine)) for machine in ("idle", "taken") for n in numpy_calls.SIZES]
        lines.append([f"`{call}`", *(f"{statistics.median(c):.2f}" if c else "" for c in cells)])
    return markdown(lines)


def numpy_small_table(file: Path) -> str:
    """What a call of small arrays costs more than NumPy's own, and nanoseconds of that: bench/numpy_calls.py."""
    turns: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for r in read(file):
        turns.setdefault((r["call"], int(r["elements"])), []).append((float(r["numpy_ns"]), float(r["ktask_ns"])))
    lines = [["", *(f"{n:,}" for n in numpy_calls.SMALL_SIZES)]]
    for call in numpy_calls.SMALL_CALLS:
        cells = []
        for n in numpy_calls.SMALL_SIZES:
            more = statistics.median(ktask / numpy for numpy, ktask in turns[call, n]) - 1
            ns = statistics.median(ktask - numpy for numpy, ktask in turns[call, n])
            cells.append(f"{more:+.1%} ({ns:+.0f} ns)")
        lines.append([f"`{call}`", *cells])
    return markdown(lines)


def executor_table(file: Path) -> str:
    """Microseconds per call, but for the last line: bench/executor.py."""
    us: dict[tuple[str, str], list[float]] = {}
    for r in read(file):
        us.setdefault((r["what"], r["kind"]), []).append(float(r["us"]))
    kinds = ["serial", "ThreadPoolExecutor", "ktask.Executor"]
    lines = [["", *kinds]]
    for what in dict.fromkeys(what for what, _ in us):
        medians = [statistics.median(us[what, kind]) if (what, kind) in us else None for kind in kinds]
        lines.append([what, *("" if m is None else f"{m:.{0 if m >= 100 else 1 if m >= 4 else 2}f}" for m in medians)])
    return markdown(lines)


def tracing_table(file: Path) -> str:
    """What a trace costs: bench/tracing.py."""
    turns: dict[str, list[tuple[float, float]]] = {}
    for r in read(file):
        turns.setdefault(r["what"], []).append((float(r["off"]), float(r["on"])))
    lines = [["", "without", "with a trace", "slower by"]]
    for what, pairs in turns.items():
        off, on = (statistics.median(column) / 1e3 for column in zip(*pairs, strict=True))
        slower = statistics.median(b / a for a, b in pairs) - 1
        lines.append([what, f"{off:,.2f} µs", f"{on:,.2f} µs", f"{slower:.1%}"])
    return markdown(lines)


def read(file: Path) -> list[dict[str, str]]:
    """The rows of a file of figures, by its columns' names."""
    with file.open(newline="") as f:
        return list(csv.DictReader(f))


OTHERS: dict[str, tuple[str, Callable[[Path], str]]] = {  # name: file, what makes the table
    "one-import": ("ufuncs.csv", one_import_table),
    "neighbours": ("neighbour-2cpu-kvm.csv", lambda file: neighbours_table("victim", file)),
    "beside-neighbours": ("neighbour-2cpu-kvm.csv", lambda file: neighbours_table("hogs", file)),
    "processes": ("processes-2cpu-kvm.csv", lambda file: markdown(processes.lines(read(file)))),
    "memory-clients": ("memory-2cpu-kvm.csv", memory_table),
    "numpy-calls": ("numpy-calls-2cpu-kvm.csv", numpy_calls_table),
    "numpy-small": ("numpy-calls-2cpu-kvm.csv", numpy_small_table),
    "executor": ("executor-2cpu-kvm.csv", executor_table),
    "tracing": ("tracing-2cpu-kvm.csv", tracing_table),
}


def hosts_in_words(rows: list[Row]) -> str:
    """How the CPUs were to each other, and which processes are shown for it."""
    found = hosts(rows).most_common()
    shown = f"; shown: {found[0][0]}" if len(found) > 1 and len(alike(rows)) < len(rows) else ""
    return ", ".join(f"{host or 'unknown'} {n}" for host, n in found) + shown


def hosts_table(results: Path) -> str:
    """The same for all suites."""
    suites = dict.fromkeys(suite for suite, _ in TABLES.values())
    files = {suite: results / f"{suite}.csv" for suite in suites}
    return markdown(
        [["suite", "processes"], *([suite, hosts_in_words(load(f))] for suite, f in files.items() if f.exists())]
    )


def machine_text(facts: dict[str, str]) -> str:
    """What was measured on, in a sentence."""
    return "; ".join(f"{name} {fact}" for name, fact in facts.items()) + "."


def fill(page: str, results: Path) -> str:
    """The page with its tables made from these results."""

    def block(match: re.Match[str]) -> str:
        name, *words = match[1].split()
        if name == "hosts":
            return f"<!-- bench: hosts -->\n{hosts_table(results)}\n<!-- end -->"
        file = "machine.json" if name == "machine" else OTHERS[name][0] if name in OTHERS else f"{TABLES[name][0]}.csv"
        source = results / file
        if not source.exists():
            return match[0]
        if name == "machine":
            text = machine_text(json.loads(source.read_text(encoding="utf-8")))
        elif name in OTHERS:
            text = OTHERS[name][1](source)
        else:
            text = table(name, alike(load(source)), [w for w in words if w != "brief"], "brief" not in words)
        return f"<!-- bench: {match[1]} -->\n{text}\n<!-- end -->"

    return re.sub(r"<!-- bench: (.*?) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)


def publish(results: Path = HERE / "results", root: Path = HERE.parent) -> None:
    """Rewrites the tables and plots of the documentation."""
    plots.draw(results, root / "docs" / "img")
    neighbours = results / OTHERS["neighbours"][0]
    if neighbours.exists():
        neighbour.plot(read(neighbours), root / "docs" / "img" / "neighbour.svg")
    for name in PAGES:
        page = root / name
        page.write_text(fill(page.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    publish()
