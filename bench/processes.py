# SPDX-License-Identifier: BSD-3-Clause
"""Measures many processes at once: python bench/processes.py [--quick] [--csv FILE].

Eight processes run loops one after the other at the same time, all of them serially, then all with ktask, and so on in
turns. For each length of loop it prints how many loops ktask's finished for each one of the serial
processes', the CPU time for each loop beside the serial one's, and the most helpers that worked at a time, of all
processes together: medians over the rounds. Where this may make a cgroup with a quota of one CPU (version 1, the cpu
controller), the same once more within, with the throttled periods.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent / "csrc"
BUILD = HERE / "build"
PROGRAM = BUILD / "processes"
CPU_CONTROLLER = Path("/sys/fs/cgroup/cpu")

PROCESSES = 8
LOOPS_US = [100, 1000, 20000]


def build() -> None:
    """Compiles processes.c."""
    BUILD.mkdir(exist_ok=True)
    subprocess.run(["make", "-s", "-C", CSRC, f"BUILD={BUILD / 'ktask'}"], check=True)
    library = str(BUILD / "ktask" / "libktask.a")
    source = str(HERE / "processes.c")
    subprocess.run(
        ["gcc", "-std=c11", "-O2", f"-I{CSRC / 'include'}", source, "-o", str(PROGRAM), library, "-pthread"], check=True
    )


@contextmanager
def quota() -> Iterator[Path | None]:
    """A cgroup that may use one CPU; None where it cannot be made."""
    group = CPU_CONTROLLER / f"ktask-bench-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        (group / "cpu.cfs_period_us").write_text("100000")
        (group / "cpu.cfs_quota_us").write_text("100000")
        yield group
    finally:
        group.rmdir()


def throttled(group: Path | None) -> int:
    """How many periods ended before their time so far."""
    if group is None:
        return 0
    return int(dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())["nr_throttled"])


def measure(how: str, loop_us: int, units: int, seconds: float, group: Path | None) -> dict[str, object]:
    """One round: loops finished, CPU time for each, most helpers, periods throttled."""
    shared = BUILD / f"shared-{os.getpid()}"
    shared.write_bytes(bytes(8))
    before = throttled(group)
    begin = time.monotonic_ns() + 150_000_000
    command = [str(PROGRAM), how, str(begin), str(int(seconds * 1e9)), str(units), str(shared)]
    if group:
        command = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *command]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
    outputs = [process.communicate()[0].split() for process in processes]
    loops, cpu_ns = (sum(int(output[i]) for output in outputs) for i in (0, 1))
    _, most = struct.unpack("ii", shared.read_bytes())
    shared.unlink()
    return {
        "how": how,
        "loop_us": loop_us,
        "quota": int(group is not None),
        "loops": loops,
        "cpu_ns_per_loop": cpu_ns // max(loops, 1),
        "most_helpers": most,
        "throttled": throttled(group) - before,
    }


def show(rows: list[dict[str, object]], with_quota: int) -> None:
    """Prints what the rounds come down to."""
    print(f"\n{PROCESSES} processes at once" + (", in a cgroup with a quota of 1 CPU" if with_quota else ""))
    print(f"{'loop us':>10}{'throughput':>12}{'CPU time':>10}{'helpers':>9}{'throttled: serial, ktask':>26}")
    for loop_us in LOOPS_US:
        chosen = [r for r in rows if r["loop_us"] == loop_us and r["quota"] == with_quota]
        serial, ktask = ([r for r in chosen if r["how"] == how] for how in ("serial", "ktask"))

        def ratio(name: str, a: list[dict[str, object]], b: list[dict[str, object]]) -> float:
            return statistics.median(float(str(x[name])) / float(str(y[name])) for x, y in zip(a, b, strict=True))

        helpers = max(int(str(r["most_helpers"])) for r in ktask)
        periods = [int(statistics.median(int(str(r["throttled"])) for r in half)) for half in (serial, ktask)]
        print(
            f"{loop_us:10}{ratio('loops', ktask, serial):12.3f}{ratio('cpu_ns_per_loop', ktask, serial):10.3f}"
            f"{helpers:9}{f'{periods[0]}, {periods[1]}' if with_quota else '':>26}"
        )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two short rounds instead of twelve")
    parser.add_argument("--csv", type=Path, help="where the raw figures go")
    arguments = parser.parse_args()
    rounds, seconds = (2, 0.3) if arguments.quick else (12, 0.4)

    build()
    ns_per_1000 = int(subprocess.run([PROGRAM], capture_output=True, text=True, check=True).stdout)
    rows: list[dict[str, object]] = []
    with quota() as group:
        for round_ in range(rounds):
            for limited in [None, group] if group else [None]:
                for loop_us in LOOPS_US:
                    units = loop_us * 1_000_000 // ns_per_1000
                    for how in ("serial", "ktask") if round_ % 2 else ("ktask", "serial"):
                        rows.append({"round": round_, **measure(how, loop_us, units, seconds, limited)})
    if arguments.csv:
        with arguments.csv.open("w", newline="") as f:
            writer = csv.DictWriter(f, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    show(rows, 0)
    if any(r["quota"] for r in rows):
        show(rows, 1)


if __name__ == "__main__":
    main()
