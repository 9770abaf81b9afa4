# SPDX-License-Identifier: BSD-3-Clause
"""Measures how ktask and its peers get on with others: neighbour.py [--rounds N] [--csv FILE] [--plot FILE].

Three scenes, with the same loop throughout, and the serial loop in the same place as the measure of all:

victim  A process with one thread at nice 0 that always works. How much slower is it beside a process that runs tasks?
hogs    One or two such processes that never stop. How much longer do tasks take beside them?
idle    Nobody else is there. How long do tasks take?

The others are in the same session or in another one (on many systems sessions share the CPUs as equals, whatever their
threads' nice), the runs long or short, and ktask, as root, with and without the right to raise priorities. In every
round each subject has its turn in each scene, in another order; ratios are taken within a round, and their medians
shown, with the CPU time of the process for each second of serial work. A figure that was taken while somebody else used
the CPUs is taken again.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import plots
from peers import PEERS, build

NOTHING, SERIAL = "nothing", "serial"
WANTED = ("libgomp dynamic", "libgomp passive", "libomp dynamic", "oneTBB", "pthreadpool")
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]

OUTWEIGH = "--outweigh"

STRANGERS = 0.1
"""CPUs that may be in use by processes that have nothing to do with it while a figure is taken."""

TRIES = 5


@dataclass(frozen=True)
class Load:
    """What a process runs: tasks that take so long serially, after so much sleep each."""

    name: str
    us: int
    gap_us: int = 0


LOADS = (Load("200 ms", 200_000), Load("1 ms", 1000), Load("200 us every 2 ms", 200, 1800))


@dataclass(frozen=True)
class Scene:
    """Who else is there."""

    part: str
    load: Load
    others: int = 0
    session: str = ""


SCENES = (
    *(Scene("victim", load, 1, session) for load in LOADS for session in ("same", "other")),
    *(Scene("hogs", load, n, session) for load in LOADS[:2] for n in (1, 2) for session in ("same", "other")),
    *(Scene("idle", load) for load in LOADS),
)


@dataclass(frozen=True)
class Subject:
    """What is measured: a library, as whom."""

    name: str
    peer: str = "ktask"
    mode: str = "parallel"
    prefix: Sequence[str] = ()


@dataclass(frozen=True)
class Figures:
    """What came of it. victim: its units in each microsecond; ns: of all runs; cpu_ns: of the process that ran them."""

    victim: float = 0
    runs: float = 0
    ns: float = 0
    cpu_ns: float = 0


def subjects() -> list[Subject]:
    """All that this machine has; the serial loop first."""
    found = [Subject(SERIAL, mode="serial")]
    if os.geteuid() == 0:
        found += [Subject("ktask, privileged"), Subject("ktask, unprivileged", prefix=NOBODY)]
    else:
        found += [Subject("ktask")]
    return found + [Subject(peer, peer) for peer in WANTED if build("neighbour", peer)]


def outweigh(pid: int) -> None:
    """Gives the session of a process all the weight that sessions may have (man 7 sched, autogroups)."""
    Path(f"/proc/{pid}/autogroup").write_text("-20")


def start(subject: Subject, session: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts one part of bench/neighbour.cpp."""
    process = subprocess.Popen(
        [*subject.prefix, str(build("neighbour", subject.peer)), *map(str, arguments)],
        env=os.environ | PEERS[subject.peer].environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=session == "other",
    )
    if session == "other" and OUTWEIGH in sys.argv:
        outweigh(process.pid)
    return process


def results(process: subprocess.Popen[str]) -> list[float]:
    """What a part printed when it ended."""
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args!r} ended with {process.returncode}")
    return [float(word) for word in out.split()]


@contextmanager
def hog(session: str) -> Iterator[None]:
    """Somebody who never stops."""
    process = start(Subject("hog"), session, "hog")
    try:
        yield
    finally:
        process.kill()
        process.communicate()


