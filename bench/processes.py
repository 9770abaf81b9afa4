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
SECONDS = {100: 0.4, 1000: 0.4, 20000: 1.6}
"""How long each round lasts, for loops of so many microseconds: a few dozen of the longest."""


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


def measure(how: str, loop_us: int, units: int, seconds: float, group: Path | None) -> dict[str, str]:
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
        "loop_us": str(loop_us),
        "quota": str(int(group is not None)),
        "loops": str(loops),
        "cpu_ns_per_loop": str(cpu_ns // max(loops, 1)),
        "most_helpers": str(most),
        "throttled": str(throttled(group) - before),
    }


def lines(rows: list[dict[str, str]]) -> Iterator[list[str]]:
    """What the rounds come down to, the titles first."""
    yield ["loops of", "loops done", "CPU time for each", "most helpers", "throttled: serial", "ktask"]
    for limited, loop_us in dict.fromkeys((r["quota"], r["loop_us"]) for r in rows):
        chosen = [r for r in rows if (r["quota"], r["loop_us"]) == (limited, loop_us)]
        serial, ktask = ([r for r in chosen if r["how"] == how] for how in ("serial", "ktask"))
        done, cpu = (
            statistics.median(float(k[name]) / float(s[name]) for k, s in zip(ktask, serial, strict=True))
            for name in ("loops", "cpu_ns_per_loop")
        )
        most = max(int(r["most_helpers"]) for r in ktask)
        periods = [f"{statistics.median(int(r['throttled']) for r in half):.0f}" for half in (serial, ktask)]
        title = f"{int(loop_us) / 1000:g} ms" + (", quota of 1 CPU" if int(limited) else "")
        yield [title, f"{done:.3f}", f"{cpu:.3f}", str(most), *(periods if int(limited) else ["", ""])]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds instead of eight")
    parser.add_argument("--csv", type=Path, help="where the raw figures go")
    arguments = parser.parse_args()
    rounds = 2 if arguments.quick else 8

    build()
    ns_per_1000 = int(subprocess.run([PROGRAM], capture_output=True, text=True, check=True).stdout)
    rows: list[dict[str, str]] = []
    with quota() as group:
        for round_ in range(rounds):
            for limited in [None, group] if group else [None]:
                for loop_us, seconds in SECONDS.items():
                    units = loop_us * 1_000_000 // ns_per_1000
                    for how in ("serial", "ktask") if round_ % 2 else ("ktask", "serial"):
                        rows.append({"round": str(round_), **measure(how, loop_us, units, seconds, limited)})
    if arguments.csv:
        with arguments.csv.open("w", newline="") as f:
            writer = csv.DictWriter(f, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    for line in lines(rows):
        print("".join(f"{text:>22}" for text in line))


if __name__ == "__main__":
    main()
