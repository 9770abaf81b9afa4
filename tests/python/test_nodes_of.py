# SPDX-License-Identifier: BSD-3-Clause
"""Where arrays lie, and runs that go by it. Here on one node, and made-up ones; on real ones in tests/vm."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fresh import MANY_HELPERS, fresh

import ktask
from ktask._places import items_of, sampled_parts_of

PAGE = mmap.PAGESIZE


def fresh_array(pages: int, dtype: str = "u1") -> np.ndarray[Any, Any]:
    memory = mmap.mmap(-1, pages * PAGE)
    if hasattr(memory, "madvise"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, dtype)


def check(nodes: list[ktask.Node], n: int) -> None:
    assert [node.start for node in nodes] == [sum(m.size for m in nodes[:i]) for i in range(len(nodes))]
    assert sum(node.size for node in nodes) == n
    assert all(node.size > 0 for node in nodes)


@pytest.mark.parametrize(
    "buffer",
    [
        bytearray(10_000),
        b"x" * 10_000,
        np.zeros(10_000),
        np.zeros((100, 100)),
        np.zeros((100, 100))[::3],
        np.zeros((100, 100))[:, 5:],
        np.zeros(1000, "f8,i4"),
        np.zeros(100, "M8[s]"),
        np.array(["x"] * 100),
        memoryview(np.zeros((50, 3)).data),
    ],
    ids=repr,
)
def test_units_are_items(buffer: Any) -> None:
    check(ktask.nodes_of(buffer), len(buffer))


def test_empty_ones() -> None:
    assert ktask.nodes_of(b"") == []
    assert ktask.nodes_of(np.zeros(0)) == []
    assert ktask.nodes_of(np.zeros((5, 0))) == ktask.nodes_of(np.zeros((5, 0)))


def test_refused() -> None:
    for bad, error, message in (
        (5, TypeError, "int"),
        (np.float64(5), ValueError, "no axis"),
        (np.zeros(100)[::-1], ValueError, "stride -8"),
        (np.zeros((10, 20)).T, ValueError, "stride 8 of"),
        (memoryview(bytes(100))[::2], BufferError, "contiguous"),
    ):
        with pytest.raises(error, match=message):
            ktask.nodes_of(bad)
    for most in (0, 1025, -1):
        with pytest.raises(ValueError, match=str(most)):
            ktask.nodes_of(b"x", most)


def test_touched_or_not() -> None:
    a = fresh_array(100, "f8")
    items = PAGE // 8
    assert ktask.nodes_of(a) == [ktask.Node(0, len(a))]
    a[10 * items] = a[11 * items] = a[50 * items] = 1
    nodes = ktask.nodes_of(a)
    if len(nodes) == 1:
        pytest.skip("the system does not tell where memory lies")
    check(nodes, len(a))
    assert [(n.start // items, n.size // items) for n in nodes] == [(0, 10), (10, 2), (12, 38), (50, 1), (51, 49)]
    assert [n.nid == ktask.NUMA_NO_NODE for n in nodes] == [True, False, True, False, True]
    assert ktask.nodes_of(a, 2) == [ktask.Node(0, len(a))]


def test_parallel_for_with_data() -> None:
    a = np.zeros(1000)

    def work(start: int, end: int) -> None:
        a[start:end] += 1

    ktask.parallel_for(work, 1000, data=a)
    ktask.parallel_for(work, range(100, 200), data=a)
    ktask.parallel_for(work, 0, data=a)
    assert (a[100:200] == 2).all()
    assert a.sum() == 1100
    for indexes, message in ((1001, "1000 items"), (range(-1, 5), "1000 items"), (range(0, 10, 2), "step 1")):
        with pytest.raises(ValueError, match=message):
            ktask.parallel_for(work, indexes, data=a)
    assert a.sum() == 1100
    with pytest.raises(TypeError, match="data must be"):
        ktask.parallel_for(work, 5, data=7)


def test_samples_find_the_borders() -> None:
    """Parts that are longer than the samples lie apart are found to the page."""
    pages = 3000
    a = fresh_array(pages)
    for first, last in ((0, 700), (1111, 2000), (2500, pages)):
        a[first * PAGE : last * PAGE] = 1
    exact = ktask.nodes_of(a)
    assert sampled_parts_of(items_of(a, "a")) == exact
    b = a[: pages * PAGE // 1000 * 1000].reshape(-1, 1000)
    assert sampled_parts_of(items_of(b, "b")) == ktask.nodes_of(b)
    assert sampled_parts_of(items_of(a[:1], "a")) == ktask.nodes_of(a[:1])


def on_two_nodes() -> None:
    """This machine's memory is on node 0; pages that are not there are on none, and make parts of their own."""
    a = fresh_array(100)
    assert not a[50 * PAGE :: PAGE].any()
    a[: 50 * PAGE] = 1
    parts = ktask.nodes_of(a)
    seen = np.zeros(len(a), "u1")

    def work(start: int, end: int) -> None:
        seen[start:end] += 1

    trace = ktask.Trace()
    ktask.parallel_for(work, range(PAGE, len(a)), data=a, trace=trace)
    assert not seen[:PAGE].any()
    assert (seen[PAGE:] == 1).all()
    if len(parts) > 1:
        assert {event.nid for event in trace.events} == {node.nid for node in parts}
        edge = parts[1].start
        assert all(event.start + event.units <= edge or event.start >= edge for event in trace.events)


def test_parts_make_a_difference(tmp_path: Path) -> None:
    root = tmp_path / "sys/devices/system/node"
    cpus = sorted(os.sched_getaffinity(0))
    files = {
        "online": "0,1",
        "node0/cpulist": str(cpus[0]),
        "node0/distance": "10 20",
        "node1/cpulist": ",".join(map(str, cpus[1:] or [cpus[0] + 1])),
        "node1/distance": "20 10",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    fresh(on_two_nodes, KTASK_FSROOT=str(tmp_path), **MANY_HELPERS)
