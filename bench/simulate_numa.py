# SPDX-License-Identifier: BSD-3-Clause
"""Simulates loops on 1 to 64 NUMA nodes of 16 CPUs: python bench/simulate_numa.py [--csv FILE] [--svg FILE].

Runs the simulator (bench/simulate.c) for units that lie on nodes, and prints, as Markdown, how many of them were worked
on at home, how far the others' bytes went, how long that took, and how often threads claimed. docs/numa.md explains the
figures. The clock is virtual: they are the same on every machine. The picture needs matplotlib.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from simulate import simulate_as_told

CPUS = 16
SHARED, BY_NODE, FIRST, STATIC = "ktask", "ktask_run_numa", "ktask_run_numa, first run", "static by node"
NAMES = {SHARED: "one cursor", BY_NODE: "a cursor for each node", STATIC: "static by node"}
WORK = {1: "as much work on each node", 2: "twice as much on one of them"}

Row = dict[str, float]
Rows = dict[tuple[int, str, str, int], Row]
"""By how many times as much node 0 has, trace, policy and number of nodes."""


def load(text: str) -> Rows:
    """Reads the simulator's CSV."""
    rows: Rows = {}
    for row in csv.DictReader(io.StringIO(text)):
        key = int(row.pop("heavy")), row.pop("trace"), row.pop("policy"), int(row.pop("nodes"))
        rows[key] = {name: float(value) for name, value in row.items()}
    return rows


def slower(row: Row) -> float:
    """Times the ideal."""
    return row["makespan_ns"] / row["ideal_ns"]


def show(rows: Rows, trace: str) -> None:
    """Prints a table for each distribution of the work."""
    nodes = sorted({key[3] for key in rows})
    for heavy, title in WORK.items():
        print(f"\n{trace}, {title}:\n")
        print("| | " + " | ".join(f"{n} nodes" if n > 1 else "1 node" for n in nodes) + " |")
        print("| --- |" + " --- |" * len(nodes))
        for policy in (SHARED, BY_NODE, STATIC):
            here = [rows[heavy, trace, policy, n] for n in nodes]
            lines = {
                "units at home": [f"{100 * row['local']:.1f} %" for row in here],
                "steps of a unit": [f"{row['hops']:.2f}" for row in here],
                "time / ideal": [f"{slower(row):.2f}" for row in here],
            }
            if policy != STATIC:
                cursors = [n if policy == BY_NODE else 1 for n in nodes]
                lines["claims per cursor"] = [f"{row['chunks'] / n:,.0f}" for row, n in zip(here, cursors, strict=True)]
                lines["work per claim"] = [f"{row['work_ns'] / row['chunks'] / 1e3:.0f} µs" for row in here]
            for line, cells in lines.items():
                print(f"| {NAMES[policy]}: {line} | " + " | ".join(cells) + " |")


def draw(rows: Rows, trace: str, path: Path) -> None:
    """Draws what the tables say."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.hashsalt": "ktask", "svg.fonttype": "none", "font.size": 8})
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True)
    nodes = sorted({key[3] for key in rows})
    columns = {
        "units worked on at home, %": lambda row: 100 * row["local"],
        "steps that a unit's bytes go": lambda row: row["hops"],
        "time / ideal time": slower,
    }
    colors = {SHARED: "#57606a", BY_NODE: "#d1242f", STATIC: "#0969da"}
    for line, (heavy, title) in zip(axes, WORK.items(), strict=True):
        for box, (label, of) in zip(line, columns.items(), strict=True):
            for policy, color in colors.items():
                box.plot(nodes, [of(rows[heavy, trace, policy, n]) for n in nodes], color=color, label=NAMES[policy])
            box.set(title=f"{label}; {title}", xscale="log")
            box.title.set_fontsize(8)
            box.set_xticks(nodes, [str(n) for n in nodes])
            box.minorticks_off()
            box.grid(alpha=0.25)
    axes[-1][1].set_xlabel(f"nodes of {CPUS} CPUs")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Simulates, prints and draws."""
    text, svg = simulate_as_told(__doc__, "nodes")
    rows = load(text)
    for trace in dict.fromkeys(key[1] for key in rows):
        show(rows, trace)
    if svg:
        draw(rows, "even", svg)


if __name__ == "__main__":
    main()
