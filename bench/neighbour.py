# SPDX-License-Identifier: BSD-3-Clause
"""Measures how ktask and its peers get on with others: python bench/neighbour.py [--rounds N] [--only ...] [--csv FILE].

Two questions, with the same loop throughout, and the serial loop beside the same others as the measure of all:

victim  A process with one thread at nice 0 that always works. How much slower is it beside a process that runs tasks?
hogs    One or two such processes that never stop. How much longer do tasks take beside them?

Each in the same session and in another one (on many systems sessions share the CPUs as equals, whatever their threads'
nice), each for long and short runs, and for ktask with and without the right to raise priorities (as root only).
In every round each subject has its turn, in another order; ratios are taken within a round, and their medians shown.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from peers import PEERS, build

NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
NOTHING, SERIAL = "nothing", "serial"
SESSIONS = ("same", "other")
HOGS = (1, 2)

STRANGERS = 0.04
"""CPUs that may be in use by processes that have nothing to do with it while a figure is taken."""

TRIES = 5


@dataclass(frozen=True)
class Load:
    """A process that runs tasks: how long each takes serially, and how long it sleeps before each."""

    name: str
    us: int
    gap_us: int


LOADS = (Load("200 ms", 200_000, 0), Load("1 ms", 1000, 0), Load("200 us every 2 ms", 200, 1800))


@dataclass(frozen=True)
class Subject:
    """What is measured: a library, as whom."""

    name: str
    peer: str = "ktask"
    mode: str = "parallel"
    prefix: tuple[str, ...] = ()


def subjects() -> list[Subject]:
    """All that this machine has."""
    privileged = os.geteuid() == 0
    found = [Subject(SERIAL, mode="serial"), Subject("ktask")]
    if privileged:
        found = [found[0], Subject("ktask, privileged"), Subject("ktask, unprivileged", prefix=tuple(NOBODY))]
    wanted = ("libgomp dynamic", "libgomp passive", "libomp dynamic", "oneTBB", "pthreadpool")
    return found + [Subject(peer, peer) for peer in wanted if build("neighbour", peer)]


def command(subject: Subject, *arguments: object) -> list[str]:
    """The command line of one part of bench/neighbour.cpp."""
    return [*subject.prefix, str(build("neighbour", subject.peer)), *map(str, arguments)]


def task(subject: Subject, load: Load, rate: float, seconds: float, wait: bool = True) -> subprocess.Popen[str]:
    """Starts tasks."""
    process = subprocess.Popen(
        command(subject, "task", subject.mode, int(load.us * rate), load.gap_us, seconds),
        env=os.environ | PEERS[subject.peer].environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    if not wait:
        time.sleep(0.1)
    return process


@contextmanager
def hog(session: str) -> Iterator[None]:
    """Somebody who never stops, started in the same session or in its own."""
    process = subprocess.Popen(command(Subject("hog"), "hog"), start_new_session=session == "other")
    try:
        yield
    finally:
        process.kill()
        process.wait()


def busy_seconds() -> float:
    """The CPU time that the whole machine has used, or that its host took from it."""
    fields = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def undisturbed(measure_: Callable[[], list[float]]) -> list[float]:
    """Measures again, a few times, when somebody who does not belong to the measurement was at work meanwhile."""
    for _ in range(TRIES):
        begin, busy, mine = time.monotonic(), busy_seconds(), sum(os.times()[:4])
        result = measure_()
        strangers = busy_seconds() - busy - (sum(os.times()[:4]) - mine)
        if strangers < STRANGERS * (time.monotonic() - begin):
            break
        print(f"others used {strangers:.2f} CPU seconds meanwhile: measured again", file=sys.stderr)
    return result


def figures(process: subprocess.Popen[str]) -> list[float]:
    """What a part printed when it ended."""
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args} ended with {process.returncode}")
    return [float(word) for word in out.split()]


def beside_victim(subject: Subject | None, load: Load, session: str, rate: float, seconds: float) -> list[float]:
    """The victim's units in each microsecond; and the runs, their time and the CPU time of the process beside it."""
    running = task(subject, load, rate, seconds + 0.3, wait=False) if subject else None
    victim = subprocess.Popen(
        command(Subject("victim"), "victim", seconds),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=session == "other",
    )
    return figures(victim) + (figures(running) if running else [0, 0, 0])


def beside_hogs(subject: Subject, load: Load, session: str, hogs: int, rate: float, seconds: float) -> list[float]:
    """The runs, their time and the CPU time of the process beside hogs; hogs may be none."""
    with ExitStack() as stack:
        for _ in range(hogs):
            stack.enter_context(hog(session))
        if hogs:
            time.sleep(0.1)
        return figures(task(subject, load, rate, seconds))