def take(scene: Scene, subject: Subject | None, rate: float, seconds: float) -> Figures:
    """One figure, for so many seconds."""
    units = int(scene.load.us * rate)
    with ExitStack() as stack:
        if scene.part == "victim":
            running = subject and start(subject, "", "task", subject.mode, units, scene.load.gap_us, seconds + 0.3)
            time.sleep(0.1)
            victim = results(start(Subject("victim"), scene.session, "victim", seconds))[0]
            return Figures(victim, *results(running)) if running else Figures(victim)
        assert subject
        for _ in range(scene.others):
            stack.enter_context(hog(scene.session))
        time.sleep(0.1 if scene.others else 0)
        return Figures(0, *results(start(subject, "", "task", subject.mode, units, scene.load.gap_us, seconds)))


def busy_seconds() -> float:
    """The CPU time that the whole machine has used, or that its host took from it."""
    fields = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def take_undisturbed(scene: Scene, subject: Subject | None, rate: float, seconds: float) -> Figures:
    """The same, again when somebody who does not belong to the scene was at work meanwhile."""
    for _ in range(TRIES):
        begin, busy, mine = time.monotonic(), busy_seconds(), sum(os.times()[:4])
        figures = take(scene, subject, rate, seconds)
        strangers = busy_seconds() - busy - (sum(os.times()[:4]) - mine)
        if strangers < STRANGERS * (time.monotonic() - begin) or OUTWEIGH in sys.argv:
            break
        print(f"others used {strangers:.2f} CPU seconds meanwhile: taken again", file=sys.stderr)
    return figures


def one_round(
    number: int, scenes: Sequence[Scene], wanted: Sequence[Subject], seconds: float
) -> Iterator[dict[str, object]]:
    """The rows of one round, as the CSV file has them."""
    rate = results(start(Subject("rate"), "", "rate"))[0]
    turn = number % len(wanted)
    ordered = [*wanted[turn:], *wanted[:turn]][:: -1 if number % 2 else 1]
    for scene in scenes:
        for subject in [None, *ordered] if scene.part == "victim" else ordered:
            f = take_undisturbed(scene, subject, rate, seconds)
            useful_ns = f.runs * int(scene.load.us * rate) / rate * 1e3
            yield {
                "round": number,
                "part": scene.part,
                "load": scene.load.name,
                "others": scene.others,
                "session": scene.session,
                "subject": subject.name if subject else NOTHING,
                "victim_units_per_us": f.victim,
                "runs": int(f.runs),
                "ns_per_run": f.ns / f.runs if f.runs else 0,
                "cpu_per_useful": f.cpu_ns / useful_ns if f.runs else 0,
            }


Row = dict[str, str]
Key = tuple[str, str, str, str]


def scene_of(row: Row) -> Key:
    """What a row's scene is called in tables: part, others, session, load."""
    return row["part"], row["others"], row["session"], row["load"]


def ratios(rows: Sequence[Row], key: Key, subject: str) -> tuple[float, float] | None:
    """How many times as long it took as beside, or with, the serial loop; and CPU seconds for each useful one."""
    column = "victim_units_per_us" if key[0] == "victim" else "ns_per_run"
    mine = [r for r in rows if scene_of(r) == key and r["subject"] == subject]
    serial = {r["round"]: float(r[column]) for r in rows if scene_of(r) == key and r["subject"] == SERIAL}
    found = [float(r[column]) / serial[r["round"]] for r in mine if r["round"] in serial]
    if not found:
        return None
    ratio = statistics.median(found)
    cpu = statistics.median(float(r["cpu_per_useful"]) for r in mine)
    return (1 / ratio if key[0] == "victim" else ratio), cpu


def table(rows: Sequence[Row]) -> None:
    """Prints medians."""
    names = list(dict.fromkeys(r["subject"] for r in rows))
    names.sort(key=lambda n: (n != NOTHING, n != SERIAL, not n.startswith("ktask")))
    print(f"{'':40}" + "".join(f"{name:>20}" for name in names))
    for key in dict.fromkeys(map(scene_of, rows)):
        cells = [ratios(rows, key, name) for name in names]
        texts = [f"{cell[0]:.3f} ({cell[1]:.2f})" if cell else "" for cell in cells]
        print(f"{' '.join(key):40}" + "".join(f"{text:>20}" for text in texts))


