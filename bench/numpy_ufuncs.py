# SPDX-License-Identifier: BSD-3-Clause
"""Measures ktask.numpy beside NumPy, numexpr and numba: python bench/numpy_ufuncs.py [--quick] [--csv F] [--svg F].

Each expression is computed by each of them in turns, round after round in one process, into memory that is there
(NumPy's temporaries are its own). Prints how many times as fast as NumPy each was: medians over the rounds. numexpr and
numba are left out where they are not installed. numba compiles parallel=True with its own threads.
"""

from __future__ import annotations

import argparse
import csv
import re
import statistics
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import ktask

EXPRESSIONS: dict[str, tuple[str, str]] = {  # name: of x and y, their type
    "exp": ("exp(x)", "d"),
    "sin": ("sin(x)", "d"),
    "log": ("log(x)", "d"),
    "add": ("x + y", "d"),
    "poly": ("3 * x ** 2 + 2 * x + y", "d"),
    "norm": ("sqrt(sin(x) ** 2 + cos(y) ** 2)", "d"),
    "exp f4": ("exp(x)", "f"),
    "add f4": ("x + y", "f"),
    "multiply i8": ("x * y", "q"),
    "multiply c16": ("x * y", "D"),
    "exp c16": ("exp(x)", "D"),
    "sum": ("sum(x)", "d"),
}
SIZES = [10**3, 10**4, 10**5, 10**6, 10**7, 10**8]
MOST_BYTES = 4 << 30
NAMES: dict[str, Any] = {n: getattr(np, n) for n in ("exp", "sin", "cos", "log", "sqrt", "sum")}
PEERS = ("numpy", "ktask", "numexpr", "numba")


@cache
def numba_loop(text: str) -> Any:
    """Compiled for each type when it is first called; None without numba."""
    try:
        import numba
    except ImportError:
        return None
    body = "s = 0.0\n    for i in numba.prange(len(x)): s += x[i]\n    return s"
    if not text.startswith("sum"):
        element = re.sub(r"\b([xy])\b", r"\1[i]", text)
        body = f"for i in numba.prange(len(x)): out[i] = {element}"
    scope = {"numba": numba, **NAMES}
    exec(f"def loop(x, y, out):\n    {body}", scope)
    return numba.njit(parallel=True, fastmath=False)(scope["loop"])


def functions(text: str, x: Any, y: Any) -> dict[str, Callable[[], object]]:
    """What is timed, by peer."""
    plain = eval(f"lambda x, y: {text}", dict(NAMES))
    last = NAMES.get(text.partition("(")[0]) if text.count("(") == 1 else None
    out = np.empty_like(x)
    if isinstance(last, np.ufunc):
        plain = lambda x, y: last(x, out=out)  # noqa: E731
    elif text == "x + y":
        plain = lambda x, y: np.add(x, y, out=out)  # noqa: E731
    elif text == "x * y":
        plain = lambda x, y: np.multiply(x, y, out=out)  # noqa: E731
    result: dict[str, Callable[[], object]] = {"numpy": lambda: plain(x, y), "ktask": lambda: plain(x, y)}
    try:
        import numexpr

        arguments = {k: v for k, v in {"x": x, "y": y}.items() if re.search(rf"\b{k}\b", text)}
        types = {"f": float, "d": np.double, "q": np.int64, "D": complex}  # as numexpr calls them
        compiled = numexpr.NumExpr(text, [(k, types[v.dtype.char]) for k, v in arguments.items()])
        reduces = text.startswith("sum")
        result["numexpr"] = lambda: (
            compiled(*arguments.values()) if reduces else compiled(*arguments.values(), out=out, ex_uses_vml=False)
        )
        result["numexpr"]()
    except (ImportError, TypeError, ValueError, NotImplementedError, KeyError):
        result.pop("numexpr", None)
    loop = numba_loop(text)
    if loop is not None:
        loop(x, y, out)
        result["numba"] = lambda: loop(x, y, out)
    return result


def timed(call: Callable[[], object], times: int) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begin) / times


def measure(text: str, code: str, n: int, rounds: int) -> dict[str, float]:
    """Median seconds a call, by peer."""
    rng = np.random.default_rng(1)
    x, y = ((rng.random(n) + 0.5) * (9 if code == "q" else 1) for _ in range(2))
    x, y = x.astype(code), y.astype(code)
    calls = functions(text, x, y)
    times = max(1, int(2e-3 / max(timed(calls["numpy"], 1), 1e-9)))
    seconds: dict[str, list[float]] = {peer: [] for peer in calls}
    for _ in range(rounds):
        for peer, call in calls.items():
            if peer == "ktask":
                with ktask.accelerate_numpy():
                    seconds[peer].append(timed(call, times))
            else:
                seconds[peer].append(timed(call, times))
    return {peer: statistics.median(s) for peer, s in seconds.items()}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(r["expression"] for r in rows))
    columns = 4
    lines = -(-len(names) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(12, 2.6 * lines), sharex=True, sharey=True, squeeze=False)
    for ax, name in zip(axes.flat, names, strict=False):
        for peer in PEERS[1:]:
            points = [(r["n"], r["speedup"]) for r in rows if r["expression"] == name and r["peer"] == peer]
            if points:
                ax.plot(*zip(*points, strict=True), marker=".", label=peer)
        ax.axhline(1, color="grey", linewidth=0.8)
        ax.set(xscale="log", yscale="log", title=name)
    axes[0, 0].legend()
    figure.supxlabel("elements")
    figure.supylabel("times as fast as NumPy")
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and up to 10^6 elements only")
    parser.add_argument("--only", help="expressions, separated by commas")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="the largest number of elements")
    parser.add_argument("--csv", type=Path, help="write the figures to this file")
    parser.add_argument("--svg", type=Path, help="draw them into this file")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, (text, code) in EXPRESSIONS.items():
        if options.only and name not in options.only.split(","):
            continue
        for n in SIZES:
            too_large = 6 * n * np.dtype(code).itemsize > MOST_BYTES
            if n > options.most or too_large or (options.quick and n > 10**6):
                continue
            seconds = measure(text, code, n, 3 if options.quick or n >= 10**7 else 9)
            for peer, s in seconds.items():
                rows.append({"expression": name, "n": n, "peer": peer, "us": s * 1e6, "speedup": seconds["numpy"] / s})
            figures = "  ".join(f"{peer} {seconds['numpy'] / s:5.2f}" for peer, s in seconds.items() if peer != "numpy")
            print(f"{name:13} {n:10}  numpy {seconds['numpy'] * 1e6:11.1f} us  {figures}", flush=True)
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["expression", "n", "peer", "us", "speedup"])
            writer.writeheader()
            writer.writerows({**r, "us": f"{r['us']:.2f}", "speedup": f"{r['speedup']:.3f}"} for r in rows)
    if options.svg:
        draw(rows, options.svg)


if __name__ == "__main__":
    main()
