# SPDX-License-Identifier: BSD-3-Clause
"""Measures ktask beside its peers: python bench/run.py [--quick] [--only SUITE]... [--into FOLDER].

Each library runs in processes of its own, since one whose threads spin would slow down the next, and in rounds: every
one is measured in every round, in another order each time. Within a process, serial and parallel calls take turns.
All raw figures go to bench/results/, and from there into the tables and plots of docs/ and README.md (report.py).
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import plots
import report
from figures import Row, alike, row_of
from peers import BUILD, HERE, PEERS, PLAIN, build, build_common, build_plain, start

PYTHON_PEERS = {  # and what each is installed as
    "ktask": "ktask",
    "numba prange": "numba",
    "ThreadPoolExecutor": "",
    "joblib threads": "joblib",
    "numexpr": "numexpr",
}
LOOP_PEERS = {"ktask": "numba", "prange, OpenMP": "numba", "prange, workqueue": "numba"}
UFUNC_PEERS = {"ktask": "ktask", "numexpr": "numexpr", "numba prange": "numba", "NumPy on each CPU": "numpy"}
PYTHON = {"calls": PYTHON_PEERS, "loop": LOOP_PEERS, "numpy_ufuncs": UFUNC_PEERS}
"""Programs in Python, and whom they measure."""

SECONDS = 120
"""A library that takes longer for one round hangs."""

TRIES = 4
"""How often a process is started anew because the machine was not what it should be."""

LACKING = {"one", "mixed"}
"""States of the host (host.cpp) in which no figures are taken, if it can be helped."""

STRANGERS = 0.1
"""CPUs that may be in use by others while figures are taken that are kept."""


@dataclass(frozen=True)
class Suite:
    """What is measured together: one program, with what it is told besides the round and the scale."""

    program: str
    arguments: tuple[int, ...] = ()
    rounds: int = 5
    plain: bool = False
    """Is plain code measured as well?"""

    def start(self, peer: str, round_: int, scale: float) -> subprocess.Popen[str]:
        """Starts one round of one peer."""
        if self.program in PYTHON:
            command = [sys.executable, str(HERE / f"{self.program}.py"), peer, str(round_), str(scale)]
            return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        program = build(self.program, peer)
        assert program
        return start(program, peer, round_, scale, *self.arguments)

    def peers(self) -> tuple[list[str], list[str]]:
        """Those that the machine has, and what is missing."""
        if self.program in PYTHON:
            build_common()
            packages = PYTHON[self.program]
            has = {peer: installed(peer, package) for peer, package in packages.items()}
            return [p for p in has if has[p]], [f"{p} (pip: {packages[p]})" for p in has if not has[p]]
        build_common()
        peers = [peer for peer in PEERS if self.plain or peer != PLAIN]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            programs = dict(zip(peers, pool.map(lambda peer: build(self.program, peer), peers), strict=True))
        return [p for p in peers if programs[p]], [f"{p} ({PEERS[p].package})" for p in peers if not programs[p]]


SUITES = {
    "hot": Suite("short", (0, 0, 1, 2, 5, 10, 20, 50, 100, 200, 1000), 7),
    "apart": Suite("short", (1000, 0, 1, 20, 50, 100, 200, 500, 1000), 5, plain=True),
    "long": Suite("long", rounds=3),
    "memory": Suite("memory", rounds=3),
    "python": Suite("calls", rounds=5),
    "loop": Suite("loop", rounds=3),
    "ufuncs": Suite("numpy_ufuncs", rounds=3),
}


def installed(peer: str, package: str) -> bool:
    """Can this Python import it?"""
    module = "concurrent.futures" if peer == "ThreadPoolExecutor" else package
    return subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


def cpu_seconds_of_others() -> float:
    """CPU time used since the machine started, but for ours; what a hypervisor took counts as well."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, first_line_of("/proc/stat").split()[1:])
    ours = os.times()
    total = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return total - (ours.user + ours.system + ours.children_user + ours.children_system)


class Watch:
    """How many CPUs were in others' use since it was made."""

    def __init__(self) -> None:
        self.begin, self.used = time.monotonic(), cpu_seconds_of_others()

    def cpus(self) -> float:
        """On average."""
        return (cpu_seconds_of_others() - self.used) / (time.monotonic() - self.begin)


def host() -> str:
    """How the CPUs are to each other at this moment."""
    done = subprocess.run([build_plain("host")], stdout=subprocess.PIPE, text=True, check=True, timeout=SECONDS)
    return done.stdout.strip()


def measure_once(suite: Suite, peer: str, round_: int, scale: float) -> list[Row]:
    """One process of one peer."""
    before = host()
    process = suite.start(peer, round_, scale)
    try:
        out, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
    if process.returncode:
        print(f"{peer} ended with {process.returncode} in round {round_}", flush=True)
    state = before if host() == before else "mixed"
    rows = [line.split() for line in out.splitlines()]
    return [row_of(round_, peer, workload, figures, state) for workload, *figures in rows]


