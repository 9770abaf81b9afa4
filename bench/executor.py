# SPDX-License-Identifier: BSD-3-Clause
"""``ktask.Executor`` beside ThreadPoolExecutor: calls in a burst, one after the other, and calls that wait.

python bench/executor.py [CSV]      prints microseconds per call, and keeps the raw figures
"""

from __future__ import annotations

import csv
import hashlib
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ktask

KINDS: dict[str, Any] = {"serial": None, "ThreadPoolExecutor": ThreadPoolExecutor, "ktask.Executor": ktask.Executor}
BESIDE = "another process's thread takes so many times as long beside it"
TURNS = 5
SHORT, LONG = bytes(200_000), bytes(2_000_000)


def nothing() -> None:
    """The executor's own cost is all."""


def hash_short() -> None:
    """Some 0.1 ms without the GIL."""
    hashlib.sha1(SHORT)


def hash_long() -> None:
    """Some 1 ms without the GIL."""
    hashlib.sha1(LONG)


def plain_python() -> None:
    """With the GIL."""
    sum(i * i for i in range(2000))


def wait() -> None:
    """Uses no CPU."""
    time.sleep(0.005)


def compute_and_wait() -> None:
    """Some 1 ms of each."""
    hash_long()
    time.sleep(0.001)


def serial(call: Callable[[], None], n: int) -> float:
    """Without an executor; in microseconds per call, as all of these."""
    begin = time.perf_counter()
    for _ in range(n):
        call()
    return (time.perf_counter() - begin) / n * 1e6


def burst(kind: type[ThreadPoolExecutor], call: Callable[[], None], n: int) -> float:
    """All submitted at once."""
    with kind() as executor:
        executor.submit(nothing).result()
        begin = time.perf_counter()
        futures = [executor.submit(call) for _ in range(n)]
        for future in futures:
            future.result()
        return (time.perf_counter() - begin) / n * 1e6


def round_trip(kind: type[ThreadPoolExecutor], call: Callable[[], None], n: int, pause: float) -> float:
    """Submitted when the one before is done, or some time after."""
    times = []
    with kind() as executor:
        executor.submit(nothing).result()
        for _ in range(n):
            time.sleep(pause)
            begin = time.perf_counter()
            executor.submit(call).result()
            times.append((time.perf_counter() - begin) * 1e6)
    return statistics.median(times)


def keep_busy(kind: type[ThreadPoolExecutor] | None) -> None:
    """For ever; without an executor in one thread."""
    print("busy", flush=True)
    while kind is None:
        hash_long()
    with kind() as executor:
        futures = deque(executor.submit(hash_long) for _ in range(50))
        while True:
            futures.popleft().result()
            futures.append(executor.submit(hash_long))


def beside(kind: str) -> float:
    """What a call takes in this process, beside another one that is busy."""
    command = [sys.executable, __file__, kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as neighbour:
        assert neighbour.stdout is not None
        neighbour.stdout.readline()
        time.sleep(0.3)
        taken = serial(hash_long, 800)
        neighbour.kill()
    return taken


def main() -> None:
    """Measures in turns."""
    rows: list[tuple[str, Callable[[Any], float], float | None]] = [
        ("5,000 calls of nothing", lambda kind: burst(kind, nothing, 5000), None),
        ("2,000 calls of 0.1 ms, no GIL", lambda kind: burst(kind, hash_short, 2000), serial(hash_short, 1000)),
        ("200 calls of 1 ms, no GIL", lambda kind: burst(kind, hash_long, 200), serial(hash_long, 200)),
        ("1,000 calls of plain Python", lambda kind: burst(kind, plain_python, 1000), serial(plain_python, 1000)),
        ("100 calls that wait for 5 ms", lambda kind: burst(kind, wait, 100), serial(wait, 100)),
        (
            "200 calls of 1 ms that also wait for 1 ms",
            lambda kind: burst(kind, compute_and_wait, 200),
            serial(compute_and_wait, 100),
        ),
        ("submit to result, at once", lambda kind: round_trip(kind, nothing, 2000, 0), None),
        ("submit to result, 1 ms apart", lambda kind: round_trip(kind, nothing, 300, 0.001), None),
    ]
    figures: list[tuple[str, str, int, float]] = []
    for name, measure, alone in rows:
        if alone is not None:
            figures.append((name, "serial", 0, alone))
        for turn in range(TURNS):
            figures += [(name, kind, turn, measure(KINDS[kind])) for kind in ("ThreadPoolExecutor", "ktask.Executor")]

    alone = serial(hash_long, 800)
    figures += [(BESIDE, kind, turn, beside(kind) / alone) for turn in range(TURNS) for kind in KINDS]
    if len(sys.argv) > 1:
        with open(sys.argv[1], "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("what", "kind", "turn", "us"))
            writer.writerows(figures)
    for name in dict.fromkeys(name for name, *_ in figures):
        medians = [
            statistics.median(us for n, k, _, us in figures if (n, k) == (name, kind))
            for kind in dict.fromkeys(k for n, k, *_ in figures if n == name)
        ]
        print(f"{name:<75}" + "".join(f"{m:>10.2f}" for m in medians))


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in KINDS:
        keep_busy(KINDS[sys.argv[1]])
    main()
