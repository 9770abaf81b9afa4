# SPDX-License-Identifier: BSD-3-Clause
"""Turns the figures in bench/results/ into tables and plots: python bench/report.py, without measuring anything.

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
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
PAGES = ("README.md", "docs/benchmarks.md")


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


def load(file: Path) -> list[Row]:
    """The rows of one suite."""
    with file.open(newline="") as f:
        return [Row(int(r), p, w, *map(float, figures)) for r, p, w, *figures in list(csv.reader(f))[1:]]


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


# ---- tables ---------------------------------------------------------------------------------------------------------


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


HOT = {float(us): f"{us} µs" for us in (1, 2, 5, 10, 20, 50, 100, 200, 1000)}
APART = {float(us): f"{us} µs" for us in (1, 20, 50, 100, 200, 500, 1000)}
CALLS = {float(us): f"{us} µs" for us in (1, 5, 10, 20, 50, 100, 1000)}
EXP = {10.0**n: title for n, title in enumerate(("100", "1k", "10k", "100k", "1M", "10M"), 2)}
DIGESTS = {float(n): str(n) for n in (4, 32, 256, 2048)}

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
}
LIMITS = {"apart": "the limit", "long": "the ideal", "memory": "plain threads"}
"""Tables with a last line for the best that is possible."""


def cell(rows: list[Row], column: Column, spread: bool) -> str:
    """A median, and half the distance of the quartiles."""
    mine = (r for r in rows if r.workload == column.workload and column.size in (None, r.size))
    f = figure(mine, column.of)
    if f is None:
        return "-"
    return f"{f.median:.{column.digits}f}" + (f" ±{(f.high - f.low) / 2:.{column.digits}f}" if spread else "")


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
    out = [head, ["---"] * len(head), *([peer, *cells] for peer, cells in lines.items() if set(cells) != {"-"})]
    return "\n".join("| " + " | ".join(line) + " |" for line in out)


def peers_of(rows: Iterable[Row]) -> list[str]:
    """Each once, in the order of the first round."""
    return list(dict.fromkeys(row.peer for row in rows))


def tables(suite: str, rows: list[Row]) -> str:
    """All tables of one suite."""
    return "\n\n".join(f"{name}:\n{table(name, rows)}" for name, (of, _) in TABLES.items() if of == suite)


def machine_text(facts: dict[str, str]) -> str:
    """What was measured on, in a sentence."""
    return "; ".join(f"{name} {fact}" for name, fact in facts.items()) + "."


def fill(page: str, results: Path) -> str:
    """The page with its tables made from these results."""

    def block(match: re.Match[str]) -> str:
        name, *words = match[1].split()
        source = results / ("machine.json" if name == "machine" else f"{TABLES[name][0]}.csv")
        if not source.exists():
            return match[0]
        if name == "machine":
            text = machine_text(json.loads(source.read_text(encoding="utf-8")))
        else:
            text = table(name, load(source), [w for w in words if w != "brief"], "brief" not in words)
        return f"<!-- bench: {match[1]} -->\n{text}\n<!-- end -->"

    return re.sub(r"<!-- bench: (.*?) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)


# ---- plots ----------------------------------------------------------------------------------------------------------

STYLE: dict[str, dict[str, Any]] = {
    "ktask": {"color": "#d1242f", "linewidth": 2.4, "zorder": 3},
    "ktask.numpy": {"color": "#8250df", "linewidth": 2.4, "zorder": 3},
}
COLORS = ("#0969da", "#7fb2e6", "#1a7f37", "#7fc08f", "#9a6700", "#57606a", "#bc8cff")


def style_of(peer: str, peers: list[str]) -> dict[str, Any]:
    """The same for a peer in all plots of a suite."""
    others = [p for p in peers if p not in STYLE]
    return STYLE.get(peer) or {"color": COLORS[others.index(peer) % len(COLORS)], "linewidth": 1.2}


def curves(axes: Any, rows: list[Row], workload: str, of: Callable[[Row], float], labels: dict[float, str]) -> None:
    """A line for each peer over the sizes; the quartiles shaded."""
    peers = peers_of(rows)
    for peer in peers:
        found = [
            (s, figure((r for r in rows if (r.peer, r.workload, r.size) == (peer, workload, s)), of)) for s in labels
        ]
        points = [(size, f) for size, f in found if f]
        if not points:
            continue
        style, sizes = style_of(peer, peers), [size for size, _ in points]
        axes.plot(sizes, [f.median for _, f in points], label=peer, **style)
        axes.fill_between(
            sizes,
            [f.low for _, f in points],
            [f.high for _, f in points],
            color=style["color"],
            alpha=0.15,
            linewidth=0,
        )
    axes.axhline(1, color="black", linewidth=0.6)
    axes.set_xscale("log")
    axes.set_xticks(list(labels), list(labels.values()), fontsize=7)
    axes.minorticks_off()
    axes.grid(alpha=0.25)


def bars(axes: Any, rows: list[Row], workloads: tuple[str, ...]) -> None:
    """A group of bars for each workload, and a line for the best that is possible."""
    peers = peers_of(rows)
    width = 0.8 / len(peers)
    for i, peer in enumerate(peers):
        for x, workload in enumerate(workloads):
            f = figure((r for r in rows if (r.peer, r.workload) == (peer, workload)), speedup)
            if f is None:
                continue
            axes.bar(
                x - 0.4 + (i + 0.5) * width,
                f.median,
                width,
                color=style_of(peer, peers)["color"],
                label=peer if x == 0 else None,
                yerr=[[f.median - f.low], [f.high - f.median]],
                error_kw={"linewidth": 0.6},
            )
    for x, workload in enumerate(workloads):
        f = figure((r for r in rows if r.workload == workload), best_possible)
        if f:
            axes.plot([x - 0.42, x + 0.42], [f.median] * 2, color="black", linewidth=1)
    axes.axhline(1, color="black", linewidth=0.6, linestyle=":")
    axes.set_xticks(range(len(workloads)), workloads)
    axes.grid(axis="y", alpha=0.25)


def plots(results: Path, images: Path) -> None:
    """Draws every suite that there are results of; needs matplotlib."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "ktask", "font.size": 8, "axes.titlesize": 9})
    import matplotlib.pyplot as plt

    rows = {
        name: load(results / f"{name}.csv")
        for name in ("hot", "apart", "long", "memory", "python")
        if (results / f"{name}.csv").exists()
    }
    faster = "times as fast as serial"

    def save(name: str, *legend_of: Any) -> None:
        legend_of[0].legend(fontsize=7, loc="best")
        plt.tight_layout()
        plt.savefig(images / f"{name}.svg", metadata={"Date": None})
        plt.close()
        image = (images / f"{name}.svg").read_text(encoding="utf-8")
        (images / f"{name}.svg").write_text(re.sub(r"(\d\.\d\d)\d+", r"\1", image), encoding="utf-8")

    if "hot" in rows and "apart" in rows:
        _, (hot, apart, cpu) = plt.subplots(1, 3, figsize=(12, 3.6))
        curves(hot, rows["hot"], "loop", speedup, HOT)
        hot.set(title="one call after the other", xlabel="serial time of the loop", ylabel=faster)
        curves(apart, rows["apart"], "loop", speedup, APART)
        limit = [figure((r for r in rows["apart"] if r.size == us), best_possible) for us in APART]
        apart.plot(list(APART), [f.median if f else None for f in limit], color="black", linestyle="--", label="limit")
        apart.set(title="1 ms between calls", xlabel="serial time of the loop", ylabel=faster)
        curves(cpu, rows["apart"], "loop", burned, APART)
        cpu.set(
            title="CPU burned, 1 ms between calls",
            xlabel="serial time of the loop",
            yscale="log",
            ylabel="CPU seconds for a second of serial work",
        )
        save("short-loops", hot)
    if "long" in rows:
        _, axes = plt.subplots(figsize=(9, 3.2))
        bars(axes, rows["long"], ("balanced", "triangle", "mandelbrot", "random", "four", "tiny"))
        axes.set(title="loops of 200 ms (tiny: 40 ms); the line is the ideal", ylabel=faster)
        save("long-loops", axes)
    if "memory" in rows:
        _, axes = plt.subplots(figsize=(7, 3))
        bars(axes, rows["memory"], ("clear", "copy", "triad"))
        axes.set(title="1 GiB of memory; the line is plain threads", ylabel=faster)
        save("memory", axes)
    if "python" in rows:
        _, (call, exp, digest) = plt.subplots(1, 3, figsize=(12, 3.4))
        curves(call, rows["python"], "call", speedup, CALLS)
        call.set(title="a C function, called from Python", xlabel="serial time", ylabel=faster)
        curves(exp, rows["python"], "exp", speedup, EXP)
        exp.set(title="exp of so many doubles", xlabel="size", ylabel="times as fast as NumPy")
        curves(digest, rows["python"], "digest", speedup, DIGESTS)
        digest.set(title="SHA-256 of so many blocks, in Python", xlabel="blocks of 64 KiB", ylabel=faster)
        save("python", call)


def publish(results: Path = HERE / "results", root: Path = HERE.parent) -> None:
    """Rewrites the tables and plots of the documentation."""
    images = root / "docs" / "img"
    images.mkdir(parents=True, exist_ok=True)
    plots(results, images)
    for name in PAGES:
        page = root / name
        page.write_text(fill(page.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    publish()
