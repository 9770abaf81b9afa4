# SPDX-License-Identifier: BSD-3-Clause
"""@ktask.loop does what a for statement around its body does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import ktask

np = pytest.importorskip("numpy")
pytest.importorskip("numba")

N = 5000
RANGES = [range(0), range(1), range(N), range(7, N, 3), range(N - 1, -1, -1), range(N - 1, 10, -7)]


@ktask.loop
def scale(i, a, x, y):  # type: ignore[no-untyped-def]
    y[i] = a * x[i]


@ktask.loop
def skip_negative(i, x, y):  # type: ignore[no-untyped-def]
    for value in (x[i], -1.0):
        if value < 0:
            return
        y[i] += value


@ktask.loop
def statistics(i, x, *, total=0.0, least=np.inf, most=-np.inf, product=1.0, count=100):  # type: ignore[no-untyped-def]
    total += x[i]
    if x[i] > 0.5:
        count -= 2
    least = min(least, x[i])
    most = max(most, x[i])
    product *= 1.0 + x[i] / 10000


@ktask.loop(min_chunk=10, max_threads=2)
def bits(i, x, *, either=0, every=-1, odd=1):  # type: ignore[no-untyped-def]
    either |= x[i]
    every &= x[i]
    odd ^= x[i]


@pytest.mark.parametrize("indexes", RANGES)
def test_each_index_once(indexes: range) -> None:
    x, y = np.arange(N) + 1.0, np.zeros(N)
    expected = np.zeros(N)
    expected[list(indexes)] = 2.5 * x[list(indexes)]
    assert scale(indexes, 2.5, x, y) is None
    assert (y == expected).all()


@pytest.mark.parametrize(
    "x",
    [
        np.arange(N, dtype=np.float32),
        np.arange(N, dtype=np.int16),
        np.arange(2 * N)[::2],
        np.arange(N)[::-1],
        np.arange(N) * 1j,
    ],
)
def test_any_kind_of_array(x: Any) -> None:
    y = np.zeros(N, dtype=np.result_type(x, 2))
    scale(N, 2, x, y)
    assert (y == 2 * x).all()


def test_return_goes_on_with_the_next() -> None:
    x, y = np.linspace(-1, 1, N), np.zeros(N)
    skip_negative(N, x, y)
    assert np.array_equal(y, np.where(x < 0, 0, x))


@pytest.mark.parametrize("indexes", RANGES[1:])
def test_accumulators(indexes: range) -> None:
    x = np.random.default_rng(1).random(N)
    part = x[list(indexes)]
    total, least, most, product, count = statistics(indexes, x)
    assert total == pytest.approx(part.sum())
    assert (least, most) == (part.min(), part.max())
    assert product == pytest.approx(np.prod(1 + part / 10000))
    assert count == 100 - 2 * (part > 0.5).sum()
    assert all(isinstance(value, float) for value in (total, least, most, product))
    assert isinstance(count, int)


def test_accumulators_begin_with_their_defaults() -> None:
    assert statistics(0, np.zeros(1)) == (0.0, np.inf, -np.inf, 1.0, 100)


def test_bits() -> None:
    x = np.array([0b0110, 0b0011, 0b0111] * 999)
    assert bits(len(x), x) == (0b0111, 0b0010, 1 ^ int(np.bitwise_xor.reduce(x)))


def test_plain_python_gives_the_same() -> None:
    x, y, z = np.arange(50.0), np.zeros(50), np.zeros(50)
    scale(range(3, 50, 2), 3.0, x, y)
    scale.serial(range(3, 50, 2), 3.0, x, z)
    assert (y == z).all()
    assert statistics.serial(50, x) == pytest.approx(statistics(50, x))


def test_parallel_false_is_plain_python() -> None:
    seen: list[int] = []

    @ktask.loop(parallel=False)
    def collect(i, into):  # type: ignore[no-untyped-def]
        into.append(i)  # numba would not know this list

    collect(range(5), seen)
    assert seen == [0, 1, 2, 3, 4]


def test_values_of_the_surroundings() -> None:
    factor = 3

    @ktask.loop
    def multiply(i, x):  # type: ignore[no-untyped-def]
        x[i] = factor * i + N

    x = np.zeros(10, dtype=int)
    multiply(10, x)
    assert x.tolist() == [3 * i + N for i in range(10)]


def test_each_loop_has_the_values_of_its_own_surroundings(tmp_path: Path) -> None:
    """Also when numba's cache has one with others, from this process or an earlier one."""
    program = tmp_path / "program.py"
    program.write_text(
        """
import sys
import numpy as np
import ktask

TERM = float(sys.argv[1])

def made_with(factor, begin):
    @ktask.loop
    def multiply(i, x, *, total=begin):
        x[i] = factor * i + TERM
        total += 1
    return multiply

x = np.zeros(3)
for factor, begin in (2.0, 0), (3.0, 10):
    assert made_with(factor, begin)(3, x) == begin + 3
    print(*x)
"""
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for term in "1", "5":
        command = [sys.executable, str(program), term]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert out == "".join(f"{term}.0 {f + float(term)} {2 * f + float(term)}\n" for f in (2.0, 3.0))


def test_names_that_come_later() -> None:
    """As in any function: what counts is what is there when it is called the first time."""

    @ktask.loop
    def use(i, x):  # type: ignore[no-untyped-def]
        x[i] = later * i + MUCH_LATER  # type: ignore[name-defined]  # noqa: F821

    later = 3
    globals()["MUCH_LATER"] = 4
    x = np.zeros(10, dtype=int)
    use(10, x)
    assert x.tolist() == [3 * i + 4 for i in range(10)]


def test_a_plain_loop_is_vectorised() -> None:
    """As numba does it for a plain loop; an index that could be negative, and so wrap around, would prevent it."""

    @ktask.loop(cache=False)  # cached code does not show itself
    def plain(i, a, x, y):  # type: ignore[no-untyped-def]
        y[i] = a * x[i]

    plain(N, 2.0, np.zeros(N), np.zeros(N))
    code = "".join(plain._ascending.inspect_llvm().values())
    assert "<2 x double>" in code or "<4 x double>" in code or "<8 x double>" in code


def test_two_dimensions_and_tuples() -> None:
    @ktask.loop
    def blur(row, image, out, weights):  # type: ignore[no-untyped-def]
        for c in range(1, image.shape[1] - 1):
            for k in range(3):
                out[row, c] += weights[k] * image[row, c + k - 1]

    image = np.random.default_rng(2).random((40, 30))
    out = np.zeros_like(image)
    blur(40, image, out, (0.25, 0.5, 0.25))
    assert np.allclose(out[:, 1:-1], image[:, :-2] / 4 + image[:, 1:-1] / 2 + image[:, 2:] / 4)


def test_an_iteration_that_raises() -> None:
    @ktask.loop(cache=False)
    def divide(i, x, y):  # type: ignore[no-untyped-def]
        y[i] = 10 // x[i]

    x, y = np.arange(-20, 20), np.zeros(40, dtype=int)
    with pytest.raises(RuntimeError, match=r"an iteration of <ktask.loop .*divide> in range\(\d+, \d+\) raised"):
        divide(40, x, y)
    with pytest.raises(ZeroDivisionError) as raised:
        divide.serial(40, x.tolist(), y.tolist())
    assert raised.traceback[-1].path == Path(__file__)
    assert "10 // x[i]" in str(raised.traceback[-1].statement)


def test_what_numba_cannot_type() -> None:
    with pytest.raises(
        TypeError, match=r"numba cannot compile <ktask.loop scale> for \(a: str, x: ndarray, y: ndarray\)"
    ):
        scale(5, "a", np.zeros(5), np.zeros(5))
    scale(5, 1.0, np.zeros(5), np.zeros(5))  # still usable


def test_an_accumulator_that_would_lose_digits() -> None:
    @ktask.loop
    def total_of(i, x, *, total=0):  # type: ignore[no-untyped-def]
        total += x[i]

    assert total_of(5, np.arange(5)) == 10
    with pytest.raises(TypeError, match="begins with int64 becomes float64: begin it with a value of that type"):
        total_of(5, np.arange(5) / 2)


def test_the_number_of_arguments() -> None:
    with pytest.raises(TypeError, match=r"takes a range and 3 arguments \(a, x, y\), not 2"):
        scale(5, 1.0, np.zeros(5))


@pytest.mark.parametrize("n", [-1, 1.5, None, "5"])
def test_wrong_ranges(n: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="n_or_range must be"):
        scale(n, 1.0, np.zeros(5), np.zeros(5))


def returns_a_value(i, x):  # type: ignore[no-untyped-def]
    return x[i]


def takes_all(i, *x):  # type: ignore[no-untyped-def]
    pass


def has_no_index() -> None:
    pass


def has_no_default(i, *, total):  # type: ignore[no-untyped-def]
    total += i


def uses_the_total(i, x, *, total=0.0):  # type: ignore[no-untyped-def]
    total += i
    x[i] = total


def mixes(i, *, total=0.0):  # type: ignore[no-untyped-def]
    total += i
    total *= i


def divides(i, *, total=0.0):  # type: ignore[no-untyped-def]
    total /= i


def sets(i, *, total=0.0):  # type: ignore[no-untyped-def]
    total = i  # noqa: F841


def idles(i, *, total=0.0):  # type: ignore[no-untyped-def]
    pass


def starts_with_text(i, *, total=""):  # type: ignore[no-untyped-def]
    total += "x"


def yields(i):  # type: ignore[no-untyped-def]
    yield i


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (returns_a_value, "a body returns nothing"),
        (takes_all, r"takes \*args"),
        (has_no_index, "first parameter must be the index"),
        (has_no_default, "total needs a default"),
        (uses_the_total, "value of the accumulator total is used"),
        (mixes, "in more than one way"),
        (divides, "could not be put together"),
        (sets, r"may be set by total = min\(total, ...\) or max only"),
        (idles, "added to nowhere"),
        (starts_with_text, "must begin with a number"),
        (yields, "cannot yield"),
        (lambda i: None, "a def, not of|source"),
        (len, "a Python function, not of builtin"),
        (eval("lambda i: None"), "source"),
    ],
)
def test_bodies_that_are_refused(body: Any, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        ktask.loop(body)


def test_from_many_threads_at_once() -> None:
    """What aborts the process with numba's own workqueue."""
    x = np.random.default_rng(3).random(200_000)
    results: list[float] = []

    def go() -> None:
        for _ in range(20):
            results.append(statistics(len(x), x)[0])

    threads = [threading.Thread(target=go) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == pytest.approx([x.sum()] * 120)


def test_inside_another_task() -> None:
    x = np.ones(1000)
    totals = np.zeros(20)

    def outer(start: int, end: int) -> None:
        for i in range(start, end):
            totals[i] = statistics(1000, x)[0]

    ktask.parallel_for(outer, 20)
    assert (totals == 1000).all()


CACHED = """
import sys
import numpy as np
import ktask

@ktask.loop
def fill(i, x):
    x[i] = i

x = np.zeros(100)
fill(100, x)
assert x.tolist() == list(range(100))
stats = fill._ascending.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def test_compiled_code_is_kept(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(CACHED)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    outputs = [
        subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert outputs == ["0 1\n", "1 0\n"]


def test_typed_in_code_has_no_cache_but_runs(tmp_path: Path) -> None:
    """As in a notebook: the source is known to linecache, but in no file."""
    code = f"""
import linecache
text = {CACHED.split("print", maxsplit=1)[0]!r}
linecache.cache["<typed>"] = (len(text), None, text.splitlines(True), "<typed>")
exec(compile(text, "<typed>", "exec"))
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_without_numba() -> None:
    code = """
import sys
sys.modules["numba"] = None
import ktask
@ktask.loop(parallel=False)
def fill(i, x):
    x[i] = i
x = [0] * 5
fill(5, x)
assert x == [0, 1, 2, 3, 4]
fill._parallel = True
try:
    fill(5, x)
except ImportError as error:
    assert "pip install 'ktask[numba]'" in str(error)
else:
    sys.exit(1)
"""
    file = Path(__file__).with_name("_without_numba.py")
    file.write_text(code)
    try:
        subprocess.run([sys.executable, file], check=True)
    finally:
        file.unlink()
