# SPDX-License-Identifier: BSD-3-Clause
"""What ktask reads of machines other than this one, and whether hwloc reads the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import trees
from fresh import fresh
from trees import Tree

import ktask

LSTOPO = shutil.which("lstopo-no-graphics") or shutil.which("lstopo")


def run_info(root: Path, *options: str, **environment: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KTASK")}
    return subprocess.run(
        [sys.executable, "-m", "ktask", "info", *options],
        env=environ | environment | {"KTASK_FSROOT": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def info(root: Path, **environment: str) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(run_info(root, "--json", **environment))
    return described


def check(tree: Tree, described: dict[str, Any]) -> None:
    assert described["cpus"] == tree.cpus
    assert described["cores"] == tree.online_cores()
    assert described["physical_cores"] == len(tree.online_cores())
    nodes = tree.nodes or {0: tree.cpus}
    distances = tree.distances or {0: [10]}
    assert described["nodes"] == [
        {"id": nid, "cpus": cpus, "distances": dict(zip(map(str, nodes), distances[nid], strict=True))}
        for nid, cpus in nodes.items()
    ]


@pytest.mark.parametrize("name", trees.NAMES)
def test_recorded_machine(name: str, tmp_path: Path) -> None:
    tree = trees.read(name)
    check(tree, info(tree.write(tmp_path)))
    assert "NUMA node" in run_info(tmp_path)


def run_on_all_nodes(times: int = 20) -> None:
    nids = [node["id"] for node in ktask.info()["nodes"]]
    done = [0] * 100 * len(nids)

    def body(start: int, end: int, _: object) -> None:
        for i in range(start, end):
            done[i] += 1

    for _ in range(times):
        ktask.run_numa([ktask.Node(100 * i, 100, nid) for i, nid in enumerate(nids)], ktask.Ctl(body))
    assert done == [times] * len(done)


@pytest.mark.parametrize("name", trees.NAMES)
def test_runs_as_if_there(name: str, tmp_path: Path) -> None:
    """With this machine's CPUs, most of which that one has on a node or two."""
    root = str(trees.read(name).write(tmp_path))
    fresh(run_on_all_nodes, KTASK_FSROOT=root, KTASK_WAKE_NS="0", KTASK_POWER="ignore")
    fresh(run_on_all_nodes, KTASK_FSROOT=root, KTASK_WAKE_NS="0", KTASK_HELPERS="7")


