# SPDX-License-Identifier: BSD-3-Clause
"""NumPy's ufuncs on ktask: the same bits, errors and manners as NumPy's own, from many threads."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest

import ktask
from ktask._core import lib
from ktask._numpy import _split
from ktask._numpy import _tables as tables_module

np: Any = numpy  # what is tested here, its stubs know too little of

pytestmark = pytest.mark.skipif(not hasattr(lib, "py_loop_call"), reason="built without threads")

N = 300_007
RNG = np.random.default_rng(7)
FLOATS = RNG.normal(size=N)
CODES = "bBhHiIlLefdgFD"


def array(code: str, n: int = N) -> Any:
    values = FLOATS[:n] * 50
    return values.astype(code) if code not in "BHILQ" else abs(values).astype(code)


def both(f: Callable[[], Any]) -> tuple[Any, Any]:
    """What NumPy makes of it, and what ktask does."""
    plain = f()
    with ktask.accelerate_numpy():
        return plain, f()


def assert_same(f: Callable[[], Any]) -> None:
    plain, ours = both(f)
    for a, b in zip(*((r if isinstance(r, tuple) else (r,)) for r in (plain, ours)), strict=True):
        assert type(a) is type(b)
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.strides == b.strides
        if a.dtype.char in "gG":  # their bytes have gaps
            np.testing.assert_array_equal(a, b)
        else:
            assert a.tobytes() == b.tobytes()


@pytest.fixture
def accelerated() -> Iterator[None]:
    with ktask.accelerate_numpy():
        yield


def fresh(code: str, **environment: str) -> str:
    """What the code prints, in a process that has not imported anything yet."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    ).stdout


# ---- results ----


