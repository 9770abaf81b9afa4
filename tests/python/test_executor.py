# SPDX-License-Identifier: BSD-3-Clause
"""``ktask.Executor``: helpers make calls, calls that wait do not stand in the way, and all end; and ``ktask.arun``."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from test_fork import in_child

import ktask

TIMEOUT = 60


def burn() -> int:
    """Uses a CPU for a moment, and tells which thread did."""
    end = time.perf_counter() + 0.0005
    while time.perf_counter() < end:
        pass
    time.sleep(0)
    return threading.get_native_id()


def helpers_among(threads: set[int], executor: ktask.Executor) -> set[int]:
    return threads - {t.native_id for t in executor._threads if t.native_id is not None}


def test_results_in_order() -> None:
    with ktask.Executor() as executor:
        for chunksize in (1, 7):
            assert list(executor.map(pow, range(500), [2] * 500, chunksize=chunksize)) == [i * i for i in range(500)]
        futures = [executor.submit(divmod, 7, b) for b in (1, 2, 3)]
        assert {f.result() for f in concurrent.futures.as_completed(futures)} == {(7, 0), (3, 1), (2, 1)}
        assert concurrent.futures.wait(futures).not_done == set()


def test_helpers_make_calls() -> None:
    with ktask.Executor(max_workers=3) as executor:
        deadline = time.monotonic() + TIMEOUT
        while not helpers_among({f.result() for f in [executor.submit(burn) for _ in range(100)]}, executor):
            assert time.monotonic() < deadline, "no helper ever made a call"


def test_helpers_make_calls_again_after_calls_that_waited() -> None:
    with ktask.Executor(max_workers=4) as executor:
        list(executor.map(time.sleep, [0.005] * 40))
        deadline = time.monotonic() + TIMEOUT
        while not helpers_among({f.result() for f in [executor.submit(burn) for _ in range(100)]}, executor):
            assert time.monotonic() < deadline, "no helper ever made a call again"


def test_no_helpers_by_limit() -> None:
    with ktask.limits(max_helpers=0), ktask.Executor(max_workers=3) as executor:
        assert not helpers_among({f.result() for f in [executor.submit(burn) for _ in range(100)]}, executor)


COMPUTING = """
import hashlib, ktask, threading
lock, data = threading.Lock(), bytes(5_000_000)
here, seen = 0, []
def compute(i):
    global here
    with lock:
        here += 1
        seen.append(here)
    hashlib.sha1(data)
    with lock:
        here -= 1
with ktask.Executor(8) as executor:
    for i in range(100):
        executor.submit(compute, i)
