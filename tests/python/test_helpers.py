# SPDX-License-Identifier: BSD-3-Clause
"""Helpers are threads that can be told apart, stay where the program may be, and change nothing of their caller."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import pytest
from fresh import MANY_HELPERS, fresh
from meeting import meet

import ktask

NAME = re.compile(r"ktask/\d+\.\d+")


def helpers() -> dict[int, str]:
    """Thread numbers and names of the helpers that are there."""
    names = {}
    for task in Path("/proc/self/task").iterdir():
        name = (task / "comm").read_text().strip()
        if name.startswith("ktask/"):
            names[int(task.name)] = name
    return names


def meet_helper() -> int:
    """The thread number of a helper that has just taken part in a run."""
    others: list[int] = []

    def body(start: int, end: int, arg: object) -> None:
        if threading.get_native_id() != caller:
            others.append(threading.get_native_id())

    caller = threading.get_native_id()
    meet(body)
    (other,) = others
    return other


def test_names() -> None:
    helper = meet_helper()
    names = helpers()
    assert helper in names
    assert all(NAME.fullmatch(name) for name in names.values())
    assert len(set(names.values())) == len(names) <= ktask.info()["helpers"]
    nids = {node["id"] for node in ktask.info()["nodes"]}
    assert {int(name[len("ktask/") :].split(".")[0]) for name in names.values()} <= nids


def test_affinity() -> None:
    helper = meet_helper()
    allowed = os.sched_getaffinity(0)
    assert os.sched_getaffinity(helper) <= allowed
    assert all(os.sched_getaffinity(tid) <= allowed for tid in helpers())


def test_the_caller_is_left_as_it_was() -> None:
    def state() -> tuple[object, ...]:
        return (
            os.sched_getaffinity(0),
            os.getpriority(os.PRIO_PROCESS, threading.get_native_id()),
            os.sched_getscheduler(0),
            signal.pthread_sigmask(signal.SIG_BLOCK, []),
            threading.current_thread().name,
            Path("/proc/self/comm").read_text(),
        )

    before = state()
    for _ in range(20):
        meet_helper()
        assert ktask.ktask_run(0, 100, ktask.Ctl(lambda start, end, arg: 1)) == 1
    assert state() == before


def test_helpers_step_back() -> None:
    helper = meet_helper()
    if ktask.info()["privileged"]:
        while os.getpriority(os.PRIO_PROCESS, helper) != 19:  # it does so when it has left
            pass
    else:
        assert os.sched_getscheduler(helper) == os.SCHED_BATCH


def test_signals_are_not_for_helpers() -> None:
    helper = meet_helper()
    status = Path(f"/proc/self/task/{helper}/status").read_text()
    match = re.search(r"^SigBlk:\s*([0-9a-f]+)", status, re.MULTILINE)
    assert match is not None
    blocked = int(match[1], 16)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGUSR1):
        assert blocked >> (number - 1) & 1
    assert not blocked >> (signal.SIGSEGV - 1) & 1


def narrow() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    meet_helper()
    os.sched_setaffinity(0, {cpus[0]})
    for _ in range(5):
        assert os.sched_getaffinity(meet_helper()) == {cpus[0]}
    os.sched_setaffinity(0, cpus)
    seen = [os.sched_getaffinity(meet_helper()) for _ in range(5)]
    assert any(mask != {cpus[0]} for mask in seen)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_helpers_follow_the_caller_s_affinity() -> None:
    fresh(narrow, **MANY_HELPERS)


def test_helpers_are_parked_between_runs() -> None:
    """They all come to sleep, and use no time then."""
    fresh(parked, **MANY_HELPERS)


def parked() -> None:
    meet_helper()

    def sleeping() -> bool:
        return all(Path(f"/proc/self/task/{t}/stat").read_text().rsplit(")", 1)[1].split()[0] == "S" for t in helpers())

    def used() -> int:
        return sum(int(Path(f"/proc/self/task/{t}/schedstat").read_text().split()[0]) for t in helpers())

    assert helpers()
    for _ in range(1000):  # until they do; a hang would be seen by the test
        threading.Event().wait(0.005)
        before = used()
        threading.Event().wait(0.005)
        if sleeping() and used() == before:
            break
    else:
        raise AssertionError("helpers are busy without a run")
    threading.Event().wait(0.2)
    assert used() == before
