#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Everything at random, for as long as is asked: soak.py [SECONDS [SEED]]; 600 seconds by default.

Two worker processes run tasks of random sizes and kinds: with errors in the thread and the undo function, iterators,
tasks in tasks, several threads that call, Python's and C's functions, forks in the middle. Each outcome is checked to
the unit. One worker is killed now and then and started anew, while the other has to live from start to end: its memory
and its threads must not grow. Beside them the C library's own stress test goes on, each time with another seed; and
under a sanitizer with, say, ``SANITIZE=thread`` in the environment.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

import ktask

ROOT = Path(__file__).parents[2]
SANITIZE = os.environ.get("SANITIZE", "")
STRESS = ROOT / "tests/c/build" / "-".join(["gcc", *SANITIZE.split(",")]).rstrip("-") / "stress"
HELPERS = 5
CALLERS = 3
DEADLINE = 60
"""A worker that says nothing for so long hangs."""

GROWTH = 8 << 20
"""So many bytes more than after the first fifth are no leak yet: allocators keep some for each thread."""

C_SOURCE = """
#include <stdatomic.h>
#include <stdint.h>
int add(void *start, void *end, void *n) { atomic_fetch_add((atomic_long *)n, (char *)end - (char *)start); return 0; }
int add_and_fail(void *start, void *end, void *n)
{
    if ((uintptr_t)start <= 500 && (uintptr_t)end > 500)
        return 7;
    return add(start, end, n);
}
void take_back(void *start, void *end, void *n) { atomic_fetch_sub((atomic_long *)n, (char *)end - (char *)start); }
"""


class RandomError(Exception):
    """What a chunk fails with."""


def one_run(rng: random.Random, depth: int = 0) -> None:
    """A task of Python callables."""
    size = rng.randrange(1 << rng.randrange(1, 9))
    fails_at = rng.randrange(4 * size + 1) if rng.random() < 0.5 else -1
    nests = depth < 2 and rng.random() < 0.1
    forks_at = rng.randrange(size + 1) if depth == 0 and rng.random() < 0.01 else -1
    undo_raises = rng.random() < 0.1
    seed = rng.random()
    state = bytearray(size)
    parent = os.getpid()

    def body(start: int, end: int, arg: object) -> None:
        assert not any(state[start:end])
        if start <= fails_at < end:
            raise RandomError(start)
        if nests:
            one_run(random.Random(f"{seed} {start}"), depth + 1)
        if start <= forks_at < end and os.getpid() == parent:
            fork_and_run()
        state[start:end] = b"\1" * (end - start)

    def undo(start: int, end: int, arg: object) -> None:
        assert state[start:end] == b"\1" * (end - start)
        state[start:end] = bytes(end - start)
        if undo_raises:
            raise LookupError(start)

    ctl = ktask.Ctl(
        body,
        min_chunk_size=rng.randrange(1, 10),
        undo_func=undo,
        max_threads=rng.choice([None, 1, 2, 5]),
        iter_func=rng.choice([None, None, lambda position, n: position + n]),
    )
    try:
        ktask.run(0, size, ctl)
    except RandomError:
        assert fails_at < size
        assert not any(state)
    else:
        assert not 0 <= fails_at < size
        assert state == b"\1" * size


