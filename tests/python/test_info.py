# SPDX-License-Identifier: BSD-3-Clause
"""info() tells what ktask sees, and settings in the environment change what it does."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest
from fresh import fresh
from meeting import meet

import ktask

KEYS = {
    "version",
    "enabled",
    "reason",
    "capped",
    "cores",
    "quota",
    "power",
    "nodes",
    "cpus",
    "allowed_cpus",
    "helpers",
    "max_helpers",
    "running_helpers",
    "table",
    "privileged",
    "retreats",
    "pause_ns",
    "wake_ns",
    "answer_ns",
    "physical_cores",
    "load",
    "memory_bytes",
    "nice",
    "environment",
}


def test_keys_and_json() -> None:
    info = ktask.info()
    assert info.keys() >= KEYS
    assert json.loads(json.dumps(info)) == info


def test_what_it_tells_is_so() -> None:
    info = ktask.info()
    assert info["version"] == ktask.__version__
    assert set(info["allowed_cpus"]) == os.sched_getaffinity(0)
    assert set(info["allowed_cpus"]) <= set(info["cpus"])
    assert sorted(cpu for node in info["nodes"] for cpu in node["cpus"]) == info["cpus"]
    assert all(node["distances"].keys() == {str(n["id"]) for n in info["nodes"]} for node in info["nodes"])
    assert info["nice"] == os.getpriority(os.PRIO_PROCESS, 0)
    assert info["helpers"] == info["max_helpers"] == 7
    assert info["environment"]["KTASK_HELPERS"] == "7"
    assert info["enabled"] is True
    assert info["reason"] is None


def told_before_the_first_run(reason: str) -> None:
    table = ktask.info()["table"]
    assert table["joined"] is False
    assert reason in table["reason"]


def test_a_table_that_cannot_be_used_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    fresh(told_before_the_first_run, "Too many levels of symbolic links", KTASK_TABLE=str(tmp_path / "link"))
    fresh(told_before_the_first_run, "KTASK_TABLE=off", KTASK_TABLE="off")
    fresh(told_before_the_first_run, "KTASK_HELPERS", KTASK_TABLE=str(tmp_path / "none"), KTASK_HELPERS="1")


def test_running_helpers_are_counted() -> None:
    seen: list[int] = []
    main, together = threading.get_ident(), threading.Barrier(2)

    def body(start: int, end: int, arg: object) -> None:
        if threading.get_ident() == main:
            seen.append(ktask.info()["running_helpers"])
        together.wait(60)

    meet(body)
    assert seen == [1]
    while ktask.info()["running_helpers"]:  # one may wait awake for the next run
        time.sleep(0)


def serial(reason: str) -> None:
    info = ktask.info()
    assert info["enabled"] is False
    assert reason in info["reason"]
    all_on_this_thread()


def all_on_this_thread() -> None:
    """A run that has many helpers elsewhere."""
    threads: set[int] = set()
    numbers = [0] * 1000

    def body(start: int, end: int, arg: object) -> None:
        threads.add(threading.get_ident())
        for i in range(start, end):
            numbers[i] += 1

    ktask.run(0, 1000, ktask.Ctl(body))
    assert numbers == [1] * 1000
    assert threads == {threading.get_ident()}
    assert ktask.last_report().threads == 1
    undone: list[tuple[int, int]] = []
    ctl = ktask.Ctl(lambda start, end, arg: start >= 10, undo_func=lambda start, end, arg: undone.append((start, end)))
    assert ktask.ktask_run_numa([ktask.Node(0, 10), ktask.Node(10, 10)], ctl) == 1
    assert sorted(i for start, end in undone for i in range(start, end)) == list(range(10))


def one_cpu() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    serial("one CPU")


def default_settings() -> None:
    info = ktask.info()
    assert info["environment"] == {"KTASK_RETREAT": "off", "KTASK_TABLE": "off"}
    cpus = len(os.sched_getaffinity(0))
    if not info["quota"] and not info["power"]["saves"]:
        assert info["max_helpers"] == cpus - 1
    if info["max_helpers"] == 0:
        return
    assert info["enabled"]
    meet()
    assert ktask.last_report().threads == 2


def no_thread_before_it_is_needed() -> None:
    before = len(os.listdir("/proc/self/task"))
    ktask.run(0, 0, ktask.Ctl(print))
    assert len(os.listdir("/proc/self/task")) == before
    ktask.init()
    ktask.init()
    assert len(os.listdir("/proc/self/task")) > before


def test_ktask_off() -> None:
    fresh(serial, "KTASK=off", KTASK="off")
    fresh(serial, "KTASK=off", KTASK="off", KTASK_HELPERS="7")


def test_no_helpers() -> None:
    fresh(serial, "KTASK_HELPERS=0", KTASK_HELPERS="0")


def test_one_cpu_only() -> None:
    fresh(one_cpu)


def test_default_settings() -> None:
    fresh(default_settings)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_no_thread_before_it_is_needed() -> None:
    fresh(no_thread_before_it_is_needed)


def two_nodes() -> None:
    info = ktask.info()
    assert [node["id"] for node in info["nodes"]] == [0, 3]
    assert info["nodes"][0]["distances"] == {"0": 10, "3": 21}
    calls: list[tuple[int, int]] = []
    trace = ktask.Trace()
    nodes = [ktask.Node(0, 100, 3), ktask.Node(100, 100, 0), ktask.Node(200, 100)]
    ktask.run_numa(nodes, ktask.Ctl(lambda start, end, arg: calls.append((start, end)), trace=trace))
    assert sorted(i for start, end in calls for i in range(start, end)) == list(range(300))
    assert all(start // 100 == (end - 1) // 100 for start, end in calls)
    assert {e.nid for e in trace.events} == {0, 3, -1}
    assert all(e.nid == nodes[e.start // 100].nid for e in trace.events)
    for nid in (1, 2, 4):
        with pytest.raises(ValueError, match=f"nid is {nid}"):
            ktask.run_numa([ktask.Node(0, 1, nid)], ktask.Ctl(print))


def made_up_nodes(tmp_path: Path) -> Path:
    """A machine that there is not: ktask reads of it where it would read of this one."""
    root = tmp_path / "sys/devices/system/node"
    cpus = sorted(os.sched_getaffinity(0))
    half = max(len(cpus) // 2, 1)
    files = {
        "online": "0,3",
        "node0/cpulist": ",".join(map(str, cpus[:half])),
        "node0/distance": "10 21",
        "node3/cpulist": ",".join(map(str, cpus[half:] or [cpus[-1] + 1])),
        "node3/distance": "21 10",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return tmp_path


def test_several_nodes(tmp_path: Path) -> None:
    fresh(two_nodes, KTASK_FSROOT=str(made_up_nodes(tmp_path)), KTASK_HELPERS="6", KTASK_WAKE_NS="0")


def draws_nodes(file: str) -> None:
    from xml.etree import ElementTree

    from ktask.__main__ import main

    assert main(["info", "--svg", file]) == 0
    texts = [element.text for element in ElementTree.parse(file).iter("{http://www.w3.org/2000/svg}text")]
    info = ktask.info()
    assert {f"node {node['id']}" for node in info["nodes"]} <= set(texts)
    assert {str(cpu) for cpu in info["cpus"]} <= set(texts)
    assert {"10", "21"} <= set(texts)
    assert main(["info", "--svg", "/no/such/place"]) == 2


def test_a_picture_of_the_nodes(tmp_path: Path) -> None:
    fresh(draws_nodes, str(tmp_path / "nodes.svg"), KTASK_FSROOT=str(made_up_nodes(tmp_path)))