OURS = ("#d1242f", "#f0959a")


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draws how much longer it takes in each scene with others, for each subject."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = [n for n in dict.fromkeys(r["subject"] for r in rows) if n not in {NOTHING, SERIAL}]
    names.sort(key=lambda n: not n.startswith("ktask"))
    ours = sum(n.startswith("ktask") for n in names)
    colors = dict(zip(names, (*OURS[:ours], *plots.COLORS), strict=False))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ktask", "font.size": 8, "axes.titlesize": 10}):
        drawing = Figure(figsize=(12, 3.4), layout="constrained")
        for axes, part in zip(drawing.subplots(1, 2, width_ratios=(4, 5)), ("victim", "hogs"), strict=True):
            keys = [key for key in dict.fromkeys(map(scene_of, rows)) if key[0] == part]
            for i, name in enumerate(names):
                cells = [ratios(rows, key, name) for key in keys]
                places = [k + (i - (len(names) - 1) / 2) * 0.8 / len(names) for k in range(len(keys))]
                heights = [cell[0] - 1 if cell else 0 for cell in cells]
                axes.bar(places, heights, 0.8 / len(names), bottom=1, label=name, color=colors[name])
            axes.axhline(1, color="black", linewidth=0.8)
            axes.set_xticks(range(len(keys)), [label_of(key) for key in keys], fontsize=7)
            axes.grid(axis="y", alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        victim, hogs = drawing.axes
        victim.set(title="A neighbour, beside runs of so long", ylabel="times as long as beside the serial loop")
        hogs.set(title="Runs of so long, beside one or two neighbours", ylabel="times as long as the serial loop")
        hogs.set_yscale("log", base=2)
        hogs.yaxis.set_major_formatter("{x:g}")
        path.parent.mkdir(parents=True, exist_ok=True)
        plots.save(drawing, path)


def label_of(key: Key) -> str:
    """A scene, in few words on three lines."""
    part, others, session, load = key
    where = f"{session} session" if part == "victim" else f"{others}, {session} session"
    return where.replace(" session", "\nsession") + "\n" + load.replace("us", "µs").replace(" every", "\nevery")


def main() -> None:
    """Measures, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="0: only show what the CSV file has")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each figure is measured")
    parser.add_argument("--only", nargs="+", default=["victim", "hogs", "idle"], help="scenes")
    parser.add_argument("--subjects", nargs="+", default=[""], help="parts of their names, the serial loop aside")
    parser.add_argument("--loads", nargs="+", default=[""], help="parts of their names")
    parser.add_argument("--csv", type=Path, help="where the raw figures go; rounds are added to those that are there")
    parser.add_argument("--plot", type=Path, help="where a picture goes; needs matplotlib")
    parser.add_argument(
        OUTWEIGH,
        action="store_true",
        help="as root, where others are at work too: all sessions that take part weigh more",
    )
    arguments = parser.parse_args()

    if arguments.outweigh:
        os.setsid()
        outweigh(os.getpid())
    rows: list[Row] = []
    if arguments.csv and arguments.csv.exists():
        with arguments.csv.open(newline="") as f:
            rows = list(csv.DictReader(f))
    first = 1 + max((int(r["round"]) for r in rows), default=-1)
    scenes = [s for s in SCENES if s.part in arguments.only and any(text in s.load.name for text in arguments.loads)]
    wanted = [s for s in subjects() if s.name == SERIAL or any(text in s.name for text in arguments.subjects)]
    for number in range(first, first + arguments.rounds):
        rows += [{k: str(v) for k, v in r.items()} for r in one_round(number, scenes, wanted, arguments.seconds)]
        if arguments.csv:
            with arguments.csv.open("w", newline="") as f:
                writer = csv.DictWriter(f, rows[0].keys())
                writer.writeheader()
                writer.writerows(rows)
    table(rows)
    if arguments.plot:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
