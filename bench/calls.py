# SPDX-License-Identifier: BSD-3-Clause
"""Measures calls from Python with one library: python bench/calls.py PEER ROUND SCALE. bench/run.py starts it.

call     a C function over a range, which takes so many µs; 0: an empty one
exp      e to the power of so many doubles, beside np.exp
digest   SHA-256 of so many blocks of 64 KiB, by a Python callable, beside the plain Python loop
"""

from __future__ import annotations

import hashlib
import importlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from cffi import FFI
from peers import BUILD, build_common

CALLS_US = (0, 1, 5, 10, 20, 50, 100, 1000)
EXP_SIZES = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
DIGESTS = (4, 32, 256, 2048)
CPUS = len(os.sched_getaffinity(0))
CLOCK_NS = 5000
"""Calls that take less are timed several at once: the clock shows tens of ns, and reading it takes as long."""

ffi = FFI()
ffi.cdef("int nothing(void *, void *, void *); int divide(void *, void *, void *);")
bodies: Any = ffi.dlopen(str(build_common()))

Run = Callable[[], object]


class Peer:
    """What one library does for each workload: a function to measure, or None where it has nothing for it."""

    def call(self, func: str, n: int) -> Run | None:
        """Runs bodies.<func> over n units."""

    def exp(self, x: Any, y: Any) -> Run | None:
        """Computes e to the power of x in y."""

    def digest(self, n: int, one: Callable[[int], None]) -> Run | None:
        """Calls one(i) for each i of n."""


class Ktask(Peer):
    """ktask, with a C function and with Python callables."""

    def __init__(self) -> None:
        self.ktask = importlib.import_module("ktask")

    def call(self, func: str, n: int) -> Run:
        return partial(self.ktask.run, 0, n, self.ktask.Ctl(getattr(bodies, func)))

    def exp(self, x: Any, y: Any) -> Run:
        def work(start: int, end: int) -> None:
            np.exp(x[start:end], out=y[start:end])

        return partial(self.ktask.parallel_for, work, len(x))

    def digest(self, n: int, one: Callable[[int], None]) -> Run:
        def work(start: int, end: int) -> None:
            for i in range(start, end):
                one(i)

        return partial(self.ktask.parallel_for, work, n)


class NumbaPrange(Peer):
    """numba.njit(parallel=True), with the threading layer that it chooses."""

    def __init__(self) -> None:
        os.environ.setdefault("NUMBA_CACHE_DIR", str(BUILD / "numba"))
        numba = importlib.import_module("numba")

        def divide(n):  # type: ignore[no-untyped-def]
            total = 0.0
            for i in numba.prange(n):
                total += 1.0 / (i + 1)
            return total

        def exp(x, y):  # type: ignore[no-untyped-def]
            for i in numba.prange(len(x)):
                y[i] = np.exp(x[i])

        jit = numba.njit(parallel=True, cache=True)
        self.divide, self.exp_ = jit(divide), jit(exp)

    def call(self, func: str, n: int) -> Run:
        return partial(self.divide, n)

    def exp(self, x: Any, y: Any) -> Run:
        return partial(self.exp_, x, y)