print(sum(seen) / len(seen))
"""


def test_computing_calls_have_no_more_threads_than_cpus() -> None:
    """With one helper, two, where a pool would have eight; but on a busy machine one may sleep when it is looked at."""
    environment = {**os.environ, "KTASK_HELPERS": "1"}
    for _ in range(5):
        command = [sys.executable, "-c", COMPUTING]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, env=environment, check=True)
        if float(done.stdout) < 4:
            return
    pytest.fail(f"there were {done.stdout} threads at a time")


def test_calls_that_wait_for_one_another() -> None:
    """Each waits for all: so as many threads are there as ``max_workers`` says, and not more."""
    for n in (2, 6, 20):
        meeting = threading.Barrier(n, timeout=TIMEOUT)
        with ktask.Executor(max_workers=n) as executor:
            for _ in range(3):
                futures = [executor.submit(meeting.wait) for _ in range(n)]
                assert sorted(f.result() for f in futures) == list(range(n))


def test_calls_that_often_wait_have_more_threads_than_cpus() -> None:
    """Each waits for half of its time, and none for long: with one thread a CPU, that would stay idle for as long."""
    lock = threading.Lock()
    here = 0
    seen: list[int] = []

    def work() -> None:
        nonlocal here
        with lock:
            here += 1
            seen.append(here)
        time.sleep(0.0005)
        burn()
        with lock:
            here -= 1

    deadline = time.monotonic() + TIMEOUT
    with ktask.limits(max_helpers=0), ktask.Executor(max_workers=3) as executor:
        while not seen or sum(seen) / len(seen) < 1.2:
            assert time.monotonic() < deadline, "no other thread ever came, or none stayed"
            seen.clear()
            concurrent.futures.wait([executor.submit(work) for _ in range(300)])


def test_calls_that_submit_and_wait() -> None:
    with ktask.Executor(max_workers=8) as executor:

        def depth(n: int) -> int:
            return 0 if n == 0 else 1 + executor.submit(depth, n - 1).result(TIMEOUT)

        for _ in range(20):
            assert executor.submit(depth, 6).result(TIMEOUT) == 6


def test_a_call_that_spins_until_another_is_made() -> None:
    done = threading.Event()
    with ktask.Executor(max_workers=2) as executor:

        def spin() -> None:
            while not done.is_set():
                pass

        spinning = executor.submit(spin)
        executor.submit(done.set)
        spinning.result(TIMEOUT)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_never_more_than_max_workers(most: int) -> None:
    lock = threading.Lock()
    here = highest = 0

    def work(i: int) -> None:
        nonlocal here, highest
        with lock:
            here += 1
            highest = max(highest, here)
        if i % 10 == 0:
            time.sleep(0.001)
        burn()
        with lock:
            here -= 1

    with ktask.Executor(max_workers=most) as executor:
        list(executor.map(work, range(200)))
    assert 1 <= highest <= most


def test_first_come_first_served() -> None:
    begun: list[int] = []
    gate = threading.Event()
    with ktask.Executor(max_workers=1) as executor:
        executor.submit(gate.wait, TIMEOUT)
        for i in range(100):
            executor.submit(begun.append, i)
        gate.set()
    assert begun == list(range(100))


def test_every_call_once_from_many_threads() -> None:
    made: list[tuple[int, int]] = []
    with ktask.Executor(max_workers=4) as executor:

        def submit(thread: int) -> None:
            for i in range(500):
                executor.submit(made.append, (thread, i))

        threads = [threading.Thread(target=submit, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(made) == [(n, i) for n in range(4) for i in range(500)]


def test_exceptions_of_any_kind() -> None:
    class Own(BaseException):
        pass

    def fail(error: BaseException) -> None:
        raise error

    with ktask.Executor() as executor:
        for error in (ValueError("v"), Own("o"), SystemExit(3), KeyboardInterrupt()):
            future = executor.submit(fail, error)
            assert future.exception() is error
        assert executor.submit(abs, -1).result() == 1


def test_what_a_call_held_is_let_go() -> None:
    class Thing:
        def method(self) -> None:
            raise ValueError

    with ktask.Executor() as executor:
        thing = Thing()
        gone = weakref.ref(thing)
        executor.submit(thing.method)
        del thing
        deadline = time.monotonic() + TIMEOUT
        while gone() is not None:
            gc.collect()
            assert time.monotonic() < deadline
            time.sleep(0.001)


def test_the_initializer_is_called_in_each_thread() -> None:
    local = threading.local()

    def initialize(value: int) -> None:
        assert not hasattr(local, "value"), "once"
        local.value = value

    with ktask.Executor(4, "prefix", initialize, (5,)) as executor:

        def value() -> int:
            burn()
            return int(local.value)

        assert {f.result() for f in [executor.submit(value) for _ in range(300)]} == {5}
        assert all(t.name.startswith("prefix_") for t in executor._threads)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="max_workers must be greater than 0, not 0"):
        ktask.Executor(0)
    with pytest.raises(TypeError, match="initializer must be a callable, not int: 3"):
        ktask.Executor(initializer=3)  # type: ignore[arg-type]


def test_after_shutdown() -> None:
    executor = ktask.Executor(1)
    gate = threading.Event()
    first = executor.submit(gate.wait, TIMEOUT)
    while not first.running():
        time.sleep(0.001)
    others = [executor.submit(abs, -1) for _ in range(10)]
    executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, -1)
    gate.set()
    executor.shutdown()
    assert first.result() is True
    assert all(f.cancelled() for f in others)


def test_a_dropped_executor_ends_its_threads() -> None:
    executor = ktask.Executor(3)
    list(executor.map(abs, range(-10, 0)))
    threads = list(executor._threads)
    assert threads
    del executor
    gc.collect()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def test_it_works_in_a_child_of_fork() -> None:
    executor = ktask.Executor(4)
    list(executor.map(abs, range(100)))
    gate = threading.Event()
    under_way = [executor.submit(gate.wait, TIMEOUT) for _ in range(2)]

    def child() -> None:
        assert list(executor.map(abs, range(-100, 0))) == list(range(100, 0, -1))
        executor.shutdown()

    for _ in range(3):
        in_child(child)
    gate.set()
    assert all(f.result(TIMEOUT) for f in under_way)
    executor.shutdown()


def test_a_call_that_forks() -> None:
    with ktask.Executor(2) as executor:

        def child() -> None:
            assert executor.submit(abs, -1).result(TIMEOUT) == 1

        executor.submit(in_child, child).result(TIMEOUT)
        assert executor.submit(abs, -2).result(TIMEOUT) == 2


@pytest.mark.parametrize("ending", ["", "executor.shutdown(wait=False)", "del executor", "raise SystemExit(0)"])
def test_the_interpreter_ends_when_all_is_done(ending: str) -> None:
    program = f"""
