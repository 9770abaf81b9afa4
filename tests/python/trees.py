# SPDX-License-Identifier: BSD-3-Clause
"""Makes files of the machines in tests/trees, where the format is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "trees"
NAMES = sorted(path.stem for path in FOLDER.glob("*.tree"))


@dataclass
class Tree:
    """A machine."""

    cpus: list[int] = field(default_factory=list)
    possible: list[int] = field(default_factory=list)
    cores: list[list[int]] = field(default_factory=list)
    """With the threads that are offline; a core of a single thread need not be there."""
    nodes: dict[int, list[int]] = field(default_factory=dict)
    distances: dict[int, list[int]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def online_cores(self) -> list[list[int]]:
        """All of them, without what is offline."""
        of = {cpu: core for core in self.cores for cpu in core}
        online = set(self.cpus)
        cores = {tuple(sorted(online.intersection(of.get(cpu, [cpu])))) for cpu in self.cpus}
        return sorted(map(list, cores))

    def write(self, root: Path, *, cores: bool = True) -> Path:
        """Makes the files under root, and returns it."""
        of = {cpu: core for core in self.cores for cpu in core}
        node_of = {cpu: nid for nid, cpus in self.nodes.items() for cpu in cpus}
        files = {
            "sys/devices/system/cpu/online": spans(self.cpus),
            "sys/devices/system/cpu/possible": spans(self.possible or self.cpus),
            "sys/devices/system/cpu/present": spans(self.possible or self.cpus),
        }
        for cpu in self.cpus if cores else ():
            core = sorted(set(of.get(cpu, [cpu])).intersection(self.cpus))
            folder = f"sys/devices/system/cpu/cpu{cpu}/topology"
            files[f"{folder}/core_cpus_list"] = files[f"{folder}/thread_siblings_list"] = spans(core)
            files[f"{folder}/core_cpus"] = files[f"{folder}/thread_siblings"] = mask(core)
            files[f"{folder}/core_id"] = str(core[0])
            files[f"{folder}/physical_package_id"] = str(node_of.get(cpu, 0))
            package = self.nodes[node_of[cpu]] if cpu in node_of else self.cpus
            files[f"{folder}/core_siblings"] = files[f"{folder}/package_cpus"] = mask(package)
        if self.nodes:
            files["sys/devices/system/node/online"] = spans(list(self.nodes))
        for nid, cpus in self.nodes.items():
            folder = f"sys/devices/system/node/node{nid}"
            files[f"{folder}/cpulist"] = spans(cpus)
            files[f"{folder}/cpumap"] = mask(cpus)
            files[f"{folder}/distance"] = " ".join(map(str, self.distances[nid]))
            files[f"{folder}/meminfo"] = f"Node {nid} MemTotal: 1048576 kB"
        for name, text in (files | self.files).items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return root


def read(name: str) -> Tree:
    """The machine of that name."""
    tree = Tree()
    for line in (FOLDER / f"{name}.tree").read_text().splitlines():
        match line.split():
            case [] | ["#", *_]:
                pass
            case ["cpus", cpus]:
                tree.cpus = numbers(cpus)
            case ["possible", cpus]:
                tree.possible = numbers(cpus)
            case ["siblings", "next", n, cpus]:
                size, those = int(n), numbers(cpus)
                tree.cores += [those[i : i + size] for i in range(0, len(those), size)]
            case ["siblings", "apart", n, cpus]:
                tree.cores += [[cpu, cpu + int(n)] for cpu in numbers(cpus)]
            case ["node", nid, cpus, *distances]:
                tree.nodes[int(nid)] = [] if cpus == "-" else numbers(cpus)
                tree.distances[int(nid)] = list(map(int, distances))
            case ["file", path, *_]:
                text = line.split(maxsplit=2)[2]
                tree.files[path] = text.replace("\\n", "\n").replace("\\t", "\t")
            case _:
                raise ValueError(f"{name}.tree: what is {line!r}?")
    return tree


def numbers(text: str) -> list[int]:
    """Of a list such as 0-3,8."""
    result: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        result += range(int(first), int(last or first) + 1)
    return result


def spans(values: list[int]) -> str:
    """The other way round. Every second number makes the longest text."""
    parts: list[list[int]] = []
    for n in sorted(values):
        if parts and n == parts[-1][-1] + 1:
            parts[-1][1:] = [n]
        else:
            parts.append([n])
    return ",".join("-".join(map(str, part)) for part in parts)


def mask(values: list[int]) -> str:
    """As a map such as ff,00000001."""
    digits = f"{sum(1 << n for n in values):x}"
    digits = digits.zfill(-(-len(digits) // 8) * 8)
    return ",".join(digits[i : i + 8] for i in range(0, len(digits), 8))
