# SPDX-License-Identifier: BSD-3-Clause
"""Real control groups: what a quota or a cpuset leaves is what runs use, and nobody is throttled for their sake."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fresh import fresh

import ktask

PERIOD = 100_000

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")


class Group:
    """A cgroup of its own; version 1 has one for each controller."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.v2 = (self.path / "cgroup.controllers").exists()

    def __repr__(self) -> str:
        return repr(str(self.path))

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def enter(self) -> None:
        self.write("cgroup.procs", str(os.getpid()))

    def set_quota(self, usec: int) -> None:
        if self.v2:
            self.write("cpu.max", f"{usec if usec > 0 else 'max'} {PERIOD}")
        else:
            self.write("cpu.cfs_period_us", str(PERIOD))
            self.write("cpu.cfs_quota_us", str(usec))

    def throttled(self) -> tuple[int, int]:
        """Periods, and those in which somebody had to wait for the next one."""
        stat = dict(line.split() for line in (self.path / "cpu.stat").read_text().splitlines())
        return int(stat["nr_periods"]), int(stat["nr_throttled"])


def hierarchies() -> Iterator[tuple[str, Path]]:
    """Where which controllers are to be had."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind.startswith("cgroup"):
            yield f"{kind},{options}", Path(fields.split(" ")[4])


@contextlib.contextmanager
def new_group(controller: str) -> Iterator[Group]:
    """Made in the topmost group that can be written; skips the test if there is none."""
    if ktask.info()["quota"]:
        pytest.skip("there is a CPU quota for these tests already")
    for options, mount in hierarchies():
        v2 = options.startswith("cgroup2")
        if not v2 and controller not in options.split(","):
            continue
        path = mount / f"ktask-test-{os.getpid()}"
        try:
            if v2:
                (mount / "cgroup.subtree_control").write_text(f"+{controller}")
            path.mkdir()
        except OSError:
            continue
        try:
            yield Group(str(path))
        finally:
            for child in path.glob("*/"):
                child.rmdir()
            path.rmdir()
        return
    pytest.skip(f"no cgroup with the controller {controller} can be made here: needs root, and not in a container")


BLOCK = bytes(1 << 18)


def helpers() -> int:
    """How many are called to a task of some 50 ms; hashing lets go of the GIL."""

    def body(start: int, end: int) -> None:
        for _ in range(start, end):
            hashlib.sha256(BLOCK)

    ktask.parallel_for(body, 100)
    return ktask.last_report().helpers_called


def await_helpers() -> None:
    """Or the test takes too long."""
    while not helpers():
        pass


def await_serial() -> None:
    """Likewise."""
    while helpers():
        pass


def stay_serial_without_being_throttled(group: Group) -> None:
    """For ten periods, after the one in which helpers may have been at work."""
    last = group.throttled()[0] + 2
    while group.throttled()[0] < last:
        assert helpers() == 0
    periods, throttled = group.throttled()
    while group.throttled()[0] < periods + 10:
        assert helpers() == 0
    assert group.throttled()[1] == throttled


def one_and_a_half(path: str) -> None:
    group = Group(path)
    group.set_quota(PERIOD * 3 // 2)
    group.enter()
    stay_serial_without_being_throttled(group)
    info = ktask.info()
    assert not info["enabled"]
    assert info["quota"]["cpus"] == 1.5
    assert info["quota"]["path"].endswith(group.path.name)
    assert group.path.name in info["reason"]


def enough(path: str) -> None:
    group = Group(path)
    group.set_quota(PERIOD * 2)
    group.enter()
    await_helpers()
    assert ktask.info()["enabled"]


def changes(path: str) -> None:
    group = Group(path)
    group.enter()
    await_helpers()
    group.set_quota(PERIOD * 3 // 2)
    await_serial()
    stay_serial_without_being_throttled(group)
    group.set_quota(-1)
    await_helpers()
    group.set_quota(PERIOD)
    ktask.refresh()
    assert helpers() == 0


def above(path: str) -> None:
    """The quota is the parent's, and the process moves in while it runs."""
    group, child = Group(path), Group(f"{path}/child")
    group.set_quota(PERIOD * 3 // 2)
    if group.v2:
        group.write("cgroup.subtree_control", "+cpu")
    await_helpers()
    child.path.mkdir()
    child.enter()
    await_serial()
    assert ktask.info()["quota"]["path"].endswith(group.path.name)
    Group(str(group.path.parent)).enter()
    await_helpers()
    child.path.rmdir()


def confined(path: str) -> None:
    group = Group(path)
    mine = sorted(os.sched_getaffinity(0))
    mems = group.path.parent / ("cpuset.mems.effective" if group.v2 else "cpuset.mems")
    group.write("cpuset.mems", mems.read_text())
    group.write("cpuset.cpus", str(mine[0]))
    group.enter()
    assert helpers() == 0
    assert ktask.info()["allowed_cpus"] == mine[:1]
    assert "one CPU" in ktask.info()["reason"]
    group.write("cpuset.cpus", f"{mine[0]},{mine[1]}")
    await_helpers()
    group.write("cpuset.cpus", str(mine[1]))
    await_serial()


@pytest.mark.parametrize("test", [one_and_a_half, enough, changes, above])
def test_quota(test: Callable[[str], None]) -> None:
    with new_group("cpu") as group:
        fresh(test, str(group.path))


def test_cpuset() -> None:
    with new_group("cpuset") as group:
        fresh(confined, str(group.path))