import ktask, time
executor = ktask.Executor(3)
def work(i):
    time.sleep(0.01)
    print(f"{{i}}\\n", end="")  # as one
for i in range(20):
    executor.submit(work, i)
{ending}
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT, env={**os.environ}, check=True
    )
    assert done.stderr == ""
    assert sorted(map(int, done.stdout.split())) == list(range(20))


def test_an_idle_executor_uses_no_cpu() -> None:
    program = """
import ktask, time
executor = ktask.Executor(4)
list(executor.map(lambda i: time.sleep(0.001), range(50)))
list(executor.map(abs, range(1000)))
time.sleep(0.1)
before = time.process_time()
time.sleep(0.5)
print(time.process_time() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert float(done.stdout) < 0.05  # of half a second


# ---- asyncio ---------------------------------------------------------------------------------------------------------


def test_run_in_executor() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ktask.Executor())  # takes a ThreadPoolExecutor only
        return await asyncio.gather(*(loop.run_in_executor(None, abs, -i) for i in range(100)))

    assert asyncio.run(main()) == list(range(100))


def test_arun() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    numbers = [0] * 1000
    seen: list[str] = []
    caller: list[int] = []

    def body(start: int, end: int, arg: object) -> None:
        for i in range(start, end):
            numbers[i] += 1

    def progress(done: int, total: int) -> None:
        seen.append(variable.get())
        caller.append(threading.get_ident())

    async def main() -> None:
        variable.set("set")
        await ktask.arun(0, len(numbers), ktask.Ctl(body, progress=progress))

    asyncio.run(main())
    assert numbers == [1] * 1000
    assert set(seen) == {"set"}
    assert threading.get_ident() not in caller


def test_arun_raises_what_the_run_raises() -> None:
    def body(start: int, end: int, arg: object) -> int:
        return 7

    with pytest.raises(ktask.TaskError, match="returned 7"):
        asyncio.run(ktask.arun(0, 10, ktask.Ctl(body)))
    with pytest.raises(TypeError, match=r"ctl must be a ktask\.Ctl"):
        asyncio.run(ktask.arun(0, 10, body))  # type: ignore[arg-type]


def cancelled_run(body: Callable[[int, int, Any], object], undo: Callable[[int, int, Any], object]) -> None:
    begun = threading.Event()

    def slow(start: int, end: int, arg: object) -> object:
        begun.set()
        time.sleep(0.002)
        return body(start, end, arg)

    async def main() -> None:
        size = 1_000_000  # half an hour
        task = asyncio.create_task(ktask.arun(0, size, ktask.Ctl(slow, undo_func=undo, max_threads=2)))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_a_cancelled_arun_stops_and_is_undone() -> None:
    lock = threading.Lock()
    done = 0

    def body(start: int, end: int, arg: object) -> None:
        nonlocal done
        with lock:
            done += end - start

    def undo(start: int, end: int, arg: object) -> None:
        nonlocal done
        done -= end - start

    cancelled_run(body, undo)
    assert done == 0  # and nothing goes on: the loop's threads have ended
