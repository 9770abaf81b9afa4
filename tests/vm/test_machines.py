# SPDX-License-Identifier: BSD-3-Clause
"""ktask on machines with several NUMA nodes, checked by what their kernel says: make test-vm."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import vm
from vm import Node

CGROUPS = """
cgroup=/sys/fs/cgroup/job
echo "+cpu +cpuset" >/sys/fs/cgroup/cgroup.subtree_control
mkdir $cgroup
chmod 1777 /tmp
inside() { sh -c "echo \\$\\$ >$cgroup/cgroup.procs; exec $*"; }

# On one node, as an unprivileged user; then the cgroup moves to other CPUs while the process runs.
echo 2-3 >$cgroup/cpuset.cpus
echo 1 >$cgroup/cpuset.mems
(
	while [ ! -e /tmp/move ]; do sleep 0.1; done
	echo 0-1,4 >$cgroup/cpuset.cpus
) &
inside confined 1000 2-3 1 2 /tmp/move 0-1,4

# On two nodes, with the time of half a CPU, of one, and of three.
echo 4-7 >$cgroup/cpuset.cpus
echo 2-3 >$cgroup/cpuset.mems
for quota in "50000 1" "100000 1" "300000 3"; do
	set -- $quota
	echo "$1 100000" >$cgroup/cpu.max
	inside confined 1000 4-7 2-3 $2
done

# Processes share the time of three CPUs: a caller that calls helpers, and two of these.
echo 0-7 >$cgroup/cpuset.cpus
inside shared_quota 2
"""


def ring(n: int) -> list[list[int]]:
    """Distances of n nodes on a ring: 10, and 10 more for each hop."""
    return [[10 + 10 * min((a - b) % n, (b - a) % n) for b in range(n)] for a in range(n)]


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    """The programs, by name, compiled for the guest; skips where there is no emulator or no kernel for it."""
    for tool in (vm.QEMU, "busybox"):
        if not shutil.which(tool):
            pytest.skip(f"no virtual machine: {tool} is not installed (Debian: qemu-system-x86, busybox-static)")
    try:
        vm.kernel()
    except vm.MissingError as error:
        pytest.skip(f"no virtual machine: {error}")
    subprocess.run(["make", "-s", "-C", vm.HERE], check=True)
    return {source.stem: vm.BUILD / source.stem for source in vm.HERE.glob("*.c")}


def shares(output: str) -> dict[str, float]:
    """The local share of the bytes, by placement: what the program ``placement`` printed."""
    lines = re.findall(r"^(.*) bytes (\d+) local (\d+) ", output, re.MULTILINE)
    return {name: int(local) / int(total) for name, total, local in lines}


def test_two_nodes_with_cpus_coming_and_going(programs: dict[str, Path]) -> None:
    output = vm.run([Node(2), Node(2)], "resource_limits; placement; hotplug", programs)
    assert shares(output)["spread"] >= 0.95


def test_four_nodes_on_a_ring_and_confined(programs: dict[str, Path]) -> None:
    output = vm.run([Node(2)] * 4, f"resource_limits; placement; {CGROUPS}", programs, distances=ring(4))
    assert shares(output)["spread"] >= 0.95


def test_arrays_of_python(programs: dict[str, Path]) -> None:
    """NumPy's, on four nodes, with all that this interpreter has loaded for it."""
    files = vm.python(vm.HERE / "arrays.py")
    vm.run([Node(2, 256)] * 4, "KTASK_WAKE_NS=0 /python", {}, distances=ring(4), files=files)


def test_uneven_nodes_some_without_memory_or_cpus(programs: dict[str, Path]) -> None:
    """A large one, one of a single CPU, one without memory, one without CPUs."""
    nodes = [Node(4, 128), Node(1, 64), Node(2, 0), Node(0, 128)]
    distances = [[10, 20, 30, 40], [20, 10, 15, 25], [30, 15, 10, 35], [40, 25, 35, 10]]
    vm.run(nodes, "resource_limits; placement", programs, distances=distances)


def test_a_script_that_hangs_is_told_of(programs: dict[str, Path]) -> None:
    with pytest.raises(AssertionError, match=r"sleep of sleep 1000 \n(.*\n)*.*nanosleep(.*\n)*out of patience"):
        vm.run([Node(1)], "sleep 1000", programs, patience=1)


def test_a_machine_that_does_not_come_up_is_started_anew(
    programs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(vm, "UP_SECONDS", 0.5)
    assert vm.boot(["sleep", "1000"], tmp_path / "output", 0) == ""
    starts = iter(["", "", f"{vm.UP}done\nexit status 0\n", *[""] * vm.STARTS])
    monkeypatch.setattr(vm, "boot", lambda *_: next(starts))
    assert vm.run([Node(1)], "echo done", programs) == "done\n"
    with pytest.raises(AssertionError, match="console"):
        vm.run([Node(1)], "echo done", programs)


def test_sixteen_nodes(programs: dict[str, Path]) -> None:
    nodes = [Node(4, 192), *[Node(4, 96)] * 15]  # the kernel lies on the first one
    output = vm.run(nodes, "resource_limits; placement", programs, distances=ring(16))
    assert shares(output)["spread"] >= 0.95