class Slices(Peer):
    """One equal slice for each CPU, for libraries of futures."""

    def each(self, jobs: list[Run]) -> object:
        """Runs all of them."""
        raise NotImplementedError

    def slices(self, n: int, job: Callable[[int, int], object]) -> Run:
        """What runs job(start, end) on all of n."""
        borders = [n * i // CPUS for i in range(CPUS + 1)]
        return partial(self.each, [partial(job, *ends) for ends in pairwise(borders)])

    def call(self, func: str, n: int) -> Run:
        c = getattr(bodies, func)
        return self.slices(n, lambda start, end: c(ffi.cast("void *", start), ffi.cast("void *", end), ffi.NULL))

    def exp(self, x: Any, y: Any) -> Run:
        return self.slices(len(x), lambda start, end: np.exp(x[start:end], out=y[start:end]))

    def digest(self, n: int, one: Callable[[int], None]) -> Run:
        def work(start: int, end: int) -> None:
            for i in range(start, end):
                one(i)

        return self.slices(n, work)


class Futures(Slices):
    """concurrent.futures.ThreadPoolExecutor."""

    def __init__(self) -> None:
        self.pool = importlib.import_module("concurrent.futures").ThreadPoolExecutor(CPUS)

    def each(self, jobs: list[Run]) -> object:
        return [future.result() for future in [self.pool.submit(job) for job in jobs]]


class Joblib(Slices):
    """joblib.Parallel with threads, kept from call to call."""

    def __init__(self) -> None:
        joblib = importlib.import_module("joblib")
        self.delayed = joblib.delayed
        self.parallel = joblib.Parallel(n_jobs=CPUS, prefer="threads").__enter__()

    def each(self, jobs: list[Run]) -> object:
        return self.parallel(self.delayed(job)() for job in jobs)


class Numexpr(Peer):
    """numexpr.evaluate."""

    def __init__(self) -> None:
        self.numexpr = importlib.import_module("numexpr")
        self.numexpr.set_num_threads(CPUS)

    def exp(self, x: Any, y: Any) -> Run:
        return partial(self.numexpr.evaluate, "exp(x)", local_dict={"x": x}, out=y)


PEERS: dict[str, Callable[[], Peer]] = {
    "ktask": Ktask,
    "numba prange": NumbaPrange,
    "ThreadPoolExecutor": Futures,
    "joblib threads": Joblib,
    "numexpr": Numexpr,
}


@dataclass
class Way:
    """One way to do it, in a context that is entered for it, and what its calls took."""

    call: Run
    inside: Callable[[], AbstractContextManager[object]] = nullcontext
    batch: int = 1
    """So many calls are timed at once."""
    ns: list[int] = field(default_factory=list)
    cpu_ns: int = 0
    calls: int = 0


def block(way: Way, block_ns: float) -> None:
    """Calls it for so many ns, twice at least. The first quarter, which follows another way's calls, does not count."""
    ns: list[int] = []
    with way.inside():
        time.sleep(2e-4)  # what a thread has used is accounted when it goes to sleep
        cpu, begin = time.process_time_ns(), time.perf_counter_ns()
        while len(ns) < 2 or time.perf_counter_ns() - begin < block_ns:
            called = time.perf_counter_ns()
            for _ in range(way.batch):
                way.call()
            ns.append((time.perf_counter_ns() - called) // way.batch)
        time.sleep(2e-4)
        way.cpu_ns += time.process_time_ns() - cpu
    way.calls += len(ns) * way.batch
    way.ns += ns[max(1, len(ns) // 4) :]


def measure(
    serial: Run,
    parallel: Run,
    round_: int,
    scale: float,
    inside: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> tuple[int, ...]:
    """Measures both in turns, the second inside a context: the figures of a row, as turns.hpp prints them."""
    ways = [Way(serial), Way(parallel, inside)]
    parallel()
    for way in ways:
        block(way, 1e5)
        way.batch = max(1, CLOCK_NS // min(way.ns))
        way.ns, way.cpu_ns, way.calls = [], 0, 0
    for turn in range(4):
        for way in ways if (turn + round_) % 2 == 0 else ways[::-1]:
            block(way, 15e6 * scale)
    took = [int(statistics.median(way.ns)) for way in ways]
    return (*took, took[0] // CPUS, *(way.cpu_ns // way.calls for way in ways))


def units_per_us() -> float:
    """Units of bodies.divide that take one microsecond."""
    best = float("inf")
    for _ in range(20):
        begin = time.perf_counter_ns()
        bodies.divide(ffi.NULL, ffi.cast("void *", 1_000_000), ffi.NULL)
        best = min(best, time.perf_counter_ns() - begin)
    return 1e9 / best


def workloads(peer: Peer) -> Iterator[tuple[str, int, Run, Run | None]]:
    """Name, size, what does it serially, and what in parallel."""
    rate = units_per_us()
    for us in CALLS_US:
        func, n = ("divide", int(us * rate)) if us else ("nothing", 64)
        serial: Run = partial(getattr(bodies, func), ffi.NULL, ffi.cast("void *", n), ffi.NULL)
        yield "call", us, serial, peer.call(func, n)
    for size in EXP_SIZES:
        x, y = np.linspace(-5, 5, size), np.empty(size)
        yield "exp", size, partial(np.exp, x, out=y), peer.exp(x, y)
    data = memoryview(os.urandom(1 << 16))
    for size in DIGESTS:
        out = [b""] * size

        def one(i: int, out: list[bytes] = out) -> None:
            out[i] = hashlib.sha256(data).digest()

        def loop(size: int = size, one: Callable[[int], None] = one) -> None:
            for i in range(size):
                one(i)

        yield "digest", size, loop, peer.digest(size, one)


def main() -> None:
    """All workloads, for one peer."""
    peer, round_, scale = PEERS[sys.argv[1]](), int(sys.argv[2]), float(sys.argv[3])
    for workload, size, serial, parallel in workloads(peer):
        if parallel:
            print(workload, size, *measure(serial, parallel, round_, scale), flush=True)


if __name__ == "__main__":
    main()
