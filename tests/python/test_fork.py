# SPDX-License-Identifier: BSD-3-Clause
"""After a fork both processes work on; a hang in a child is a failure, not a hang of the tests."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest
from meeting import meet, meeting_of

import ktask

DEADLINE = 30.0


@pytest.fixture(autouse=True)
def _forking_with_threads_is_the_point() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def use_ktask() -> None:
    """Two threads meet in a run: so helpers do come."""
    numbers = [0] * 1000

    def body(start: int, end: int, arg: object) -> None:
        for i in range(start, end):
            numbers[i] += 1

    ktask.run(0, 1000, ktask.Ctl(body))
    assert numbers == [1] * 1000
    meet()


def wait_for(pid: int) -> None:
    """Fails if the child does not end in time, or not with 0."""
    deadline = time.monotonic() + DEADLINE
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            pytest.fail("the child hangs")
        time.sleep(0.005)


def in_child(function: Callable[[], None]) -> None:
    """Runs the function in a forked child."""
    pid = os.fork()
    if pid:
        wait_for(pid)
        return
    in_this_child(function)


def in_this_child(function: Callable[[], None]) -> NoReturn:
    """Ends this process, with 0 if the function does not raise."""
    status = 1
    try:
        function()
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def check_child(pids: list[int], message: str) -> None:
    assert pids == [0]
    assert "fork" in message
    use_ktask()


def test_a_child_has_helpers_of_its_own() -> None:
    use_ktask()
    for _ in range(5):
        in_child(use_ktask)
        use_ktask()


def test_a_grandchild() -> None:
    use_ktask()

    def child() -> None:
        use_ktask()
        in_child(use_ktask)
        use_ktask()

    in_child(child)


def test_a_fork_while_other_threads_run() -> None:
    stop = threading.Event()
    runs = [0] * 3

    def run(i: int) -> None:
        calls: list[int] = []
        ctl = ktask.Ctl(lambda start, end, arg: calls.append(end - start))
        while not stop.is_set():
            calls.clear()
            ktask.run(0, 200, ctl)
            assert sum(calls) == 200
            runs[i] += 1

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(runs))]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            in_child(use_ktask)
        while not all(runs):  # or the test takes too long
            time.sleep(0.001)
        use_ktask()
    finally:
        stop.set()
        for thread in threads:
            thread.join(DEADLINE)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("run", [ktask.run, ktask.ktask_run])
def test_a_fork_inside_a_run(run: Callable[..., object]) -> None:
    """In the child the run cannot go on: its helper, in the middle of a chunk, is in the parent."""
    main = threading.get_ident()
    together = threading.Barrier(2)
    pids: list[int] = []

    def body(start: int, end: int, arg: object) -> None:
        if threading.get_ident() == main:
            pids.append(os.fork())
            if pids == [0]:
                return
        together.wait(DEADLINE)

    try:
        run(0, 2, ktask.Ctl(meeting_of(body), max_threads=2))
    except ktask.ForkedError as error:
        message = str(error)
        in_this_child(lambda: check_child(pids, message))
    if pids == [0]:
        os._exit(2)  # the child, without an exception
    wait_for(pids[0])
    use_ktask()


def test_a_fork_inside_a_run_without_helpers() -> None:
    """Then nothing is missing in the child, and the run goes on in both."""
    pids: list[int] = []
    done: list[int] = []

    def body(start: int, end: int, arg: object) -> None:
        if not pids:
            pids.append(os.fork())
        done.extend(range(start, end))

    ktask.run(0, 100, ktask.Ctl(body, max_threads=1))
    if pids == [0]:
        os._exit(0 if done == list(range(100)) else 1)
    assert done == list(range(100))
    wait_for(pids[0])


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str) -> None:
    use_ktask()
    context = multiprocessing.get_context(method)
    processes = [context.Process(target=use_ktask) for _ in range(2)]  # type: ignore[attr-defined]
    for process in processes:
        process.start()
    for process in processes:
        process.join(DEADLINE)
        if process.exitcode is None:
            process.kill()
            pytest.fail("the process hangs")
        assert process.exitcode == 0
    use_ktask()
