# SPDX-License-Identifier: BSD-3-Clause
"""Measures expressions of arrays beside NumPy: python bench/numpy_ufuncs.py PEER ROUND SCALE. bench/run.py starts it.

Each makes a new array, or a number, out of one or two of so many elements. ktask computes them by NumPy itself, in
turns with and without accelerate_numpy(); the others have the same expression as text (numexpr) or as a compiled loop
(numba). What the machine has to give shows by plain NumPy in a process for each CPU, all with arrays of their own.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
from calls import CPUS, Run, measure
from peers import BUILD

SCRIPT = "sum(sqrt(sin(x)**2 + cos(y)**2) * exp(-x) + log(x))"
EXPRESSIONS = {  # of x and y, and their type
    "exp": ("exp(x)", "d"),
    "sin": ("sin(x)", "d"),
    "log": ("log(x)", "d"),
    "compute": ("log(exp(sin(x)) + 1)", "d"),
    "script": (SCRIPT, "d"),
    "add": ("x + y", "d"),
    "poly": ("3 * x**2 + 2 * x + y", "d"),
    "sum": ("sum(x)", "d"),
    "exp-f4": ("exp(x)", "f"),
    "multiply-i8": ("x * y", "q"),
    "multiply-c16": ("x * y", "D"),
}
NAMES: dict[str, Any] = {name: getattr(np, name) for name in ("exp", "sin", "cos", "log", "sqrt", "sum")}
SIZES = (10**3, 10**4, 10**5, 10**6, 10**7)
LARGEST = 10**8
OF_THE_LARGEST = ("exp",)
QUICK = 10**6
"""In less time, no larger ones."""

Compiled = Callable[[str, Any, Any], Run]


def by_numexpr() -> Compiled:
    """numexpr, with a thread for each CPU."""
    numexpr = importlib.import_module("numexpr")
    numexpr.set_num_threads(CPUS)

    def compiled(name: str, x: Any, y: Any) -> Run:
        return partial(numexpr.evaluate, EXPRESSIONS[name][0], local_dict={"x": x, "y": y})

    return compiled


def function_of(name: str) -> str:
    """What the loop is called."""
    return f"loop_{name.replace('-', '_')}"


def by_numba() -> Compiled:
    """Parallel loops of numba's. They are written into a module, so that it can keep what it has compiled."""
    lines = ["# mypy: ignore-errors", "import numba", "import numpy as np", f"from numpy import {', '.join(NAMES)}"]
    for name, (text, _) in EXPRESSIONS.items():
        total = text.startswith("sum(")
        element = re.sub(r"\b([xy])\b", r"\1[i]", text[4:-1] if total else text)
        lines += ["@numba.njit(parallel=True, cache=True)", f"def {function_of(name)}(x, y):"]
        lines += [f"    out = {'0.0' if total else 'np.empty_like(x)'}"]
        lines += [f"    for i in numba.prange(len(x)): {'out +=' if total else 'out[i] ='} {element}"]
        lines += ["    return out"]
    module = BUILD / "ufunc_loops.py"
    source = "\n".join(lines) + "\n"
    if not module.exists() or module.read_text(encoding="utf-8") != source:
        BUILD.mkdir(exist_ok=True)
        module.write_text(source, encoding="utf-8")
    sys.path.insert(0, str(BUILD))
    loops = importlib.import_module(module.stem)
    return lambda name, x, y: partial(getattr(loops, function_of(name)), x, y)


def by_ktask() -> Compiled:
    """NumPy itself."""
    return by_numpy


def by_numpy(name: str, x: Any, y: Any) -> Run:
    """The expression as it is."""
    code = eval(f"lambda x, y: {EXPRESSIONS[name][0]}", dict(NAMES))
    return partial(code, x, y)


EACH_CPU = "NumPy on each CPU"
PEERS: dict[str, Callable[[], Compiled]] = {
    "ktask": by_ktask,
    "numexpr": by_numexpr,
    "numba prange": by_numba,
    EACH_CPU: lambda: by_numpy,
}


@contextmanager
def on_other_cpus(run: Run) -> Iterator[None]:
    """Processes do the same again and again, one for each CPU but one."""
    begun, say = os.pipe()
    children = [start_child(run, say) for _ in range(CPUS - 1)]
    try:
        for _ in children:
            os.read(begun, 1)
        yield
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        os.close(begun)
        os.close(say)


def start_child(run: Run, say: int) -> int:
    """A process that says so when it has done it once."""
    child = os.fork()
    if child == 0:
        try:
            run()
            os.write(say, b".")
            while True:
                run()
        finally:
            os._exit(1)
    return child


def workloads(compiled: Compiled, scale: float, least: int) -> Iterator[tuple[str, int, Run, Run]]:
    """Name, size, what does it by NumPy, and what by the peer."""
    for n in (*SIZES, LARGEST):
        if n < least:
            continue
        if scale < 1 and n > QUICK:
            break
        for name, (_, code) in EXPRESSIONS.items():
            if n == LARGEST and name not in OF_THE_LARGEST:
                continue
            x, y = np.linspace(0.5, 9.5, n).astype(code), np.linspace(9.5, 1, n).astype(code)
            yield name, n, by_numpy(name, x, y), compiled(name, x, y)


def main() -> None:
    """All workloads, for one peer."""
    peer, round_, scale = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    inside: Callable[[], AbstractContextManager[object]] = nullcontext
    if peer == "ktask":
        inside = importlib.import_module("ktask").accelerate_numpy
    for workload, size, serial, parallel in workloads(PEERS[peer](), scale, QUICK if peer == EACH_CPU else 0):
        if peer == EACH_CPU:
            inside = partial(on_other_cpus, serial)
        took = list(measure(serial, parallel, round_, scale / 3, inside))
        if peer == EACH_CPU:  # of what all do meanwhile
            took[1] //= CPUS
        print(workload, size, *took, flush=True)


if __name__ == "__main__":
    main()
