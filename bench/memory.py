# SPDX-License-Identifier: BSD-3-Clause
"""Measures ktask's memory functions beside libc's, OpenMP's and NumPy's: python bench/memory.py [--quick] [--csv FILE].

Prints, for each operation and size, gigabytes a second: medians over the rounds, in which the peers take turns, each in
a process of its own. NumPy's and ktask's Python functions are measured in this process.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from ktask import memory

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent / "csrc"
BUILD = HERE / "build"
PEERS = ("libc", "openmp", "ktask", "numpy", "ktask.memory")

Row = tuple[str, int, str, float]


def build() -> Path:
    """Compiles memory_clients.c with all the peers."""
    BUILD.mkdir(exist_ok=True)
    subprocess.run(["make", "-s", "-C", CSRC, f"BUILD={BUILD / 'ktask'}"], check=True)
    program = BUILD / "memory_clients"
    library = [f"-I{CSRC / 'include'}", str(BUILD / "ktask" / "libktask.a"), "-pthread", "-fopenmp"]
    source = str(HERE / "memory_clients.c")
    subprocess.run(["gcc", "-O2", "-std=gnu11", source, "-o", str(program), *library], check=True)
    return program


def in_c(program: Path, peer: str) -> list[Row]:
    """One round of one of C's peers."""
    out = subprocess.run([program, peer], capture_output=True, text=True, check=True).stdout
    rows = [line.split(",") for line in out.splitlines()]
    return [(operation, int(size), peer, float(ns)) for operation, size, ns in rows]


def in_python() -> list[Row]:
    """One round of Python's, in turns."""
    rows: list[Row] = []
    for size in (4 << 10, 64 << 10, 1 << 20, 64 << 20, 1 << 30):
        to, source = np.ones(size // 8), np.ones(size // 8)
        calls: dict[tuple[str, str], Callable[[], object]] = {
            ("clear", "numpy"): partial(to.fill, 0),
            ("clear", "ktask.memory"): partial(memory.clear, to),
            ("fill", "numpy"): partial(to.fill, 1.5),
            ("fill", "ktask.memory"): partial(memory.fill, to, 1.5),
            ("copy", "numpy"): partial(np.copyto, to, source),
            ("copy", "ktask.memory"): partial(memory.copy, to, source),
        }
        repeats = 2000 if size <= 64 << 10 else 51 if size <= 1 << 20 else 7 if size <= 64 << 20 else 2
        for (operation, peer), call in calls.items():
            call()
            times = []
            for _ in range(repeats):
                begin = perf_counter_ns()
                call()
                times.append(perf_counter_ns() - begin)
            rows.append((operation, size, peer, statistics.median(times)))
    return rows


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round instead of three")
    parser.add_argument("--csv", type=Path, help="where the raw figures go")
    arguments = parser.parse_args()

    program = build()
    rows: list[Row] = []
    for _ in range(1 if arguments.quick else 3):
        for peer in PEERS[:3]:
            rows += in_c(program, peer)
        rows += in_python()
    if arguments.csv:
        with arguments.csv.open("w", newline="") as f:
            writer = csv.writer(f)
            writer.writerow(("operation", "bytes", "peer", "ns"))
            writer.writerows(rows)
    cells = defaultdict(list)
    for operation, size, peer, ns in rows:
        cells[operation, size, peer].append(ns)
    print(f"{'GB/s':24}" + "".join(f"{peer:>14}" for peer in PEERS))
    for operation, size in sorted({row[:2] for row in rows}):
        medians = [cells.get((operation, size, peer)) for peer in PEERS]
        texts = [f"{size / statistics.median(m):14.1f}" if m else f"{'':14}" for m in medians]
        print(f"{operation:12}{size >> 10:>8} KiB" + "".join(texts))


if __name__ == "__main__":
    main()
