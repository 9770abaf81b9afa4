# SPDX-License-Identifier: BSD-3-Clause
"""Positions that are no numbers: linked lists, in Python and in C."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from clib import CLib

import ktask

LENGTH = 300


class Item:
    def __init__(self, number: int, following: Item | None) -> None:
        self.number = number
        self.following = following
        self.visits = 0


def python_list() -> list[Item]:
    items: list[Item] = []
    following = None
    for number in reversed(range(LENGTH)):
        following = Item(number, following)
        items.insert(0, following)
    return items


def item_after(item: Item | None, size: int) -> Item | None:
    for _ in range(size):
        assert item is not None, "the iterator was asked to go past the end"
        item = item.following
    return item


def visit(start: Item | None, end: Item | None, failing: int | None) -> int:
    items = []
    while start is not end:
        assert start is not None
        items.append(start)
        start = start.following
    if any(item.number == failing for item in items):
        return 1
    for item in items:
        item.visits += 1
    time.sleep(0)
    return 0


def unvisit(start: Item | None, end: Item | None, failing: int | None) -> None:
    while start is not end:
        assert start is not None
        start.visits -= 1
        start = start.following


def test_a_linked_list() -> None:
    items = python_list()
    ktask.run(items[0], LENGTH, ktask.Ctl(visit, iter_func=item_after))
    assert [item.visits for item in items] == [1] * LENGTH


def test_parts_of_a_linked_list() -> None:
    items = python_list()
    nodes = [ktask.Node(items[i], 100) for i in (200, 0, 100)]
    ktask.run_numa(nodes, ktask.Ctl(visit, iter_func=item_after))
    assert [item.visits for item in items] == [1] * LENGTH


@pytest.mark.parametrize("failing", [0, 150, LENGTH - 1])
def test_undo_on_a_linked_list(failing: int) -> None:
    items = python_list()
    with pytest.raises(ktask.TaskError) as raised:
        ktask.run(items[0], LENGTH, ktask.Ctl(visit, failing, iter_func=item_after, undo_func=unvisit))
    assert [item.visits for item in items] == [0] * LENGTH
    start, end = raised.value.start, raised.value.end
    assert start.number <= failing < (end.number if end else LENGTH)


def test_a_list_shorter_than_the_task() -> None:
    """The iterator goes past its end there: what that raises is the run's failure, and what was done is undone."""

    def advance(item: Item, size: int) -> Any:
        following: Any = item
        for _ in range(size):
            following = following.following
        return following

    for longer in (1, 2, LENGTH):
        items = python_list()
        ctl = ktask.Ctl(visit, iter_func=advance, undo_func=unvisit, min_chunk_size=2)
        with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'following'"):
            ktask.run(items[0], LENGTH + longer, ctl)
        assert not any(item.visits for item in items)


def test_the_iterator_is_called_in_order_by_one_thread_at_a_time() -> None:
    calls: list[tuple[int, int]] = []
    busy = threading.Lock()

    def advance(position: int, size: int) -> int:
        assert busy.acquire(blocking=False), "a second thread is in the iterator"
        calls.append((position, size))
        time.sleep(0)
        busy.release()
        return position + size

    chunks: list[tuple[int, int]] = []

    def body(start: int, end: int, arg: object) -> None:
        time.sleep(0)
        chunks.append((start, end))

    ktask.run(0, 1000, ktask.Ctl(body, iter_func=advance))
    assert calls == sorted(calls)
    assert [(position, position + size) for position, size in calls] == sorted(chunks)
    assert sum(size for _, size in calls) == 1000


def c_list(clib: CLib) -> Any:
    items = clib.ffi.new("struct item[]", LENGTH)
    for i in range(LENGTH - 1):
        items[i].next = clib.ffi.addressof(items, i + 1)
    return items


def visits(items: Any) -> list[int]:
    return [items[i].visits for i in range(LENGTH)]


def test_a_linked_list_in_c(clib: CLib) -> None:
    items = c_list(clib)
    ktask.run(items, LENGTH, ktask.Ctl(clib.pointer("visit"), iter_func=clib.pointer("item_after")))
    assert visits(items) == [1] * LENGTH


def test_a_linked_list_in_c_with_a_python_iterator(clib: CLib) -> None:
    items = c_list(clib)

    def advance(item: Any, size: int) -> Any:
        return clib.lib.item_after(item, size)

    ktask.run(clib.ffi.addressof(items, 0), LENGTH, ktask.Ctl(clib.pointer("visit"), iter_func=advance))
    assert visits(items) == [1] * LENGTH


def test_undo_on_a_linked_list_in_c(clib: CLib) -> None:
    """The iterator and the undo function are C's, the thread function is Python's and gets addresses."""
    items = c_list(clib)
    last = int(clib.ffi.cast("uintptr_t", clib.ffi.addressof(items, LENGTH - 1)))

    def body(start: int, end: int, arg: object) -> int:
        clib.lib.visit(clib.ffi.cast("struct item *", start), clib.ffi.cast("struct item *", end), clib.ffi.NULL)
        if end != 0:
            return 0
        clib.lib.unvisit(clib.ffi.cast("struct item *", start), clib.ffi.NULL, clib.ffi.NULL)
        return 1

    ctl = ktask.Ctl(body, iter_func=clib.pointer("item_after"), undo_func=clib.pointer("unvisit"))
    with pytest.raises(ktask.TaskError) as raised:
        ktask.run(items, LENGTH, ctl)
    assert visits(items) == [0] * LENGTH
    assert raised.value.code == 1
    # The chunk ends at NULL, the end of the list.
    assert raised.value.start is not None
    assert 0 < raised.value.start <= last
