# SPDX-License-Identifier: BSD-3-Clause
"""Thread, undo and iterator functions in C: one shared library, to be had through cffi and through ctypes."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path
from typing import Any

from cffi import FFI

DECLARATIONS = """
struct range { intptr_t start, end; };
struct record {
    intptr_t fail[4]; int nr_fail; int code;
    size_t nr_done, nr_failed, nr_undone;
    struct range done[4096], failed[64], undone[4096];
};
struct item { struct item *next; int visits; };

int record_chunk(void *start, void *end, void *record);
void record_undo(void *start, void *end, void *record);
int add_one(int *start, int *end, int *numbers);
int fail_with(void *start, void *end, void *code);
int slow(void *start, void *end, void *counter);
void slow_undo(void *start, void *end, void *counter);
void *position_after(void *position, size_t size);
int visit(struct item *start, struct item *end, void *arg);
void unvisit(struct item *start, struct item *end, void *arg);
struct item *item_after(struct item *item, size_t size);

int takes_two(void *start, void *end);
int takes_double(double start, void *end, void *arg);
int takes_short(void *start, short end, void *arg);
double gives_double(void *start, void *end, void *arg);
void gives_nothing(void *start, void *end, void *arg);
double gives_double_position(void *position, size_t size);
int gives_int_position(void *position, size_t size);
extern int (*no_function)(void *, void *, void *);
"""

SOURCE = r"""
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct range { intptr_t start, end; };
struct record {
    intptr_t fail[4]; int nr_fail; int code;
    size_t nr_done, nr_failed, nr_undone;
    struct range done[4096], failed[64], undone[4096];
};
struct item { struct item *next; int visits; };

static void add(struct range *ranges, size_t room, size_t *nr, void *start, void *end)
{
    size_t i = __atomic_fetch_add(nr, 1, __ATOMIC_RELAXED);

    if (i < room)
        ranges[i] = (struct range){ (intptr_t)start, (intptr_t)end };
}

/* Fails if one of the record's failing units is in the chunk. */
int record_chunk(void *start, void *end, void *arg)
{
    struct record *r = arg;

    for (int i = 0; i < r->nr_fail; i++)
        if ((intptr_t)start <= r->fail[i] && r->fail[i] < (intptr_t)end) {
            add(r->failed, 64, &r->nr_failed, start, end);
            return r->code;
        }
    add(r->done, 4096, &r->nr_done, start, end);
    return 0;
}

void record_undo(void *start, void *end, void *arg)
{
    struct record *r = arg;

    add(r->undone, 4096, &r->nr_undone, start, end);
}

/* Positions are indexes of numbers. */
int add_one(int *start, int *end, int *numbers)
{
    for (intptr_t i = (intptr_t)start; i < (intptr_t)end; i++)
        numbers[i]++;
    return 0;
}

int fail_with(void *start, void *end, void *code)
{
    return (int)(intptr_t)code;
}

/* A tenth of a millisecond for each unit, which it counts. */
int slow(void *start, void *end, void *counter)
{
    for (intptr_t i = (intptr_t)start; i < (intptr_t)end; i++) {
        struct timespec begin, now;

        clock_gettime(CLOCK_MONOTONIC, &begin);
        do
            clock_gettime(CLOCK_MONOTONIC, &now);
        while ((now.tv_sec - begin.tv_sec) * 1000000000 + now.tv_nsec - begin.tv_nsec < 100000);
        __atomic_fetch_add((long *)counter, 1, __ATOMIC_RELAXED);
    }
    return 0;
}

void slow_undo(void *start, void *end, void *counter)
{
    __atomic_fetch_sub((long *)counter, (intptr_t)end - (intptr_t)start, __ATOMIC_RELAXED);
}

void *position_after(void *position, size_t size)
{
    return (char *)position + size;
}

int visit(struct item *start, struct item *end, void *arg)
{
    for (struct item *i = start; i != end; i = i->next)
        i->visits++;
    return 0;
}

void unvisit(struct item *start, struct item *end, void *arg)
{
    for (struct item *i = start; i != end; i = i->next)
        i->visits--;
}

struct item *item_after(struct item *item, size_t size)
{
    while (size--)
        item = item->next;
    return item;
}

/* Wrong ones. */
int takes_two(void *start, void *end) { return 0; }
int takes_double(double start, void *end, void *arg) { return 0; }
int takes_short(void *start, short end, void *arg) { return 0; }
double gives_double(void *start, void *end, void *arg) { return 0; }
void gives_nothing(void *start, void *end, void *arg) { }
double gives_double_position(void *position, size_t size) { return 0; }
int gives_int_position(void *position, size_t size) { return 0; }
int (*no_function)(void *, void *, void *);
"""


class CLib:
    """The library, compiled into ``folder``."""

    def __init__(self, folder: Path) -> None:
        builder = FFI()
        builder.cdef(DECLARATIONS)
        builder.set_source("clib_compiled", SOURCE)
        self.path = Path(builder.compile(tmpdir=str(folder)))
        spec = importlib.util.spec_from_file_location("clib_compiled", self.path)
        assert spec is not None
        assert spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.ffi: Any = module.ffi
        self.lib: Any = module.lib
        self.ctypes = ctypes.CDLL(str(self.path))

    def pointer(self, name: str) -> Any:
        """The function as a cffi pointer, from the out-of-line module."""
        return self.ffi.addressof(self.lib, name)

    def dlopened(self, name: str) -> Any:
        """The function as a cffi pointer, from an in-line (ABI mode) FFI."""
        ffi = FFI()
        ffi.cdef(DECLARATIONS)
        library: Any = ffi.dlopen(str(self.path))
        function: Any = ffi.addressof(library, name)
        return ffi.gc(function, lambda _: library)  # keeps the library open as long as the function

    def address(self, name: str) -> int:
        """The function as an int."""
        return int(self.ffi.cast("uintptr_t", self.pointer(name)))
