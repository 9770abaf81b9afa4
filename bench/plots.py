# SPDX-License-Identifier: BSD-3-Clause
"""Draws what was measured. SVG, small, and the same from the same figures."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    figure,
    load,
    peers_of,
    speedup,
)

STYLE: dict[str, dict[str, Any]] = {
    "ktask": {"color": "#d1242f", "linewidth": 2.4, "zorder": 3},
}
COLORS = ("#0969da", "#7fb2e6", "#1a7f37", "#7fc08f", "#9a6700", "#57606a", "#bc8cff", "#b0b7be")


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
    axes.set_xticks(list(labels), [label.split()[0] for label in labels.values()], fontsize=7)
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


def save(drawing: Any, file: Path) -> None:
    """With one legend for all panels."""
    shown = [axes.get_legend_handles_labels() for axes in drawing.axes]
    handles = {label: handle for found in shown for handle, label in zip(*found, strict=True)}
    drawing.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=7)
    drawing.savefig(file, metadata={"Date": None})
    file.write_text(re.sub(r"(\d\.\d\d)\d+", r"\1", file.read_text(encoding="utf-8")), encoding="utf-8")


FASTER = "times as fast as serial"


def draw_short(panels: Any, hot: list[Row], apart: list[Row]) -> None:
    """Short loops: one after the other, apart, and what that burns."""
    curves(panels[0], hot, "loop", speedup, HOT)
    panels[0].set(title="one call after the other", xlabel="serial time of the loop, µs", ylabel=FASTER)
    curves(panels[1], apart, "loop", speedup, APART)
    limit = [figure((r for r in apart if r.size == us), best_possible) for us in APART]
    panels[1].plot(list(APART), [f.median if f else None for f in limit], "k--", label="the limit")
    panels[1].set(title="1 ms between calls", xlabel="serial time of the loop, µs")
    curves(panels[2], apart, "loop", burned, APART)
    panels[2].set(title="CPU seconds per second of work, 1 ms between calls", xlabel="serial time of the loop, µs")
    panels[2].set_yscale("log")


def draw_long(panels: Any, rows: list[Row]) -> None:
    """Long loops."""
    bars(panels[0], rows, ("balanced", "triangle", "mandelbrot", "random", "four", "tiny"))
    panels[0].set(title="loops of 200 ms (tiny: 40 ms); the line is the ideal", ylabel=FASTER)


def draw_memory(panels: Any, rows: list[Row]) -> None:
    """Memory."""
    bars(panels[0], rows, ("clear", "copy", "triad"))
    panels[0].set(title="1 GiB of memory; the line is plain threads", ylabel=FASTER)


def draw_python(panels: Any, rows: list[Row]) -> None:
    """Calls from Python."""
    curves(panels[0], rows, "call", speedup, CALLS)
    panels[0].set(title="a C function, called from Python", xlabel="serial time, µs", ylabel=FASTER)
    curves(panels[1], rows, "exp", speedup, EXP)
    panels[1].set(title="exp of so many doubles", xlabel="size", ylabel="times as fast as NumPy")
    curves(panels[2], rows, "digest", speedup, DIGESTS)
    panels[2].set(title="SHA-256 of so many blocks, in Python", xlabel="blocks of 64 KiB", ylabel=FASTER)


def draw_loop(panels: Any, rows: list[Row]) -> None:
    """Loops compiled by numba."""
    curves(panels[0], rows, "even", speedup, EXP)
    panels[0].set(title="sqrt(1 + x * x) for so many x", xlabel="iterations", ylabel="times as fast as numba, serially")
    curves(panels[1], rows, "sum", speedup, EXP)
    panels[1].set(title="sum of so many squares", xlabel="iterations")
    curves(panels[2], rows, "triangle", speedup, TRIANGLES)
    panels[2].set(title="a triangle: iteration i takes i steps", xlabel="iterations")


def draw_ufuncs(panels: Any, rows: list[Row]) -> None:
    """Expressions of arrays."""
    titles = {
        "exp": "exp(x)",
        "script": "a script: sum(sqrt(sin(x)**2 ...",
        "add": "x + y",
        "multiply-c16": "complex x * y",
    }
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        curves(axes, rows, name, speedup, ELEMENTS)
        axes.set(title=title, xlabel="elements")
    panels[0].set_ylabel("times as fast as NumPy")


PLOTS: dict[str, tuple[Callable[..., None], tuple[str, ...], int, tuple[float, float]]] = {
    "short-loops": (draw_short, ("hot", "apart"), 3, (13, 3.6)),  # what draws it, of which suites, panels, inches
    "long-loops": (draw_long, ("long",), 1, (10, 3.2)),
    "memory": (draw_memory, ("memory",), 1, (8, 3)),
    "python": (draw_python, ("python",), 3, (13, 3.6)),
    "loop": (draw_loop, ("loop",), 3, (13, 3.6)),
    "ufuncs": (draw_ufuncs, ("ufuncs",), 4, (14, 3.6)),
}


def draw(results: Path, images: Path) -> None:
    """Draws every plot whose figures are there; needs matplotlib."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    images.mkdir(parents=True, exist_ok=True)
    for name, (drawn_by, suites, panels, inches) in PLOTS.items():
        files = [results / f"{suite}.csv" for suite in suites]
        if not all(file.exists() for file in files):
            continue
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ktask", "font.size": 8, "axes.titlesize": 9}):
            drawing = Figure(figsize=inches, layout="constrained")
            axes = drawing.subplots(1, panels, squeeze=False)[0]
            drawn_by(axes, *(alike(load(file)) for file in files))
            save(drawing, images / f"{name}.svg")
