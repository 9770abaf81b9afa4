# SPDX-License-Identifier: BSD-3-Clause
"""What every run has to keep to, checked on a record of what its functions were called for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ktask

Range = tuple[int, int]


@dataclass
class Record:
    """The ranges that the functions of one run were called for, in the order of the calls."""

    done: list[Range] = field(default_factory=list)
    failed: list[Range] = field(default_factory=list)
    undone: list[Range] = field(default_factory=list)


def record_of(c_record: Any) -> Record:
    """The record that clib's record_chunk and record_undo made."""

    def ranges(array: Any, nr: int) -> list[Range]:
        assert nr <= len(array), "more calls than the record has room for"
        return [(array[i].start, array[i].end) for i in range(nr)]

    return Record(
        ranges(c_record.done, c_record.nr_done),
        ranges(c_record.failed, c_record.nr_failed),
        ranges(c_record.undone, c_record.nr_undone),
    )


def units(ranges: Sequence[Range]) -> list[int]:
    """All units of the ranges, sorted; a unit that is in two of them comes twice."""
    return sorted(unit for start, end in ranges for unit in range(start, end))


def check_cut(record: Record, nodes: Sequence[ktask.Node], min_chunk: int, align: int, *, by_offset: bool) -> None:
    """Chunks lie in one node each, do not overlap, and are as large and as aligned as was asked for."""
    chunks = record.done + record.failed
    assert all(start < end for start, end in chunks)
    called = units(chunks)
    assert len(called) == len(set(called)), "a unit was given away twice"
    for start, end in chunks:
        node = next(n for n in nodes if n.start <= start < n.start + n.size)
        assert end <= node.start + node.size, "a chunk goes beyond its node"
        if end != node.start + node.size:
            assert end - start >= min_chunk
            assert (end - (node.start if by_offset else 0)) % align == 0


def check_all_done(record: Record, nodes: Sequence[ktask.Node]) -> None:
    """Every unit was done once, and nothing undone."""
    assert record.failed == []
    assert record.undone == []
    assert units(record.done) == units([(n.start, n.start + n.size) for n in nodes])


def check_undone(record: Record, nodes: Sequence[ktask.Node]) -> None:
    """Exactly the finished units were undone, in ascending order in one node after the other."""
    assert record.failed != []
    assert all(start < end for start, end in record.undone)
    assert units(record.undone) == units(record.done)

    def order(r: Range) -> tuple[int, int]:
        return next(i for i, n in enumerate(nodes) if n.start <= r[0] < n.start + n.size), r[0]

    assert record.undone == sorted(record.undone, key=order)
