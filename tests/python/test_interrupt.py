# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C stops a run, undoes it, and leaves all in order. In processes of their own, since signals are a process's."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fresh import MANY_HELPERS, fresh
from meeting import meeting_of

import ktask

TIMES = 20
INSTANTS = 500
TOO_LONG = 20.0
"""A run would last for minutes; an interrupt that works takes some milliseconds, unless others have the CPUs."""


def interrupt_when(ready: Callable[[], bool]) -> Callable[[], float]:
    """Sends SIGINT from a thread as soon as ``ready``; the function returned tells when that was."""
    sent: list[float] = []

    def send() -> None:
        while not ready():
            time.sleep(0.0005)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()

    def joined() -> float:
        thread.join()
        return sent[0]

    return joined


def interrupted(run: Callable[[], None], ready: Callable[[], bool]) -> float:
    """How many seconds ``run`` went on after it was interrupted."""
    sent = interrupt_when(ready)
    try:
        run()
    except KeyboardInterrupt:
        end = time.monotonic()
    else:
        raise AssertionError("no KeyboardInterrupt")
    return end - sent()


def works() -> None:
    numbers = [0] * 100

    def body(start: int, end: int, arg: object) -> None:
        for i in range(start, end):
            numbers[i] += 1

    ktask.run(0, 100, ktask.Ctl(body))
    assert numbers == [1] * 100


def repeat(once: Callable[[], float]) -> None:
    longest = 0.0
    for _ in range(TIMES):
        longest = max(longest, once())
        works()
    print(f"at most {longest:.4f} s")
    assert longest < TOO_LONG


def in_python() -> None:
    done: set[int] = set()

    def body(start: int, end: int, arg: object) -> None:
        for i in range(start, end):
            time.sleep(0.001)
            done.add(i)

    def careful(start: int, end: int, arg: object) -> None:
        try:
            body(start, end, arg)
        except BaseException:
            done.difference_update(range(start, end))
            raise

    def undo(start: int, end: int, arg: object) -> None:
        done.difference_update(range(start, end))

    def once() -> float:
        ctl = ktask.Ctl(careful, undo_func=undo)
        seconds = interrupted(lambda: ktask.run(0, 10**6, ctl), lambda: len(done) > 20)
        assert done == set()
        return seconds

    repeat(once)


def in_c(path: str) -> None:
    """Many chunks in C, and nothing of Python's but the poll."""
    library = ctypes.CDLL(path)
    counter = ctypes.c_long(0)

    def once() -> float:
        ctl = ktask.Ctl(library.slow, counter, undo_func=library.slow_undo)
        seconds = interrupted(lambda: ktask.run(0, 10**9, ctl), lambda: counter.value > 20)
        assert counter.value == 0
        return seconds

    repeat(once)


def in_a_compiled_loop() -> None:
    """Only the poll knows Python; what the loop holds of it is given back."""
    import numpy as np

    @ktask.loop(cache=False)
    def spin(i, begun, out):  # type: ignore[no-untyped-def]
        begun[0] = 1
        x = 1.0
        for _ in range(100_000):
            x = 0.5 * x + 1.0
        out[i] = x

    begun, out = np.zeros(1, int), np.zeros(10**6)
    spin(1, begun, out)
    references = sys.getrefcount(out)

    def once() -> float:
        begun[0] = 0
        seconds = interrupted(lambda: spin(10**6, begun, out), lambda: begun[0] == 1)
        assert sys.getrefcount(out) == references
        return seconds

    repeat(once)


def waiting_for_a_helper() -> None:
    """The caller is out of work; the helper's chunk goes on until the interrupt has come."""
    main = threading.get_ident()

    def once() -> float:
        helper_is_here, over = threading.Event(), threading.Event()
        undone: list[tuple[int, int]] = []

        def body(start: int, end: int, arg: object) -> None:
            if threading.get_ident() == main:
                assert helper_is_here.wait(30)
            else:
                helper_is_here.set()
                assert over.wait(30)

        def report(done: int, total: int) -> None:
            """Called while the caller waits, so that the interrupt comes while it does."""
            if done == total and helper_is_here.is_set():
                waiting.set()

        def on_interrupt(number: int, frame: Any) -> None:
            over.set()
            raise KeyboardInterrupt

        waiting = threading.Event()
        signal.signal(signal.SIGINT, on_interrupt)
        ctl = ktask.Ctl(
            meeting_of(body),
            undo_func=lambda start, end, arg: undone.append((start, end)),
            max_threads=2,
            progress=report,
        )
        seconds = interrupted(lambda: ktask.run(0, 2, ctl), waiting.is_set)
        assert sorted(i for start, end in undone for i in range(start, end)) == [0, 1]
        return seconds

    repeat(once)


