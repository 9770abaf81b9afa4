# SPDX-License-Identifier: BSD-3-Clause
"""Measures ktask beside its peers: python bench/run.py [--quick] [--csv FILE].

Builds bench/loops.cpp for ktask and for each peer that the machine has, runs them round after round in turns, and prints
for each length of loop how much faster it was than the same loop run serially in the same process: medians over the
rounds, and the CPU time for each second of serial work.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from pathlib import Path

from peers import PEERS, build, start

HOT = [1, 5, 10, 20, 50, 100, 1000]
COLD = [20, 100, 200, 500, 1000]


def measure(program: Path, peer: str, gap_us: int, lengths: list[int]) -> list[tuple[float, ...]]:
    """One round of one peer: for each length, the serial and the parallel time and the CPU time, in ns."""
    out, _ = start(program, peer, gap_us, *lengths).communicate()
    return [tuple(map(float, line.split())) for line in out.splitlines()]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round instead of five")
    parser.add_argument("--csv", type=Path, help="where the raw figures go")
    arguments = parser.parse_args()

    programs = {peer: build("loops", peer) for peer in PEERS}
    missing = [peer for peer, program in programs.items() if program is None]
    if missing:
        print(f"not on this machine: {', '.join(missing)}", file=sys.stderr)

    rows: list[dict[str, object]] = []
    for round_ in range(1 if arguments.quick else 5):
        for gap_us, lengths in ((0, HOT), (1000, COLD)):
            for peer, program in programs.items():
                if program is None:
                    continue
                for us, serial, parallel, cpu in measure(program, peer, gap_us, lengths):
                    rows.append(
                        {
                            "round": round_,
                            "peer": peer,
                            "gap_us": gap_us,
                            "serial_us": us,
                            "serial_ns": serial,
                            "parallel_ns": parallel,
                            "cpu_ns": cpu,
                        }
                    )
    if arguments.csv:
        with arguments.csv.open("w", newline="") as f:
            writer = csv.DictWriter(f, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    for gap_us, lengths in ((0, HOT), (1000, COLD)):
        show(rows, gap_us, lengths, [peer for peer, program in programs.items() if program])


def show(rows: list[dict[str, object]], gap_us: int, lengths: list[int], peers: list[str]) -> None:
    """Prints the speed-ups and, where threads sleep in between, the CPU time burned for each second of serial work.

    In a hot loop the kernel has not yet accounted what other threads are just doing, so that figure would be too low.
    """
    title = (
        "1 ms between calls: times as fast as serial (CPU time / serial time)" if gap_us else "hot loop: times as fast"
    )
    print(f"\n{title}\n{'serial us':16}" + "".join(f"{us:>15}" for us in lengths))
    for peer in peers:
        cells = []
        for us in lengths:
            mine = [r for r in rows if (r["peer"], r["gap_us"], r["serial_us"]) == (peer, gap_us, us)]
            speedup = statistics.median(float(str(r["serial_ns"])) / float(str(r["parallel_ns"])) for r in mine)
            burned = statistics.median(float(str(r["cpu_ns"])) / float(str(r["serial_ns"])) for r in mine)
            cells.append(f"{speedup:7.2f} ({burned:4.1f})" if gap_us else f"{speedup:7.2f}")
        print(f"{peer:16}" + "".join(f"{cell:>15}" for cell in cells))


if __name__ == "__main__":
    main()