@pytest.mark.skipif(not LSTOPO, reason="hwloc (lstopo) is not installed")
@pytest.mark.parametrize("name", trees.NAMES)
def test_same_as_hwloc(name: str, tmp_path: Path) -> None:
    assert LSTOPO
    tree = trees.read(name).write(tmp_path)
    described = info(tree)
    xml = subprocess.run(
        [LSTOPO, "--of", "xml"],
        env=os.environ | {"HWLOC_FSROOT": str(tree), "HWLOC_COMPONENTS": "linux,stop"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    topology = ElementTree.fromstring(xml)
    objects = topology.findall(".//object")
    assert described["cpus"] == sorted(int(o.attrib["os_index"]) for o in objects if o.get("type") == "PU")
    assert described["cores"] == sorted(bits(o.attrib["complete_cpuset"]) for o in objects if o.get("type") == "Core")
    nodes = {int(o.attrib["os_index"]): bits(o.attrib["cpuset"]) for o in objects if o.get("type") == "NUMANode"}
    assert [n["id"] for n in described["nodes"]] == sorted(nodes)
    for node in described["nodes"]:  # of memory only, hwloc says which CPUs are near
        assert node["cpus"] in ([], nodes[node["id"]])
    for matrix in topology.findall("./distances2"):
        indexes = [int(i) for e in matrix.findall("indexes") for i in (e.text or "").split()]
        values = [int(i) for e in matrix.findall("u64values") for i in (e.text or "").split()]
        assert [
            described_node["distances"][str(to)]
            for nid in indexes
            for described_node in described["nodes"]
            if described_node["id"] == nid
            for to in indexes
        ] == values


def bits(text: str) -> list[int]:
    """hwloc's 0x000000ff,,0x00000001; an empty word is 0."""
    value = 0
    for word in text.split(","):
        value = value << 32 | (int(word, 16) if word else 0)
    return [i for i in range(value.bit_length()) if value >> i & 1]


@pytest.mark.parametrize(("nodes", "cpus"), [(1024, 8), (16, 512), (1, 8192)])
def test_largest_machines(nodes: int, cpus: int, tmp_path: Path) -> None:
    """CPUs are dealt out to the nodes in turns, so that no two numbers in a row are on the same node."""
    tree = Tree(cpus=list(range(nodes * cpus)))
    for nid in range(nodes):
        tree.nodes[nid] = tree.cpus[nid::nodes]
        tree.distances[nid] = [10 if to == nid else 20 + abs(to - nid) % 200 for to in range(nodes)]
    tree.write(tmp_path, cores=False)
    check(tree, info(tmp_path))
    fresh(run_on_all_nodes, 3, KTASK_FSROOT=str(tmp_path), KTASK_WAKE_NS="0")


def test_old_or_poor_machines(tmp_path: Path) -> None:
    """Where lists are missing, maps and folders tell; and CPUs that are offline are nobody's."""
    node = tmp_path / "sys/devices/system/node"
    cpu = tmp_path / "sys/devices/system/cpu"
    for nid, cpus in ((1, "0,00000003"), (5, "c0000000,00000004")):
        (node / f"node{nid}").mkdir(parents=True)
        (node / f"node{nid}/cpumap").write_text(cpus + "\n")
    for n in (0, 1, 2, 62, 63):
        (cpu / f"cpu{n}").mkdir(parents=True)
        (cpu / f"cpu{n}/online").write_text("0\n" if n == 62 else "1\n")
    described = info(tmp_path)
    assert described["cpus"] == [0, 1, 2, 63]
    assert described["nodes"] == [
        {"id": 1, "cpus": [0, 1], "distances": {"1": 10, "5": 20}},
        {"id": 5, "cpus": [2, 63], "distances": {"1": 20, "5": 10}},
    ]


def test_cpus_without_a_node(tmp_path: Path) -> None:
    tree = Tree(cpus=list(range(4)), nodes={0: [], 1: [1], 2: [2]}, distances={n: [10, 20, 30] for n in range(3)})
    tree.write(tmp_path)
    described = info(tmp_path)
    assert described["cpus"] == [0, 1, 2, 3]
    assert [node["cpus"] for node in described["nodes"]] == [[], [0, 1, 3], [2]]


def test_quota_of_the_container(tmp_path: Path) -> None:
    described = info(trees.read("container").write(tmp_path))
    assert described["allowed_cpus"] == list(range(4, 12))
    assert described["quota"] == {"cpus": 2.5, "path": "/sys/fs/cgroup/cpu,cpuacct"}
    assert described["helpers"] == 31
    assert described["max_helpers"] == 1
    assert "2.5 CPUs" in described["capped"]
    text = run_info(tmp_path)
    assert "up to 1 helper" in text
    assert "2.5 CPUs" in text


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("laptop-hybrid", "platform profile low-power"),
        ("ampere-128", "governor conservative"),
        ("epyc-4-nodes", None),
        ("server-2-sockets", None),
        ("vm-1-node", None),
    ],
)
def test_power(name: str, reason: str | None, tmp_path: Path) -> None:
    tree = trees.read(name)
    described = info(tree.write(tmp_path))
    assert described["enabled"] is (reason is None)
    assert described["power"]["saves"] is (reason is not None)
    assert described["max_helpers"] == (len(tree.cpus) - 1 if reason is None else 0)
    assert described["capped"] is None
    if reason is None:
        assert described["reason"] is None
        return
    assert reason in described["reason"]
    assert f"({reason})" in run_info(tmp_path)
    described = info(tmp_path, KTASK_POWER="ignore")
    assert described["enabled"]
    assert described["max_helpers"] == len(tree.cpus) - 1
    assert "KTASK_POWER" in run_info(tmp_path, KTASK_POWER="ignore")