@pytest.mark.parametrize("code", CODES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_ufunc_gives_the_same_bits(code: str) -> None:
    x = array(code)
    y = x[::-1].copy()
    tried = 0
    for name in sorted(set(dir(np.core.umath if not hasattr(np, "_core") else np._core.umath)) & set(dir(np))):
        f = getattr(np, name)
        if not isinstance(f, np.ufunc) or f.signature or (name, code in "bBhHiIlL") == ("power", True):
            continue
        args = (x, y)[: f.nin]
        try:
            f(*(a[:2] for a in args))
        except TypeError:
            continue
        assert_same(lambda f=f, args=args: f(*args))  # type: ignore[misc]
        tried += 1
    assert tried > 20


def test_large_calls_are_cut_and_helpers_come(accelerated: None) -> None:
    x = np.ones(4_000_000)
    np.sin(x)
    while ktask.last_report().threads == 1:  # until a helper gets a CPU in time, or the test takes too long
        np.sin(x)
    assert ktask.last_report().chunks > 1


@pytest.mark.parametrize("code", "fdgFD")
@pytest.mark.parametrize("n", [16384, 16391, 65537, N])
@pytest.mark.parametrize("step", [1, -1, 3])
def test_sums_have_the_bits_of_numpys(code: str, n: int, step: int) -> None:
    x = np.resize(array(code), n * 3)[::step][:n]
    assert_same(x.sum)
    assert_same(lambda: np.add.reduce(x, initial=x[0]))
    assert_same(x.mean)


@pytest.mark.parametrize("helpers", [0, 1, 3, 16])
def test_sums_do_not_depend_on_the_number_of_threads(helpers: int) -> None:
    out = fresh(
        """
        import numpy as np, ktask
        x = np.random.default_rng(7).normal(size=5_000_001)
        with ktask.accelerate_numpy():
            print(x.sum().hex(), x.astype("f").sum().item().hex())
        """,
        KTASK_HELPERS=str(helpers),
    )
    x = np.random.default_rng(7).normal(size=5_000_001)
    expected = f"{x.sum().hex()} {x.astype('f').sum().item().hex()}"
    assert out.strip() == expected


@pytest.mark.parametrize("code", "?bBhHiIlLefd")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_reductions(code: str) -> None:
    x = array(code)
    for name in ("add", "multiply", "minimum", "maximum", "fmin", "fmax", "logical_and", "logical_or", "bitwise_xor"):
        f = getattr(np, name)
        if name == "bitwise_xor" and code in "efd":
            continue
        assert_same(lambda f=f: f.reduce(x))  # type: ignore[misc]
    for method in ("argmin", "argmax", "cumsum", "any", "all", "min", "max", "ptp", "std"):
        if code == "?" and method == "ptp":
            continue
        assert_same(lambda method=method: np.asarray(getattr(np, method)(x)))  # type: ignore[misc]


def test_any_and_all_find_the_one_that_counts() -> None:
    for position in (0, N // 2, N - 1):
        one, hole = np.zeros(N, bool), np.ones(N, bool)
        one[position], hole[position] = True, False
        assert_same(lambda one=one: one.any())  # type: ignore[misc]
        assert_same(lambda hole=hole: hole.all())  # type: ignore[misc]


def test_minima_of_nan_and_others() -> None:
    x = FLOATS.copy()
    x[N - 5] = np.nan
    assert_same(x.min)
    assert_same(lambda: np.fmin.reduce(x))


def test_reductions_along_axes() -> None:
    x = np.resize(FLOATS, (40, 50, 150))
    for axis in (0, 1, 2, (0, 2), None):
        assert_same(lambda axis=axis: x.sum(axis=axis))  # type: ignore[misc]
        assert_same(lambda axis=axis: x.T.max(axis=axis, keepdims=True))  # type: ignore[misc]
    assert_same(lambda: np.add.reduce(x, where=x > 0, axis=1))
    assert_same(lambda: np.add.reduceat(FLOATS, [0, 100_000, 5]))
    assert_same(lambda: np.add.accumulate(FLOATS))
    assert_same(lambda: np.multiply.outer(FLOATS[:700], FLOATS[:500]))


def test_kinds_of_calls() -> None:
    """Broadcasting, casts, orders and strides."""
    x = np.resize(FLOATS, (600, 500))
    f = x.astype("f")
    i = np.arange(500)
    calls: list[Callable[[], Any]] = [
        lambda: x - i,
        lambda: x * i[::-1],
        lambda: x[:, :1] + x[0],
        lambda: f + x,
        lambda: f + 1,
        lambda: f + 1.5,
        lambda: f * np.float64(2),
        lambda: np.arange(N, dtype="i2") + 1,
        lambda: np.sqrt(np.arange(N)),
        lambda: np.add(f, f, dtype="d"),
        lambda: np.add(x, x, dtype="f", casting="unsafe"),
        lambda: np.add(f, f, signature="dd->d"),
        lambda: np.add(x, x, order="F"),
        lambda: x.T + x.T,
        lambda: x[:, ::2] + 1,
        lambda: x[::-2, ::-1] * x[::2],
        lambda: x[:500].T + x[:500],
        lambda: np.asfortranarray(x) + f,
        lambda: x.reshape(20, 30, 500).transpose(1, 2, 0) + np.resize(x, (30, 500, 20)),
        lambda: np.broadcast_to(FLOATS[:1], N) + FLOATS,
        lambda: x > i,
        lambda: np.divmod(x, i + 1.0),
        lambda: np.modf(f, dtype="d"),
        lambda: np.frexp(x[:, ::2]),
        lambda: np.ldexp(x, np.int8(3)),
        lambda: x.astype(">f8") + 1,
        lambda: np.add(x, np.ones((1, 600, 500))),
        lambda: np.sin(np.zeros((0, 500))),
        lambda: np.sin(np.array(1.0)),
        lambda: np.exp(FLOATS.astype("m8[s]").astype("i8") % 5),
        lambda: FLOATS.astype("M8[s]") + np.timedelta64(3, "s"),
    ]
    for call in calls:
        assert_same(call)


def test_out_and_where() -> None:
    x = np.resize(FLOATS, (600, 500))
    mask = x > 0

    def call(*args: Any, **kwargs: Any) -> Any:
        out = np.zeros_like(x)
        result = np.add(*args, out=out, **kwargs)
        assert result is out
        return result

    assert_same(lambda: call(x, x))
    assert_same(lambda: call(x, x, where=mask))
    assert_same(lambda: call(x, 1, where=mask[0]))
    assert_same(lambda: call(x.astype("f"), x))
    assert_same(lambda: call(x[0], x[1]))
    assert_same(lambda: np.sqrt(abs(x), out=np.zeros((500, 600)).T, where=mask))
    assert_same(lambda: np.add(x, x, np.zeros(x.shape, "f"), casting="same_kind"))
    assert_same(lambda: np.divmod(x, 3, out=(None, np.zeros((600, 500)))))


def test_overlapping_operands() -> None:
    """NumPy's results are as if inputs had been copied."""

    def on(f: Callable[[Any], Any], shape: Any = (600, 500)) -> Any:
        a = np.resize(FLOATS, shape).copy()
        f(a)
        return a

    assert_same(lambda: on(lambda a: np.add(a[1:], 1, out=a[:-1])))
    assert_same(lambda: on(lambda a: np.add(a[:-1], 1, out=a[1:])))
    assert_same(lambda: on(lambda a: np.add(a[1:], 1, out=a[:-1]), N))
    assert_same(lambda: on(lambda a: np.add(a[:-1], a[1:], out=a[1:]), N))
    assert_same(lambda: on(lambda a: np.add(a, 1, out=a)))
    assert_same(lambda: on(lambda a: np.add(a, a[::-1], out=a), N))
    assert_same(lambda: on(lambda a: np.add(a, a[0], out=a)))
    assert_same(lambda: on(lambda a: np.add(a[:, ::2], 1, out=a[:, ::2])))
    assert_same(lambda: on(lambda a: np.add(a[:500].T, 1, out=a[:500])))
    assert_same(lambda: on(lambda a: np.sqrt(abs(a), out=a, where=a > 0)))
    assert_same(lambda: on(lambda a: np.add(a.view("i8"), 1, out=a.view("i8"), dtype="f8", casting="unsafe")))


def test_what_is_not_plain_is_numpys() -> None:
    x = np.ma.array(FLOATS, mask=FLOATS > 1)
    plain, ours = both(lambda: np.sqrt(x + 1))
    assert (plain.mask == ours.mask).all()
    assert (plain.filled(0) == ours.filled(0)).all()
    objects = np.resize(np.array([1, 2.5, 3 + 1j], object), N)
    assert (objects * 2 == both(lambda: objects * 2)[1]).all()
    words = np.resize(np.array(["a", "b"]), N)
    assert (words == np.array("a")).sum() == np.count_nonzero(both(lambda: words == np.array("a"))[1])


class Other(numpy.ndarray[Any, Any]):
    """An array that wants to be asked."""

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        return (ufunc, method, len(args), sorted(kwargs))


def test_overrides_are_asked(accelerated: None) -> None:
    x = FLOATS.view(Other)
    assert np.add(x, 1) == (np.add, "__call__", 2, [])
    assert np.add(np.ones((2, N)), x, dtype="f") == (np.add, "__call__", 2, ["dtype"])
    assert np.add.reduce(x) == (np.add, "reduce", 1, [])


@pytest.mark.skipif(int(np.__version__.split(".")[0]) < 2, reason="NumPy 1")
def test_what_counts_is_how_large_the_result_is(accelerated: None) -> None:
    seen = []

    def see(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code is _split.split.__code__:
            seen.append(frame.f_locals["args"][0].shape)

    matrix, row, cube = np.ones((100, 100)), np.ones(100), np.ones((40, 1, 40))
    sys.setprofile(see)
    try:
        matrix + row, row + matrix, cube + row[:40]
        np.add(matrix, row, out=np.empty((1, 100, 100)))
        matrix[:, :1] + matrix[:1], np.ones((40, 40)) + cube
        seen_small = list(seen)
        np.ones((100, 1)) + np.ones(700)
        cube + np.ones((50, 40))
        np.add(row, 1.0, out=np.empty((700, 100)))
        np.float32(1) + matrix.astype("f4")[:, None, :] + np.ones((8, 1))
    finally:
        sys.setprofile(None)
    assert seen_small == []
    assert seen == [(100, 1), (40, 1, 40), (100,), (100, 1, 100)]


# ---- errors ----


@pytest.fixture(params=["one loop", "split"])
def divide(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Divides by zero once, near the end, where helpers are."""
    d = np.ones((600, 500))
    d[-1, -1] = 0
    if request.param == "one loop":
        return lambda: np.divide(1.0, d)
    return lambda: np.divide(np.ones(500, "f"), d)


def test_floating_point_warnings(accelerated: None, divide: Callable[[], Any]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        divide()
    (warning,) = caught
    assert str(warning.message) == "divide by zero encountered in divide"
    assert warning.category is RuntimeWarning
    assert warning.filename == __file__


def test_floating_point_errors(accelerated: None, divide: Callable[[], Any]) -> None:
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError, match="divide by zero encountered in divide"):
        divide()
    called = []
    with np.errstate(divide="call", call=lambda *args: called.append(args)):
        divide()
    assert called == [("divide by zero", 1)]
    log: Any = type("Log", (), {"write": lambda self, text: called.append(text)})()
    with np.errstate(divide="log", call=log):
        divide()
    assert called[1] == "Warning: divide by zero encountered in divide\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with np.errstate(divide="ignore"):
            divide()
        with pytest.raises(RuntimeWarning, match="divide by zero"):
            divide()


def test_all_kinds_of_floating_point_errors_come_from_helpers(accelerated: None) -> None:
    x = np.ones(N)
    cases: dict[str, Callable[[], Any]] = {
        "divide": lambda: np.log(x * 0),
        "over": lambda: np.exp(x * 1e5),
        "under": lambda: (x * 1e-200) * (x * 1e-200),
        "invalid": lambda: np.sqrt(-x),
        "over ": lambda: np.arange(N, dtype="i8").astype("f4") * np.float32(3e38),
        "invalid ": lambda: np.add.reduce(np.where(np.arange(N) % 2, np.inf, -np.inf)),
    }
    for kind, call in cases.items():
        with np.errstate(all="ignore", **{kind.strip(): "raise"}), pytest.raises(FloatingPointError):
            call()
        with np.errstate(all="raise", **{kind.strip(): "ignore"}):
            call()


def test_errors_are_numpys(accelerated: None) -> None:
    x = np.ones((600, 500))
    with pytest.raises(ValueError, match="Integers to negative integer powers"):
        np.arange(2, N) ** np.full(N - 2, -1)
    with pytest.raises(ValueError, match="Integers to negative integer powers"):
        np.full((600, 500), 2) ** -np.arange(500)
    with pytest.raises(ValueError, match="could not be broadcast"):
        np.add(x, x[:, 1:])
    with pytest.raises(ValueError, match="non-broadcastable output"):
        np.add(x, x.astype("f"), out=np.ones(500))
    with pytest.raises(TypeError, match="Cannot cast"):
        np.add(x, x, out=np.ones((600, 500), int))
    with pytest.raises(TypeError, match="not supported"):
        np.bitwise_and(x, 1)
    read_only = np.ones((600, 500))
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        np.add(x[0], x, out=read_only)
    if int(np.__version__.split(".")[0]) >= 2:
        with pytest.raises(OverflowError):
            np.ones((600, 500), "u1") + 300


# ---- manners ----


def addresses() -> list[Any]:
    ufuncs = [f for f in vars(np).values() if isinstance(f, np.ufunc)]
    return [(c.functions, c.data, c.vectorcall) for c in map(tables_module._c_ufunc, ufuncs)]


def fail_unless(installed: bool) -> None:
    assert installed
    raise ZeroDivisionError


def test_everything_is_put_back() -> None:
    with ktask.accelerate_numpy():
        pass
    before = addresses()
    accelerate = ktask.accelerate_numpy()
    with pytest.raises(ZeroDivisionError), accelerate, ktask.accelerate_numpy(), accelerate:
        fail_unless(addresses() != before)
    assert addresses() == before

    @ktask.accelerate_numpy()
    def inside() -> list[Any]:
        return addresses()

    assert inside() != before
    assert addresses() == before


def test_it_holds_until_the_last_block_is_left() -> None:
    with ktask.accelerate_numpy():
        inside = addresses()
        with ktask.accelerate_numpy():
            pass
        assert addresses() == inside


def test_threads_come_and_go() -> None:
    x = np.resize(FLOATS, (600, 500))
    f = x.astype("f")
    expected = (x.sum(), np.exp(x), f + x)
    wrong = []

    def work() -> None:
        for _ in range(15):
            with ktask.accelerate_numpy():
                results = (x.sum(), np.exp(x), f + x)
            if any(np.asarray(a).tobytes() != np.asarray(b).tobytes() for a, b in zip(expected, results, strict=True)):
                wrong.append(results)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_inside_a_thread_function(accelerated: None) -> None:
    x = np.resize(FLOATS, (600, 500))
    y = np.empty_like(x)

    def work(start: int, end: int) -> None:
        for i in range(start, end):
            y[i] = np.sin(x).sum() + np.add(x.astype("f"), x)[i]

    ktask.parallel_for(work, 4)
    assert (y[:4] == (np.sin(x).sum() + np.add(x.astype("f"), x)[:4])).all()


def test_after_fork(accelerated: None) -> None:
    x = np.resize(FLOATS, (600, 500))
    np.exp(x)
    pid = os.fork()
    if pid == 0:
        same = (np.exp(x) + x[0]).tobytes() == (np.exp(x) + x[0]).tobytes()
        os._exit(0 if same else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_ufuncs_are_numpys_own(accelerated: None) -> None:
    assert pickle.loads(pickle.dumps(np.add)) is np.add
    assert repr(np.add) == "<ufunc 'add'>"
    assert np.add.types[0] == "??->?"
    assert isinstance(np.add, np.ufunc)


def test_an_unknown_numpy_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_module, "_is_known", lambda ufunc: False)
    with pytest.warns(RuntimeWarning, match="does not know the ufuncs of NumPy"):
        assert tables_module.tables() == []


def test_ktask_numpy_is_numpy() -> None:
    out = fresh("""
        import sys
        import ktask
        assert "numpy" not in sys.modules
        import ktask.numpy as np
        import numpy
        from ktask.numpy.random import default_rng
        import ktask.numpy.linalg as linalg
        assert linalg is numpy.linalg
        assert np.__version__ == numpy.__version__
        assert all(getattr(np, name) is getattr(numpy, name) for name in numpy.__all__)
        assert set(dir(numpy)) <= set(dir(np))
        x = default_rng(1).random(4_000_000)
        np.sin(x)
        print(ktask.last_report().chunks > 1)
    """)
    assert out.strip() == "True"