def fork_and_run() -> None:
    """A child in the middle of a run: it runs a task of its own, and ends."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            done = [0] * 100

            def body(start: int, end: int, arg: object) -> None:
                for i in range(start, end):
                    done[i] += 1

            ktask.run(0, 100, ktask.Ctl(body))
            status = 0 if done == [1] * 100 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def one_c_run(rng: random.Random, library: ctypes.CDLL) -> None:
    """A task of C functions."""
    size = rng.randrange(1 << rng.randrange(1, 20))
    fails = rng.random() < 0.3
    n = ctypes.c_long(0)
    ctl = ktask.Ctl(library.add_and_fail if fails else library.add, n, undo_func=library.take_back)
    try:
        ktask.run(0, size, ctl)
    except ktask.TaskError as e:
        code, expected = e.code, 0
    else:
        code, expected = 0, size
    assert code == (7 if fails and size > 500 else 0)
    assert n.value == expected


def work(seed: str, path: str) -> None:
    """A worker: runs until it is killed or told to end by the end of its input, and says so once in a while."""
    library = ctypes.CDLL(path)
    over = threading.Event()
    failed: list[BaseException] = []
    runs = [0] * CALLERS

    def call(i: int) -> None:
        rng = random.Random(f"{seed} {i}")
        try:
            while not over.is_set():
                one_run(rng)
                one_c_run(rng, library)
                runs[i] += 1
        except BaseException as e:
            failed.append(e)
            over.set()
            raise

    threads = [threading.Thread(target=call, args=(i,)) for i in range(CALLERS)]
    for thread in threads:
        thread.start()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    before = list(runs)
    while not over.wait(0.2):
        if all(now > then for now, then in zip(runs, before, strict=True)):  # nobody hangs
            before = list(runs)
            print(sum(runs), flush=True)
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"seed {seed}: {failed[0]!r}")


class Worker:
    """A worker process, seen from outside."""

    def __init__(self, seed: str, path: str) -> None:
        code = f"import soak; soak.work({seed!r}, {path!r})"
        environment = os.environ | {"KTASK_HELPERS": str(HELPERS), "KTASK_WAKE_NS": "0", "PYTHONFAULTHANDLER": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parent,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.heard = time.monotonic()
        self.runs = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard = time.monotonic()
            self.runs = int(line)

    def check(self) -> None:
        """Fails if it has ended, or hangs."""
        if self.process.poll() is not None:
            raise SystemExit(f"a worker ended with {self.process.returncode}")
        if time.monotonic() - self.heard > DEADLINE:
            self.process.send_signal(signal.SIGABRT)  # faulthandler tells where it is
            raise SystemExit("a worker hangs")

    def size(self) -> tuple[int, int]:
        """Its memory in bytes, and its threads."""
        p = psutil.Process(self.process.pid)
        return p.memory_info().rss, p.num_threads()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Asks it to end, which it must do well."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        if self.process.wait(DEADLINE):
            raise SystemExit(f"the worker ended with {self.process.returncode}")


def library(folder: str) -> str:
    """The C functions, compiled."""
    source, path = Path(folder, "functions.c"), Path(folder, "functions.so")
    source.write_text(C_SOURCE)
    subprocess.run([os.environ.get("CC", "cc"), "-O1", "-shared", "-fPIC", source, "-o", path], check=True)
    return str(path)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**9)
    print(f"soak {seconds:g} {seed}", flush=True)
    rng = random.Random(seed)
    subprocess.run(["make", "-s", "-C", ROOT / "tests/c", "all", "TESTS=stress", f"SANITIZE={SANITIZE}"], check=True)
    os.environ.setdefault("TSAN_OPTIONS", "atexit_sleep_ms=0:die_after_fork=0")  # as in tests/c/Makefile
    stress: subprocess.Popen[bytes] | None = None
    kills = stresses = 0
    with tempfile.TemporaryDirectory() as folder:
        path = library(folder)
        steady, mortal = Worker(f"{seed} steady", path), Worker(f"{seed} 0", path)
        begin = time.monotonic()
        first, last = (0, 0), (0, 0)
        while (elapsed := time.monotonic() - begin) < seconds:
            time.sleep(rng.uniform(0.1, 1.0))
            if stress is None or stress.poll() is not None:
                if stress is not None and stress.returncode:
                    raise SystemExit(f"stress ended with {stress.returncode}")
                stresses += 1
                stress = subprocess.Popen([STRESS, "200", str(rng.randrange(1, 10**9))], stdout=subprocess.DEVNULL)
            for worker in (steady, mortal):
                worker.check()
            if rng.random() < 0.2:
                mortal.kill()
                kills += 1
                mortal = Worker(f"{seed} {kills}", path)
            last = steady.size()
            if elapsed < seconds / 5:
                first = max(first, last)
        mortal.kill()
        steady.end()
        assert stress is not None
        if stress.wait():
            raise SystemExit(f"stress ended with {stress.returncode}")
    print(
        f"{steady.runs} runs, {kills} kills, {stresses} stress tests; "
        f"memory {first[0] >> 10} KiB, then {last[0] >> 10}; threads {first[1]}, then {last[1]}"
    )
    if last[0] > first[0] + GROWTH:
        raise SystemExit("memory grows")
    if last[1] > CALLERS + HELPERS + 2:
        raise SystemExit("there are more threads than there may be")
    if not steady.runs:
        raise SystemExit("nothing was run")


if __name__ == "__main__":
    main()