def measure(arguments: argparse.Namespace, round_: int) -> Iterator[dict[str, object]]:
    """One round."""
    here = [s for s in subjects() if not arguments.subjects or any(a in s.name for a in arguments.subjects)]
    loads = [load for load in LOADS if not arguments.loads or load.name in arguments.loads]
    rate = figures(subprocess.Popen(command(Subject("rate"), "rate"), stdout=subprocess.PIPE, text=True))[0]
    turn = round_ % len(here)
    ordered = here[turn:] + here[:turn]
    if round_ % 2:
        ordered.reverse()
    for load in loads:
        for session in SESSIONS:
            if "victim" in arguments.only:
                for subject in (None, *ordered):
                    speed, runs, ns, cpu = undisturbed(
                        partial(beside_victim, subject, load, session, rate, arguments.seconds)
                    )
                    name = subject.name if subject else NOTHING
                    yield row("victim", round_, load, session, 1, name, speed, runs, ns, cpu, rate)
            if "hogs" in arguments.only and not load.gap_us:
                for hogs in HOGS:
                    for subject in ordered:
                        runs, ns, cpu = undisturbed(
                            partial(beside_hogs, subject, load, session, hogs, rate, arguments.seconds)
                        )
                        yield row("hogs", round_, load, session, hogs, subject.name, 0, runs, ns, cpu, rate)
    if "idle" in arguments.only:
        for load in loads:
            for subject in ordered:
                runs, ns, cpu = undisturbed(
                    partial(beside_hogs, subject, load, "same", 0, rate, arguments.seconds)
                )
                yield row("idle", round_, load, "", 0, subject.name, 0, runs, ns, cpu, rate)


def row(
    part: str,
    round_: int,
    load: Load,
    session: str,
    others: int,
    subject: str,
    victim: float,
    runs: float,
    ns: float,
    cpu: float,
    rate: float,
) -> dict[str, object]:
    """One figure, as the CSV file has it."""
    return {
        "part": part,
        "round": round_,
        "load": load.name,
        "session": session,
        "others": others,
        "subject": subject,
        "victim_units_per_us": victim,
        "runs": int(runs),
        "ns_per_run": ns / runs if runs else 0,
        "cpu_per_useful": cpu / (runs * int(load.us * rate) / rate * 1e3) if runs else 0,
    }


def table(rows: list[dict[str, str]]) -> None:
    """Prints medians of ratios to the serial loop of the same round."""
    keys = dict.fromkeys((r["part"], r["load"], r["session"], r["others"]) for r in rows)
    names = list(dict.fromkeys(r["subject"] for r in rows))
    names.sort(key=lambda n: (n != NOTHING, n != SERIAL, not n.startswith("ktask")))
    print(f"{'':38}" + "".join(f"{name:>21}" for name in names))
    for key in keys:
        mine = [r for r in rows if (r["part"], r["load"], r["session"], r["others"]) == key]
        serial = {r["round"]: r for r in mine if r["subject"] == SERIAL}
        cells = []
        for name in names:
            ratios, cpu = [], []
            for r in mine:
                if r["subject"] != name or r["round"] not in serial:
                    continue
                base = serial[r["round"]]
                if key[0] == "victim":
                    ratios.append(float(base["victim_units_per_us"]) / float(r["victim_units_per_us"]))
                elif name != NOTHING:
                    ratios.append(float(r["ns_per_run"]) / float(base["ns_per_run"]))
                cpu.append(float(r["cpu_per_useful"]))
            cell = f"{statistics.median(ratios):.3f} ({statistics.median(cpu):.2f})" if ratios else ""
            cells.append(f"{cell:>21}")
        print(f"{key[0]:7}{key[3]:>2} {key[2]:6} {key[1]:21}" + "".join(cells))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each figure is measured")
    parser.add_argument("--only", nargs="*", default=["victim", "hogs", "idle"], help="victim, hogs, idle")
    parser.add_argument("--subjects", nargs="*", help="parts of their names; default: all")
    parser.add_argument("--loads", nargs="*", help="their names; default: all")
    parser.add_argument("--csv", type=Path, help="where the figures go; rounds are added to those that are there")
    arguments = parser.parse_args()

    rows: list[dict[str, str]] = []
    if arguments.csv and arguments.csv.exists():
        with arguments.csv.open(newline="") as f:
            rows = list(csv.DictReader(f))
    first = 1 + max((int(r["round"]) for r in rows), default=-1)
    subjects()
    for round_ in range(first, first + arguments.rounds):
        rows += [{k: str(v) for k, v in r.items()} for r in measure(arguments, round_)]
        if arguments.csv:
            with arguments.csv.open("w", newline="") as f:
                writer = csv.DictWriter(f, rows[0].keys())
                writer.writeheader()
                writer.writerows(rows)
    table(rows)


if __name__ == "__main__":
    sys.exit(main())