def measure(suite: Suite, peers: list[str], rounds: int, scale: float, tries: int) -> list[Row]:
    """All rounds of all peers; again, up to so many times, those for which the host had one CPU only."""
    rows: list[Row] = []
    for round_ in range(rounds):
        turn = round_ % len(peers)
        order = peers[turn:] + peers[:turn]
        for peer in order if round_ % 2 == 0 else order[::-1]:
            for _ in range(tries):
                new = measure_once(suite, peer, round_, scale)
                if not {row.host for row in new} & LACKING:
                    break
            rows += new
    return rows


def measure_all(names: list[str], results: Path, rounds: int | None, scale: float, strict: bool) -> None:
    """Measures these suites, keeps the figures and shows them. `strict`: figures of a busy machine are not kept."""
    for name in names:
        suite = SUITES[name]
        peers, missing = suite.peers()
        print(f"\n=== {name}" + (f"; missing: {', '.join(missing)}" if missing else ""), flush=True)
        watch = Watch()
        if strict:
            time.sleep(1)
            refuse_if_busy(watch)
        tries = TRIES if strict and len(os.sched_getaffinity(0)) > 1 else 1
        rows = measure(suite, peers, rounds or suite.rounds, scale, tries)
        print(
            f"{report.tables(name, alike(rows))}\n\nmeanwhile others used {max(0.0, watch.cpus()):.2f} CPUs", flush=True
        )
        print(f"how the CPUs were to each other, by processes: {report.hosts_in_words(rows)}", flush=True)
        if strict:
            refuse_if_busy(watch)
        with (results / f"{name}.csv").open("w", newline="") as f:
            writer = csv.writer(f, lineterminator="\n")
            writer.writerow(Row._fields)
            writer.writerows([f"{x:.10g}" if isinstance(x, float) else x for x in row] for row in rows)


def refuse_if_busy(watch: Watch) -> None:
    """Ends the program if others used the machine."""
    if watch.cpus() > STRANGERS:
        raise SystemExit(
            f"the machine is not idle: others use {watch.cpus():.2f} CPUs, more than {STRANGERS}. "
            "Nothing is kept of this; try again when it is idle, or use --anyway"
        )


def first_line_of(file: str) -> str:
    """The first line of a file."""
    return Path(file).read_text(encoding="utf-8").partition("\n")[0]


def first_line(*command: str) -> str:
    """What a command says first, if it is there."""
    try:
        out = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""
    return out.partition("\n")[0].strip()


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    cpuinfo = dict(
        [part.strip() for part in line.split(":", 1)]
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if ":" in line
    )
    packages = ("libomp-dev", "libtbb-dev", "libpthreadpool-dev")
    facts = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "CPU": f"{len(os.sched_getaffinity(0))} of {cpuinfo.get('model name', platform.machine())}",
        "machine": first_line("systemd-detect-virt", "--vm") or ("virtual" if "hypervisor" in str(cpuinfo) else ""),
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "g++": first_line("g++", "-dumpfullversion"),
        "clang++": first_line("clang++", "-dumpversion"),
        **{name: first_line("dpkg-query", "-W", "-f", "${Version}", name) for name in packages},
        "Python": platform.python_version(),
    }
    for name in ("numpy", "numba", "joblib", "numexpr"):
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {name: fact for name, fact in facts.items() if fact}


def main() -> None:
    """Measures, writes the figures and shows them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round, kept out of results/ and docs/")
    parser.add_argument("--only", action="append", choices=SUITES, help="measure this one; may be given several times")
    parser.add_argument("--rounds", type=int, help="default 3 to 7; 1 if quick")
    parser.add_argument("--scale", type=float, help="lengths of what is measured; default 1, or 0.1 if quick")
    parser.add_argument("--anyway", action="store_true", help="keep the figures also if the machine was not idle")
    parser.add_argument("--into", type=Path, help="a folder for figures and plots, in place of results/ and docs/")
    arguments = parser.parse_args()

    results = arguments.into or (BUILD / "quick" if arguments.quick else HERE / "results")
    scale = arguments.scale or (0.1 if arguments.quick else 1.0)
    results.mkdir(parents=True, exist_ok=True)
    names = [name for name in SUITES if not arguments.only or name in arguments.only]
    strict = not (arguments.quick or arguments.anyway)
    measure_all(names, results, arguments.rounds or (1 if arguments.quick else None), scale, strict)
    (results / "machine.json").write_text(json.dumps(machine(), indent=1) + "\n", encoding="utf-8")
    if results == HERE / "results":
        report.publish(results)
    else:
        plots.draw(results, results)


if __name__ == "__main__":
    main()
