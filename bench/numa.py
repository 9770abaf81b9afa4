# SPDX-License-Identifier: BSD-3-Clause
"""Measures placement on emulated machines of 4 and 16 nodes: python bench/numa.py [--csv FILE] [--plot FILE].

For each machine and placement of an array: which share of its bytes, and of the chunks, was worked on by CPUs of the
node that they lie on, as the kernel tells (move_pages, getcpu), and how many chunks were claimed from each node's part.
The program that runs there is tests/vm/placement.c. Shares are what an emulator can tell; speed is not.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "vm"))

import vm

MACHINES = {4: (2, 128), 16: (4, 96)}
"""By the number of nodes: CPUs and MiB of each."""

LINE = re.compile(r"^(.*) bytes (\d+) local (\d+) chunks (\d+) local (\d+) claims (.*)$", re.MULTILINE)


def measure(nodes: int) -> list[dict[str, object]]:
    """A row for each placement on a machine with so many nodes, on a ring."""
    distances = [[10 + 10 * min((a - b) % nodes, (b - a) % nodes) for b in range(nodes)] for a in range(nodes)]
    machine = [vm.Node(*MACHINES[nodes])] * nodes
    output = vm.run(machine, "placement", {"placement": vm.BUILD / "placement"}, distances=distances)
    return [
        {
            "nodes": nodes,
            "placement": name,
            "bytes": int(total),
            "local_bytes": int(local),
            "chunks": int(chunks),
            "local_chunks": int(local_chunks),
            "claims": claims,
        }
        for name, total, local, chunks, local_chunks, claims in LINE.findall(output)
    ]


def plot(rows: list[dict[str, object]], file: Path) -> None:
    """Bars of the local share, by placement and machine."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(str(row["placement"]) for row in rows))
    _, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    for i, nodes in enumerate(MACHINES):
        shares = {
            r["placement"]: 100 * int(str(r["local_bytes"])) / int(str(r["bytes"])) for r in rows if r["nodes"] == nodes
        }
        bars = axes.bar([j + (i - 0.5) * 0.4 for j in range(len(names))], [shares[name] for name in names], 0.38)
        axes.bar_label(bars, fmt="%.0f")
        bars.set_label(f"{nodes} nodes of {MACHINES[nodes][0]} CPUs")
    axes.set_xticks(range(len(names)), names)
    axes.set(ylim=(0, 110), ylabel="% of the bytes", title="Bytes worked on by CPUs of their own node")
    axes.legend()
    plt.savefig(file)


def main() -> None:
    """Measures, prints, plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, help="where the raw figures go")
    parser.add_argument("--plot", type=Path, help="where the picture goes (.svg or .png)")
    arguments = parser.parse_args()

    subprocess.run(["make", "-s", "-C", vm.HERE], check=True)
    rows = [row for nodes in MACHINES for row in measure(nodes)]
    for row in rows:
        shares = [100 * int(str(row[f"local_{what}"])) / int(str(row[what])) for what in ("bytes", "chunks")]
        print(
            f"{row['nodes']:3} nodes, {row['placement']:16} {shares[0]:5.1f} % of bytes and {shares[1]:5.1f} % of "
            f"{row['chunks']} chunks local; claims by node {row['claims']}"
        )
    if arguments.csv:
        with arguments.csv.open("w", newline="") as f:
            writer = csv.DictWriter(f, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    if arguments.plot:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
