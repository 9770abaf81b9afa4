#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Explores the models: each must hold in all its settings, and each seeded bug must be found in one of them.

check.py [MODEL.pml | MODEL.cpp ...]

A ``.pml`` file is explored exhaustively by Spin, under sequential consistency; a ``.cpp`` file by Relacy, under the
memory model of C11. Both name their settings and bugs in the comment at their top: ``CONFIG name: options`` and
``BUG n: what is wrong``, or ``BUG n in name: what is wrong`` where that setting is the one to find it. A bug is
compiled in with ``-DBUG=n``, or is the argument of the ``.cpp`` program.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
JOBS = len(os.sched_getaffinity(0))
TIMEOUT = 300
MEMORY_MB = 3000
CC = os.environ.get("CC", "cc")
CXX = os.environ.get("CXX", "c++")


@dataclass
class Result:
    """``ok`` is whether all was explored and all held."""

    ok: bool
    what: str


Explore = Callable[[list[str], int], Result]
"""Explores a model with the given options and the bug of that number; 0: none."""


def output_of(*command: str, folder: str) -> str:
    """What a command prints, on both channels, whatever its exit status."""
    process = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT, check=False
    )
    return process.stdout


def must(*command: str, folder: str) -> None:
    """A step without which there is nothing to explore."""
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if process.returncode or process.stderr:
        raise SystemExit(f"{' '.join(command)}\n{process.stdout}{process.stderr}")


def preprocessed(model: Path, options: list[str], bug: int) -> str:
    """The model without what is left out."""
    return output_of("cpp", "-P", "-undef", *options, f"-DBUG={bug}", str(model), folder=str(HERE))


def spin(model: Path, options: list[str], bug: int) -> Result:
    """Every interleaving, up to partial order reduction."""
    if bug and preprocessed(model, options, bug) == preprocessed(model, options, 0):
        return Result(True, "the bug makes no difference here")
    with tempfile.TemporaryDirectory() as folder:
        must("spin", "-a", *options, f"-DBUG={bug}", str(model), folder=folder)
        speed = "-O0" if bug else "-O1"  # a bug is found sooner than the compiler has optimized
        must(CC, speed, "-w", "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={MEMORY_MB}", "-o", "pan", "pan.c", folder=folder)
        text = output_of("./pan", "-m1000000", "-n", folder=folder)
    states = re.search(r"^\s*(\d+) states, stored", text, re.M)
    complete = not re.search(r"Search not completed|max search depth too small|out of memory|reached -DMEMLIM", text)
    error = re.search(r"^pan:\d+: (.*?) \(at depth \d+\)", text, re.M)
    if states is None or not (complete or error):
        raise SystemExit(text)
    return Result(error is None, error[1] if error else f"{int(states[1]):,} states")


def relacy(program: str, bug: int) -> Result:
    """Every interleaving, and every value that C11 lets a load have."""
    text = output_of(program, str(bug), folder=str(HERE))
    error = re.search(r"^FAILED: (.*)$", text, re.M)
    executions = sum(map(int, re.findall(r"^OK: (\d+)$", text, re.M)))
    if not error and not text.rstrip().endswith("DONE"):
        raise SystemExit(text)
    return Result(error is None, error[1] if error else f"{executions:,} executions")


def check(model: Path, explore: Explore, pool: ThreadPoolExecutor) -> list[Future[bool]]:
    """Each setting and each bug prints a line, and has a result."""
    _, head, body = model.read_text().split("*/\n", 2)
    configs = [(name, options.split()) for name, options in re.findall(r"^ \* CONFIG (.*?):(.*)$", head, re.M)]
    bugs = {int(n): (where, what) for n, where, what in re.findall(r"^ \* BUG (\d+)(?: in (.*?))?: (.*)$", head, re.M)}
    assert configs, f"{model} names no CONFIG"
    assert {where for where, _ in bugs.values()} <= {"", *dict(configs)}, f"{model}: a bug names another CONFIG"
    assert bugs.keys() == set(map(int, re.findall(r"\bBUG [!=]= (\d+)", body))), f"{model}: other bugs than it says"

    def holds(config: tuple[str, list[str]]) -> bool:
        begin = time.monotonic()
        result = explore(config[1], 0)
        ok = "ok" if result.ok else "not ok"
        print(f"{ok} {model.name}, {config[0]}: {result.what}, {time.monotonic() - begin:.1f} s", flush=True)
        return result.ok

    def found(bug: int) -> bool:
        where, what = bugs[bug]
        for name, options in configs:
            if where not in ("", name):
                continue
            result = explore(options, bug)
            if not result.ok:
                print(f"ok {model.name}, bug {bug} is found with {name}: {result.what}", flush=True)
                return True
        print(f"not ok {model.name}, bug {bug} is not found: {what}", flush=True)
        return False

    return [*(pool.submit(holds, config) for config in configs), *(pool.submit(found, bug) for bug in bugs)]


def check_file(model: Path, folder: str, pool: ThreadPoolExecutor) -> list[Future[bool]]:
    if model.suffix == ".pml":
        return check(model, lambda options, bug: spin(model, options, bug), pool)
    program = str(Path(folder, model.stem))
    must(CXX, "-std=c++11", "-O1", "-w", str(model), "-o", program, folder=folder)
    return check(model, lambda options, bug: relacy(program, bug), pool)


def main() -> int:
    models = [Path(name).resolve() for name in sys.argv[1:]] or sorted([*HERE.glob("*.pml"), *HERE.glob("*.cpp")])
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(JOBS) as pool:
        results = [result for model in models for result in check_file(model, folder, pool)]
        return 0 if all(result.result() for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