def at_any_instant() -> None:
    """The signal comes wherever it finds the run, or just before or after it; whatever was done by then is undone.

    The state is checked once no thread of the run is left, so a unit is either done and the run was not interrupted, or
    it is not done.
    """
    random = Random(20181105)
    interrupted, came = 0, False
    state = bytearray(64)

    def body(start: int, end: int, arg: object) -> None:
        try:
            for _ in range(start, end):
                time.sleep(0.00001)
            state[start:end] = b"\1" * (end - start)
        except BaseException:
            state[start:end] = bytes(end - start)
            raise

    def undo(start: int, end: int, arg: object) -> None:
        state[start:end] = b"\0" * (end - start)

    def on_interrupt(number: int, frame: Any) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, on_interrupt)
    ctl = ktask.Ctl(body, undo_func=undo)
    duration = 0.004
    for _ in range(INSTANTS):
        came = ended = False
        state[:] = bytes(len(state))
        begin = time.monotonic()
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, duration))
            ktask.run(0, len(state), ctl)
            ended = True
            duration = 0.9 * duration + 0.1 * 1.2 * (time.monotonic() - begin)
            while not came:
                time.sleep(0.0001)
        except KeyboardInterrupt:
            pass
        # A handler that runs between the run's end and the assignment makes it look interrupted.
        whole = state.count(1) == len(state)
        assert whole if ended else (whole or not any(state)), bytes(state)
        interrupted += not whole
    works()
    print(interrupted)


def before_the_run() -> None:
    """A signal that came while Python could not look is not lost."""
    for _ in range(TIMES):
        calls: list[int] = []

        def body(start: int, end: int, arg: list[int]) -> None:
            if not arg:
                arg.append(start)
                signal.raise_signal(signal.SIGINT)

        try:
            ktask.run(0, 10**6, ktask.Ctl(body, calls, max_threads=1))
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("no KeyboardInterrupt")
        works()


def other_handler() -> None:
    """What a handler of another signal raises stops the run as well; one that raises nothing does not."""

    class AlarmError(Exception):
        pass

    seen: list[int] = []

    def on_alarm(number: int, frame: Any) -> None:
        seen.append(number)
        if len(seen) == 3:
            signal.setitimer(signal.ITIMER_REAL, 0)  # here: another one could come before the run has ended
            raise AlarmError

    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
    try:
        ktask.run(0, 10**9, ktask.Ctl(lambda start, end, arg: time.sleep(0.001)))
    except AlarmError:
        assert len(seen) == 3
    else:
        raise AssertionError("the handler's exception is lost")
    works()


SETTINGS = pytest.mark.parametrize(
    "settings", [{}, MANY_HELPERS, {"KTASK": "off"}], ids=["default", "many helpers", "off"]
)


@SETTINGS
def test_during_python_functions(settings: dict[str, str]) -> None:
    print(fresh(in_python, **settings))


@SETTINGS
def test_during_c_functions(settings: dict[str, str], clib_path: Path) -> None:
    print(fresh(in_c, str(clib_path), **settings))


@SETTINGS
def test_during_a_compiled_loop(settings: dict[str, str]) -> None:
    pytest.importorskip("numba")
    print(fresh(in_a_compiled_loop, **settings))


def test_while_waiting_for_a_helper() -> None:
    print(fresh(waiting_for_a_helper, **MANY_HELPERS))


@SETTINGS
def test_at_any_instant(settings: dict[str, str]) -> None:
    assert int(fresh(at_any_instant, **settings)) > INSTANTS / 20


@SETTINGS
def test_from_within(settings: dict[str, str]) -> None:
    fresh(before_the_run, **settings)


@SETTINGS
def test_other_signals(settings: dict[str, str]) -> None:
    fresh(other_handler, **settings)
