# SPDX-License-Identifier: BSD-3-Clause
"""``python -m ktask demo``: six jobs, each done by a plain call and by ktask, times side by side, results compared.

A job's thread function is written once. The serial run calls it on the whole range; ktask's run calls the same
function on chunks. What is compared is all that the function wrote, bit for bit.
"""

from __future__ import annotations

import math
import mmap
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

import numpy as np
import psutil
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.image import imsave
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

import ktask
from ktask._demo_kernels import ffi, lib
from ktask._info import sentence
from ktask._summary import duration

HUGE_PAGE = 2 << 20
"""Bytes; a multiple of every common page size, so that no page is touched by two threads."""

ROW = 1000
"""Doubles that are summed up in one go."""

SIMD = 64
"""Doubles; chunks that end at multiples of it leave NumPy's vector loops as they are in one piece."""


@dataclass(frozen=True)
class Sizes:
    """How much there is to do."""

    rounds: int
    memory: int  # bytes
    doubles: int
    steps: int
    picture: tuple[int, int]
    items: int


FULL = Sizes(rounds=5, memory=1 << 30, doubles=20_000_000, steps=100_000_000, picture=(1600, 1200), items=1_000_000)
QUICK = Sizes(rounds=2, memory=32 << 20, doubles=1_000_000, steps=2_000_000, picture=(320, 240), items=20_000)


class Terminal(Console):
    """Whoever reads the output may stop to: that is the command line's to tell."""

    def on_broken_pipe(self) -> None:
        """Instead of ending with exit code 1."""
        raise BrokenPipeError


def demo(output: Path, *, quick: bool) -> int:
    """Does all jobs, shows what came of them, writes the pictures to ``output``; returns the exit code."""
    console = Terminal(highlight=False)
    sizes = QUICK if quick else FULL
    introduce(console, sizes)
    if quick:
        console.print("With so little to do, times say little: this is to see that all works.")
    makers = jobs(sizes, output)
    outcomes = []
    with Bar(console, runs=len(makers) * 2 * sizes.rounds) as bar:
        for number, make in enumerate(makers, 1):
            job = make()
            console.print(f"\n[bold]{number}. {job.title}[/]")
            console.print(Padding(escape(job.note), (0, 0, 0, 3)))
            outcomes.append(measure(job, sizes.rounds, bar))
            console.print(f"   {escape(outcomes[-1].finding)}", soft_wrap=True)
    console.print(table(outcomes, sizes.rounds))
    if all(outcome.same for outcome in outcomes):
        console.print("All results are the same, bit for bit.")
        return 0
    console.print("[bold red]Results differ, which must never happen: please report it.[/]")
    return 1


def introduce(console: Console, sizes: Sizes) -> None:
    """Says what is going to happen, on what machine."""
    machine = ktask.info()
    console.print(f"[bold]ktask {machine['version']}[/]: {sentence(machine)}", soft_wrap=True)
    if not machine["enabled"]:
        console.print("So both times of a job are the serial one's, up to chance.", soft_wrap=True)
    elif machine["load"] >= 0.5:
        console.print(
            f"The load of the last minute is {machine['load']:.1f} on {len(machine['allowed_cpus'])} CPUs: "
            "what other programs need, ktask leaves to them.",
            soft_wrap=True,
        )
    console.print(f"Each job is done serially and with ktask in turn, {sizes.rounds} times; the best times count.")


# ---- what a job is, and how it is measured ----------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One run of a job, ready to start: the range, the function's argument, and the memory that it writes to."""

    start: Any
    end: Any
    arg: Any
    result: Any


@dataclass(frozen=True)
class Job:
    """A thread function and what it needs."""

    title: str
    note: str
    func: Callable[[Any, Any, Any], object]
    units: int
    fresh: Callable[[], Run]  # prepares a run, with memory of its own; not timed
    finding: Callable[[Run], str]  # looks at the last run
    options: dict[str, Any] = field(default_factory=dict)  # of ktask.Ctl


@dataclass(frozen=True)
class Outcome:
    """What came of a job; times in seconds."""

    title: str
    serial: float
    ktask: float
    same: bool
    finding: str


def measure(job: Job, rounds: int, bar: Bar) -> Outcome:
    """Does a job serially and with ktask in turn."""
    serial, with_ktask, same = [], [], True
    reference = None
    for i in range(rounds):
        bar.begin(f"{job.title}: serial, {i + 1} of {rounds}")
        run = job.fresh()
        begin = perf_counter()
        job.func(run.start, run.end, run.arg)
        serial.append(perf_counter() - begin)
        if reference is None:
            reference = run.result

        bar.begin(f"{job.title}: ktask, {i + 1} of {rounds}")
        run = job.fresh()
        begin = perf_counter()
        ktask.run(run.start, job.units, ktask.Ctl(job.func, run.arg, progress=bar.move, **job.options))
        with_ktask.append(perf_counter() - begin)
        same = same and identical(run.result, reference)
    return Outcome(job.title, min(serial), min(with_ktask), same, job.finding(run))


