# SPDX-License-Identifier: BSD-3-Clause
"""Simulates how loops are cut on 2 to 1,024 CPUs: python bench/simulate.py [--csv FILE] [--svg FILE].

Builds bench/simulate.c with the library's own chunk.c and runs it; prints, as Markdown, how many times as long as the
ideal each loop would take, cut by ktask and by models of its peers. docs/cutting.md explains the figures. The clock is
virtual: they are the same on every machine. The picture needs matplotlib (pip install 'ktask[plot]').
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent / "csrc"
BUILD = HERE / "build"

SHOWN = (2, 16, 64, 256, 1024)  # of the numbers of CPUs, in the tables
TITLES = {"each": "100 ms of work for each CPU", "all": "10 s of work for all CPUs"}
LIMIT = "single units, free"

# (work, trace, policy, CPUs): times the ideal
Ratios = dict[tuple[str, str, str, int], float]


def simulate(*arguments: str) -> str:
    """Builds the simulator and runs it with these arguments; returns its CSV."""
    BUILD.mkdir(exist_ok=True)
    program = BUILD / "simulate"
    subprocess.run(["make", "-s", "-C", CSRC, f"BUILD={BUILD / 'ktask'}"], check=True)
    sources = sorted(map(str, HERE.glob("simulate*.c")))
    flags = ["-O2", "-std=c11", f"-I{CSRC / 'include'}", "-pthread"]
    libraries = [str(BUILD / "ktask" / "libktask.a"), "-lm"]
    subprocess.run([os.environ.get("CC", "cc"), *flags, *sources, *libraries, "-o", str(program)], check=True)
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout


def unique(ratios: Ratios, place: int) -> list[str]:
    """The traces (1) or the policies (2), in order."""
    return list(dict.fromkeys(str(key[place]) for key in ratios))


def show(ratios: Ratios) -> None:
    """Prints the tables."""
    for work, title in TITLES.items():
        print(f"\n{title}, {' / '.join(f'{cpus:,}' for cpus in SHOWN)} CPUs:\n")
        print("| | " + " | ".join(unique(ratios, 1)) + " |")
        print("| --- |" + " --- |" * len(unique(ratios, 1)))
        for policy in unique(ratios, 2):
            cells = [
                " ".join(f"{ratios[work, trace, policy, cpus]:.2f}" for cpus in SHOWN) for trace in unique(ratios, 1)
            ]
            print(f"| {policy} | " + " | ".join(cells) + " |")


def draw(ratios: Ratios, path: Path) -> None:
    """Draws a curve for each policy, in a box for each trace."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "ktask"  # the same figures make the same file
    figure = Figure(figsize=(11, 10), layout="constrained")
    axes = figure.subplots(3, 3, sharex=True, sharey=True)
    cpus = sorted({key[3] for key in ratios})
    styles: dict[str, dict[str, Any]] = {"ktask": {"lw": 3, "color": "black"}, LIMIT: {"ls": ":", "color": "gray"}}
    for trace, box in zip(unique(ratios, 1), axes.flat, strict=True):
        for policy in unique(ratios, 2):
            style = styles.get(policy, {"lw": 1})
            box.plot(cpus, [ratios["all", trace, policy, n] for n in cpus], label=policy, **style)
        box.set(title=trace, xscale="log", yscale="log", ylim=(0.98, 4), xticks=cpus, yticks=(1, 1.05, 1.5, 2, 4))
        box.set_xticklabels([str(n) if n in SHOWN else "" for n in cpus])
        box.set_yticklabels(["1", "1.05", "1.5", "2", "4"])
        box.minorticks_off()
        box.axhline(1.05, color="lightgray", lw=0.5)
    axes[-1][1].set_xlabel("CPUs")
    figure.supylabel("time / ideal time, 10 s of work")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    figure.savefig(path, metadata={"Date": None})


def simulate_as_told(about: str | None, *what: str) -> tuple[str, Path | None]:
    """Simulates, and keeps the figures where --csv says. Returns them, and where --svg wants a picture."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, help="where the raw figures go")
    parser.add_argument("--svg", type=Path, help="where the picture goes")
    arguments = parser.parse_args()
    text = simulate(*what)
    if arguments.csv:
        arguments.csv.write_text(text)
    return text, arguments.svg


def main() -> None:
    """Simulates, prints and draws."""
    text, svg = simulate_as_told(__doc__)
    ratios = {
        (row["work"], row["trace"], row["policy"], int(row["cpus"])): float(row["makespan_ns"]) / float(row["ideal_ns"])
        for row in csv.DictReader(io.StringIO(text))
    }
    show(ratios)
    if svg:
        draw(ratios, svg)


if __name__ == "__main__":
    main()
