# SPDX-License-Identifier: BSD-3-Clause
"""The interpreter ends, or is one of several, while ktask is at work: nothing hangs or crashes, and nothing is lost."""

from __future__ import annotations

import atexit
import importlib
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fresh import MANY_HELPERS, fresh
from meeting import meet, meeting_of

import ktask


def pause(start: int, end: int, arg: object) -> None:
    """A body that lets others have the GIL, so that helpers come."""
    time.sleep(0.0002)


def run_some() -> None:
    numbers = [0] * 200

    def body(start: int, end: int, arg: object) -> None:
        pause(start, end, arg)
        for i in range(start, end):
            numbers[i] += 1

    for _ in range(5):
        ktask.run(0, len(numbers), ktask.Ctl(body))
    assert numbers == [5] * len(numbers)


class RunsAtTheEnd:
    """Goes when the interpreter does, since the table of modules holds it; a function's names may be gone by then."""

    def __init__(self) -> None:
        self.run_some = run_some

    def __del__(self) -> None:
        self.run_some()
        os.write(1, b"finalizing" if sys.is_finalizing() else b"not yet")


def run_while_finalizing() -> None:
    meet()
    modules: dict[str, Any] = sys.modules
    modules["runs_at_the_end"] = RunsAtTheEnd()


def run_at_exit() -> None:
    atexit.register(run_some)
    atexit.register(meet)


def leave_daemons_behind() -> None:
    """They are somewhere in their runs, and so are their helpers, when the main thread ends."""
    runs = [0] * 3

    def keep_running(i: int) -> None:
        while True:
            ktask.run(0, 200, ktask.Ctl(pause))
            runs[i] += 1

    for i in range(len(runs)):
        threading.Thread(target=keep_running, args=(i,), daemon=True).start()
    while not all(runs):
        time.sleep(0.001)


def exit_from_a_helper() -> None:
    """``sys.exit`` comes out of the run, in the thread that called it."""
    main = threading.get_ident()

    def body(start: int, end: int, arg: object) -> None:
        if threading.get_ident() != main:
            sys.exit(7)

    with pytest.raises(SystemExit) as raised:
        ktask.run(0, 2, ktask.Ctl(meeting_of(body), max_threads=2))
    assert raised.value.code == 7
    run_some()


def spawn_from_a_helper() -> None:
    """A process that a helper starts is like any other."""

    def body(start: int, end: int, arg: object) -> None:
        process = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True, check=True)
        assert process.stdout == "42\n"

    meet(body)
    pids = []

    def spawn(start: int, end: int, arg: object) -> None:
        pids.append(os.posix_spawn(sys.executable, [sys.executable, "-c", ""], dict(os.environ)))

    meet(spawn)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]


def replace_the_process() -> None:
    """``exec`` from the middle of a run ends all threads."""

    def body(start: int, end: int, arg: object) -> None:
        if start == 1:
            os.execv(sys.executable, [sys.executable, "-c", "print('replaced')"])
        time.sleep(60)

    ktask.run(0, 2, ktask.Ctl(meeting_of(body), max_threads=2))


SUBINTERPRETER = """
    import sys
    sys.path.insert(0, {path!r})
    import ktask
    from test_exit import run_some
    run_some()
    def fail(start, end, arg):
        raise LookupError(start)
    try:
        ktask.run(0, 1000, ktask.Ctl(fail))
    except LookupError as e:
        assert 0 <= e.args[0] < 1000
    else:
        raise AssertionError("no LookupError")
    """


def run_in_subinterpreters() -> None:
    interpreters = importlib.import_module("_xxsubinterpreters")
    code = textwrap.dedent(SUBINTERPRETER.format(path=str(Path(__file__).parent)))
    run_some()
    for _ in range(3):
        one = interpreters.create()
        interpreters.run_string(one, code)
        run_some()
        interpreters.destroy(one)
    run_some()
    print("all")


def test_a_run_while_the_interpreter_ends() -> None:
    """Helpers would wait for the GIL for ever, and the caller for them."""
    for _ in range(5):
        assert fresh(run_while_finalizing, **MANY_HELPERS) == "finalizing"


def test_a_run_at_exit() -> None:
    fresh(run_at_exit, **MANY_HELPERS)


def test_daemon_threads_in_the_middle_of_runs() -> None:
    for _ in range(5):
        fresh(leave_daemons_behind, **MANY_HELPERS)


def test_exit_in_a_thread_function() -> None:
    fresh(exit_from_a_helper, **MANY_HELPERS)


def test_processes_started_in_a_thread_function() -> None:
    fresh(spawn_from_a_helper, **MANY_HELPERS)


def test_exec_in_a_thread_function() -> None:
    assert fresh(replace_the_process, **MANY_HELPERS) == "replaced\n"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="later ones refuse extension modules that share state")
def test_subinterpreters() -> None:
    assert fresh(run_in_subinterpreters, **MANY_HELPERS) == "all\n"
