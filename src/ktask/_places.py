# SPDX-License-Identifier: BSD-3-Clause
"""On which NUMA nodes memory lies: ``nodes_of``, and what ``parallel_for(..., data=...)`` makes of it."""

from __future__ import annotations

import errno
from typing import Any, NamedTuple

from ktask._core import ffi, lib
from ktask._ctl import Node

RUN_PARTS = 128
"""A run looks at all of its parts now and then, so it is not given more, where pages of many nodes are mixed."""


LARGE, SAMPLES = 1 << 22, 127
"""Bytes: beyond, a run looks at so many samples, since asking for each page takes as long as copying it."""


class Items(NamedTuple):
    """Where a buffer's items lie: the entries of its first axis, ``stride`` bytes apart."""

    address: int
    length: int
    stride: int
    keep: object


def items_of(buffer: object, what: str) -> Items:
    """Looks at any buffer, read-only ones too."""
    interface: Any = getattr(buffer, "__array_interface__", None)
    if interface is not None:  # NumPy's, of any dtype
        array: Any = buffer
        shape, strides, address = array.shape, array.strides, interface["data"][0]
    else:
        try:
            view = memoryview(buffer)  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(f"{what} must be an array or a buffer, not {type(buffer).__name__}: {buffer!r}") from None
        if not view.c_contiguous:
            raise BufferError(f"{what} is a {type(buffer).__name__} that is not contiguous: {buffer!r}")
        shape, strides = view.shape or (), view.strides or ()
        address = int(ffi.cast("uintptr_t", ffi.from_buffer(buffer))) if view.nbytes else 0
    if not shape:
        raise ValueError(f"{what} has no axis (shape ()), so it has no items to tell apart")
    if 0 in shape:
        return Items(address, shape[0], 1, buffer)
    if strides[0] <= 0 or strides[0] < max(strides):
        raise ValueError(
            f"{what} must lie in memory item after item: its first axis has stride {strides[0]} of {strides}; "
            "pass, say, its .T or [::-1]"
        )
    return Items(address, shape[0], strides[0], buffer)


def nodes_of(buffer: object, most: int = 1024) -> list[Node]:
    """Tells on which NUMA nodes a NumPy array or other buffer lies: the parts to give to ``run_numa``.

    Parts are in units of the buffer's items, that is ``buffer[0]``, ``buffer[1]`` and so on (the rows of a matrix, the
    bytes of a bytearray), so that each ``Node(start, size, nid)`` stands for ``buffer[start:start + size]``. Together
    they are all of it, in order. An item counts for the page that it begins in. ``nid`` is ``NUMA_NO_NODE`` for memory
    that was not touched yet, and where the system does not tell (in a container without CAP_SYS_NICE).

    The answer is exact for each page if it takes no more than ``most`` parts, which are 1024 at most; otherwise
    neighbouring pages are taken together, for the node of most of them or else ``NUMA_NO_NODE``. It takes some 0.35 µs
    a page, about as long as copying it. Pages may move, so an answer may grow old.

    >>> import ktask
    >>> sum(node.size for node in ktask.nodes_of(bytearray(100_000)))
    100000
    """
    if not 1 <= most <= lib.KTASK_MAX_NODES:
        raise ValueError(f"most must be from 1 to {lib.KTASK_MAX_NODES}, not {most}")
    return parts_of(items_of(buffer, "buffer"), most)


def parts_of(items: Items, most: int) -> list[Node]:
    """The parts of these items."""
    parts = ffi.new("struct ktask_node[]", most)
    size = items.length * items.stride
    nr = lib.ktask_nodes_of(ffi.cast("void *", items.address), size, items.stride, parts, most) if size else 0
    if nr < 0:
        raise MemoryError if nr == -errno.ENOMEM else OSError(-nr, "where the memory lies cannot be told")
    nodes, start = [], 0
    for i in range(nr):
        n = parts[i].kn_task_size // items.stride
        nodes.append(Node(start, n, parts[i].kn_nid))
        start += n
    return nodes


def parts_of_range(indexes: range, data: object) -> list[Node]:
    """The parts of a range of indexes (with step 1) into ``data``, by where its items lie."""
    items = items_of(data, "data")
    if len(indexes) and (indexes.start < 0 or indexes.stop > items.length):
        raise ValueError(f"data has {items.length} items, and so no item for each index of {indexes!r}")
    if len(indexes) == 0 or not lib.py_several_nodes():
        return [Node(indexes.start, len(indexes))]
    here = items._replace(address=items.address + indexes.start * items.stride, length=len(indexes))
    parts = parts_of(here, RUN_PARTS) if here.length * here.stride < LARGE else sampled_parts_of(here)
    return [Node(indexes.start + n.start, n.size, n.nid) for n in parts]


def sampled_parts_of(items: Items) -> list[Node]:
    """The parts of many items, from samples of them: where two neighbours differ, the border is looked for between.

    Exact as long as no part is shorter than the distance of the samples, and in less than a millisecond.
    """
    part = ffi.new("struct ktask_node *")

    def nid_of(i: int) -> int:
        lib.ktask_nodes_of(ffi.cast("void *", items.address + i * items.stride), 1, 1, part, 1)
        return int(part.kn_nid)

    nodes: list[Node] = []
    start, nid = 0, nid_of(0)
    for i in range(1, SAMPLES + 1):
        last = (items.length - 1) * i // SAMPLES
        if nid_of(last) == nid:
            continue
        low, high = (items.length - 1) * (i - 1) // SAMPLES, last
        while high - low > 1:  # low is on the node before, high is not
            middle = (low + high) // 2
            low, high = (middle, high) if nid_of(middle) == nid else (low, middle)
        nodes.append(Node(start, high - start, nid))
        start, nid = high, nid_of(last)
    return [*nodes, Node(start, items.length - start, nid)]
