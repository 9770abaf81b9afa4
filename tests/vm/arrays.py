# SPDX-License-Identifier: BSD-3-Clause
"""Runs in a machine of four nodes with two CPUs each: arrays lie where they were asked to, and are worked on there.

As ``arrays.py --files`` it prints what it has loaded, for who takes it to such a machine.
"""

from __future__ import annotations

import ctypes
import sys
import time

import numpy as np

import ktask
from ktask import memory

NODES, CPUS = 4, 2
PAGE = 4096 // 8  # doubles
CHUNK = 16 * PAGE
N = 128 * CHUNK


def nid_here() -> int:
    return int(ctypes.CDLL(None).sched_getcpu()) // CPUS


def local_share(x: np.ndarray[tuple[int], np.dtype[np.float64]], parts: list[ktask.Node]) -> float:
    """Which share of the items was worked on by CPUs of the node that they lie on; each must be done once."""
    nids = np.concatenate([np.full(part.size, part.nid) for part in parts])
    done: list[tuple[int, int, int]] = []

    def work(start: int, end: int) -> None:
        done.append((start, end, nid_here()))
        time.sleep((end - start) / CHUNK * 0.04)  # emulated CPUs take turns; those who sleep do not
        x[start:end] += 1

    before = x.copy()
    ktask.parallel_for(work, len(x), min_chunk=CHUNK, data=x)
    assert (x == before + 1).all()
    return sum(int((nids[start:end] == nid).sum()) for start, end, nid in done) / len(x)


def main() -> None:
    spread = memory.zeros(N, placement="spread")
    parts = ktask.nodes_of(spread)
    assert [(part.nid, part.size) for part in parts] == [(nid, N // NODES) for nid in range(NODES)], parts
    share = local_share(spread, parts)
    print(f"spread: {share:.3f} local")
    assert share >= 0.95

    interleaved = ktask.nodes_of(memory.zeros(64 * PAGE, placement="interleave"))
    assert {part.nid for part in interleaved} == set(range(NODES)), interleaved
    (mine,) = ktask.nodes_of(memory.zeros(64 * PAGE, placement="local"))
    assert mine.nid in range(NODES)
    print([node["cpus"] for node in ktask.info()["nodes"]])


if __name__ == "__main__":
    if sys.argv[1:] == ["--files"]:
        print(*{file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}, sep="\n")
    else:
        main()