def identical(a: Any, b: Any) -> bool:
    """Are two buffers the same, bit for bit?"""
    a, b = ffi.from_buffer(a), ffi.from_buffer(b)
    return len(a) == len(b) and lib.memcmp(a, b, len(a)) == 0


# ---- the jobs ---------------------------------------------------------------------------------------------------


def jobs(sizes: Sizes, output: Path) -> list[Callable[[], Job]]:
    """All jobs; each is made when its turn comes, so that the memory of those before is free again."""
    return [
        lambda: fill_memory(min(sizes.memory, psutil.virtual_memory().available // 4)),
        lambda: exponential(sizes.doubles),
        lambda: row_sums(sizes.doubles),
        lambda: integral(sizes.steps),
        lambda: mandelbrot(*sizes.picture, output),
        lambda: free_list(sizes.items),
    ]


def fill_memory(size: int) -> Job:
    """Units are bytes. Page faults are most of the work, and the kernel clears the pages in them."""
    size -= size % HUGE_PAGE

    def fresh() -> Run:
        memory = fresh_memory(size)
        start = ffi.from_buffer(memory)
        return Run(start, start + size, start, result=memory)

    return Job(
        title=f"Fill {amount(size)} of fresh memory",
        note="A C function, page faults included; chunks are aligned, so that no page is shared by threads.",
        func=ffi.addressof(lib, "fill"),
        units=size,
        fresh=fresh,
        finding=lambda run: "Each word holds where it is, inverted, so that one left out would be noticed.",
        options={"align": HUGE_PAGE},
    )


def fresh_memory(size: int) -> mmap.mmap:
    """Memory that has no pages yet."""
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def exponential(size: int) -> Job:
    """Units are the elements of an array."""
    x = np.linspace(-1, 1, size)

    def exp(start: int, end: int, y: Any) -> None:
        np.exp(x[start:end], out=y[start:end])

    def fresh() -> Run:
        y = np.full(size, np.nan)  # writes, so that page faults are not part of the run
        return Run(0, size, y, result=y)

    return Job(
        title=f"exp of {size:,} doubles",
        note="A Python function; NumPy lets go of the GIL in np.exp(x[start:end], out=y[start:end]).",
        func=exp,
        units=size,
        fresh=fresh,
        finding=lambda run: f"The last one is {run.result[-1]:.15g}; e is {math.e:.15g}.",
        options={"align": SIMD},
    )


def row_sums(size: int) -> Job:
    """Units are the rows of a matrix: each has its own sum, which no cut goes through."""
    x = np.linspace(0, 1, size).reshape(-1, ROW)

    def add(start: int, end: int, sums: Any) -> None:
        np.sum(x[start:end], axis=1, out=sums[start:end])

    def fresh() -> Run:
        sums = np.full(len(x), np.nan)
        return Run(0, len(x), sums, result=sums)

    return Job(
        title=f"Sum of {size:,} doubles",
        note=f"A Python function; one partial sum for {ROW} doubles, added up in order: the same bits for any cut.",
        func=add,
        units=len(x),
        fresh=fresh,
        finding=lambda run: f"The sum is {sum(run.result.tolist()):.15g}.",
    )


def integral(steps: int) -> Job:
    """Units are steps of an integration that gives pi."""

    def fresh() -> Run:
        sums = np.full(-(-steps // lib.STEPS_PER_SUM), np.nan)
        arg = ffi.new("struct integral *", {"step": 1 / steps, "sums": ffi.cast("double *", ffi.from_buffer(sums))})
        return Run(ffi.cast("void *", 0), ffi.cast("void *", steps), arg, result=sums)

    return Job(
        title=f"Integral in {steps:,} steps",
        note=f"A cheap C function; one partial sum for {lib.STEPS_PER_SUM} steps: the same bits for any cut.",
        func=ffi.addressof(lib, "integrate"),
        units=steps,
        fresh=fresh,
        finding=lambda run: f"The integral is {math.fsum(run.result):.15g}; pi is {math.pi:.15g}.",
        options={"align": lib.STEPS_PER_SUM},
    )


def mandelbrot(width: int, height: int, output: Path) -> Job:
    """Units are the rows of a picture, which take very different times. Also draws who did which when."""
    trace = ktask.Trace()
    plane = 3.3  # how wide the part of the complex plane is; its middle is -0.7

    def fresh() -> Run:
        trace.clear()
        pixels = np.full((height, width), np.nan, np.float32)
        size = plane / width
        arg = ffi.new(
            "struct picture *",
            {
                "pixels": ffi.cast("float *", ffi.from_buffer(pixels)),
                "width": width,
                "left": -0.7 - plane / 2,
                "top": size * height / 2,
                "size": size,
                "max_steps": 1000,
            },
        )
        return Run(ffi.cast("void *", 0), ffi.cast("void *", height), arg, result=pixels)

    def save(run: Run) -> str:
        imsave(output / "mandelbrot.png", coloured(run.result))
        trace.plot(output / "timeline.png", title=f"Mandelbrot set, {height} rows: who did which when")
        return f"mandelbrot.png, and timeline.png of the last run's {len(trace)} chunks, are in {output.resolve()}."

    return Job(
        title=f"Mandelbrot set, {width} x {height}",
        note="A C function; rows in the middle take much longer than those at the top.",
        func=ffi.addressof(lib, "mandelbrot"),
        units=height,
        fresh=fresh,
        finding=save,
        options={"trace": trace},
    )


def coloured(steps: Any) -> Any:
    """Red, green and blue of a picture of steps; the set itself, with 0 of them, is black."""
    colours = ["#000764", "#206bcb", "#edffff", "#ffaa00", "#3b0a12", "#000764"]  # over and over again
    palette = LinearSegmentedColormap.from_list("night and day", colours, N=2048)
    shade = (np.log2(np.where(steps > 0, steps, 1)) / 4.5 - 0.12) % 1
    picture = palette(shade)[..., :3]
    picture[steps == 0] = 0
    return picture


def free_list(size: int) -> Job:
    """Units are the items of a linked list, which only an iterator can find."""

    def fresh() -> Run:
        head = lib.list_new(size)
        if not head:
            raise MemoryError(f"no memory for a list of {size:,} items")
        checksums = np.zeros(size, np.uint64)
        return Run(head, ffi.NULL, ffi.from_buffer(checksums), result=checksums)

    return Job(
        title=f"Free a list of {size:,} items",
        note="A C function and a C iterator. The iterator walks the list in order, a thread at a time, and malloc has "
        "locks of its own, so that there is less to gain here: the more work an item is, the more.",
        func=ffi.addressof(lib, "list_free"),
        units=size,
        fresh=fresh,
        finding=lambda run: f"{np.count_nonzero(run.result):,} items are freed, each after a checksum of its contents.",
        options={"iter_func": ffi.addressof(lib, "list_skip")},
    )


# ---- for people to look at --------------------------------------------------------------------------------------


class Bar:
    """Progress of all runs together. Drawn on a terminal only, and seldom enough not to cost time."""

    SECONDS = 0.1

    def __init__(self, console: Console, runs: int) -> None:
        """``runs`` is how often ``begin`` is going to be called."""
        self._runs = runs
        self._begun = 0
        self._drawn = 0.0
        self._progress = Progress(
            TextColumn("[cyan]{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            console=console,
            auto_refresh=False,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=runs)

    def __enter__(self) -> Bar:
        """Shows the bar."""
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        """Takes it away, whatever happened."""
        self._progress.stop()

    def begin(self, what: str) -> None:
        """Shows that a run begins."""
        self._drawn = perf_counter()  # a short run needs no drawing, and should not be charged for one
        self._progress.update(self._task, description=what, completed=self._begun, refresh=True)
        self._begun += 1

    def move(self, done: int, total: int) -> None:
        """Shows how far ktask has come in this run."""
        now = perf_counter()
        if now - self._drawn >= self.SECONDS:
            self._drawn = now
            self._progress.update(self._task, completed=self._begun - 1 + done / total, refresh=True)


def table(outcomes: list[Outcome], rounds: int) -> Table:
    """The times side by side."""
    result = Table(box=box.SIMPLE_HEAD, caption=f"best of {rounds}", caption_justify="left")
    result.add_column("Job")
    for name in ("Serial", "ktask", "Speed-up"):
        result.add_column(name, justify="right", no_wrap=True)
    result.add_column("Results")
    for o in outcomes:
        result.add_row(
            o.title,
            duration(o.serial),
            duration(o.ktask),
            f"[bold]{o.serial / o.ktask:.2f}x[/]",
            "[green]same[/]" if o.same else "[bold red]DIFFERENT[/]",
        )
    return result


def amount(size: int) -> str:
    """A number of bytes, as the table shows it."""
    return f"{size >> 30} GiB" if size % (1 << 30) == 0 else f"{size >> 20} MiB"
