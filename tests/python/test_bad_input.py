# SPDX-License-Identifier: BSD-3-Clause
"""What cannot be meant is refused before any work starts, in words that name it; and all works on afterwards."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import cffi
import numba
import numpy as np
import pytest
from clib import CLib

import ktask
from ktask._core import lib

MAX_SIZE = lib.KTASK_MAX_SIZE

THREAD = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)

calls: list[tuple[Any, ...]] = []


def never(start: int, end: int, arg: object) -> None:
    calls.append((start, end))


def of_c(start: int | None, end: int, arg: int | None) -> int:
    calls.append((start, end))
    return 0


c_never = THREAD(of_c)


@pytest.fixture(autouse=True)
def _nothing_was_called_and_all_works_on() -> Iterator[None]:
    calls.clear()
    yield
    assert calls == []
    ktask.run(0, 1, ktask.Ctl(never))
    assert calls == [(0, 1)]


def node(start: Any = 0, size: Any = 1, nid: Any = ktask.NUMA_NO_NODE) -> ktask.Node:
    return ktask.Node(start, size, nid)


@pytest.mark.parametrize("function", [never, c_never])
@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (-1, ValueError, "at least 0, not -1"),
        (MAX_SIZE + 1, OverflowError, str(MAX_SIZE + 1)),
        (2**64 + 5, OverflowError, str(2**64 + 5)),
        (1.0, TypeError, r"float: 1\.0"),
        (np.float64(2), TypeError, "float64"),
        ("3", TypeError, "str: '3'"),
        (None, TypeError, "NoneType: None"),
    ],
)
def test_sizes(function: object, size: Any, error: type[Exception], message: str) -> None:
    ctl = ktask.Ctl(function)
    with pytest.raises(error, match=rf"^size .*{message}"):
        ktask.run(0, size, ctl)
    with pytest.raises(error, match=rf"^nodes\[1\]\.size .*{message}"):
        ktask.run_numa([node(), node(5, size)], ctl)
    with pytest.raises(error, match=message):
        ktask.ktask_run(0, size, ctl)
    with pytest.raises(error, match=rf"^n_or_range .*{message}"):
        ktask.parallel_for(function, size)


@pytest.mark.parametrize("name", ["min_chunk_size", "max_threads", "align"])
@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (2**64, OverflowError), (1.5, TypeError), ("1", TypeError)]
)
def test_options(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"^{name} .*{value}"):
        ktask.Ctl(never, **{name: value})


def test_setters_refuse_and_leave_the_ctl_as_it_was() -> None:
    ctl = ktask.Ctl(c_never)
    refused: list[tuple[Callable[[Any, Any], None], Any, type[Exception]]] = [
        (ktask.ktask_ctl_set_max_threads, -1, ValueError),
        (ktask.ktask_ctl_set_max_threads, 1.5, TypeError),
        (ktask.ktask_ctl_set_align, -8, ValueError),
        (ktask.ktask_ctl_set_align, "8", TypeError),
        (ktask.ktask_ctl_set_iter_func, 1.5, TypeError),
        (ktask.ktask_ctl_set_iter_func, lambda position: 0, TypeError),
        (ktask.ktask_ctl_set_undo_func, "undo", TypeError),
    ]
    for setter, value, error in refused:
        with pytest.raises(error):
            setter(ctl, value)
    ktask.run(0, 1, ctl)
    assert calls.pop() == (None, 1)


def test_sizes_that_add_up_to_too_much() -> None:
    with pytest.raises(OverflowError, match=str(MAX_SIZE + 1)):
        ktask.run_numa([node(0, MAX_SIZE), node(0, 1)], ktask.Ctl(never))


@pytest.mark.parametrize("start", [2**64 - 4, -4])
def test_a_range_beyond_the_last_address(start: int) -> None:
    with pytest.raises(OverflowError, match=r"start \+ size"):
        ktask.run(start, 5, ktask.Ctl(c_never))
    with pytest.raises(OverflowError, match=r"start \+ size"):
        ktask.run_numa([node(start, 5)], ktask.Ctl(c_never))


def test_a_range_up_to_the_last_address() -> None:
    """Its end would be NULL."""
    with pytest.raises(OverflowError, match=r"start \+ size"):
        ktask.run(2**64 - 5, 5, ktask.Ctl(c_never))


def test_too_many_nodes() -> None:
    with pytest.raises(ValueError, match="1024 nodes"):
        ktask.run_numa([node()] * 1025, ktask.Ctl(never))


def test_as_many_nodes_as_there_may_be() -> None:
    ktask.run_numa([node(0, 0)] * 1024, ktask.Ctl(never))


def test_starts_too_far_apart() -> None:
    with pytest.raises(OverflowError, match="distance"):
        ktask.run_numa([node(0), node(2**70)], ktask.Ctl(never))


@pytest.mark.parametrize("start", [1.0, "0", None, b"a", [0], True])
def test_starts_for_python_callables(start: Any) -> None:
    with pytest.raises(TypeError, match=rf"start must be an int.* {type(start).__name__}"):
        ktask.run(start, 1, ktask.Ctl(never))


@pytest.mark.parametrize("nid", [-2, 4095, 2**31, 2**64])
def test_nodes_that_do_not_exist(nid: int) -> None:
    with pytest.raises(ValueError, match=rf"nodes\[1\]\.nid is {nid}"):
        ktask.run_numa([node(), node(nid=nid)], ktask.Ctl(never))


def test_nids_that_are_no_ints() -> None:
    for nid in (0.0, "0", None):
        with pytest.raises(TypeError, match=r"nodes\[0\]\.nid must be an int"):
            ktask.run_numa([node(nid=nid)], ktask.Ctl(never))


@pytest.mark.parametrize("wrong", [(0, 1, -1), None, 3, {"start": 0}])
def test_nodes_that_are_no_nodes(wrong: Any) -> None:
    with pytest.raises(TypeError, match=rf"nodes\[1\] must be a ktask\.Node, not {type(wrong).__name__}"):
        ktask.run_numa([node(), wrong], ktask.Ctl(never))


@pytest.mark.parametrize("wrong", [None, 3])
def test_nodes_that_cannot_be_iterated(wrong: Any) -> None:
    with pytest.raises(TypeError):
        ktask.run_numa(wrong, ktask.Ctl(never))


@pytest.mark.parametrize("wrong", [None, never, {}])
def test_ctl_that_is_none(wrong: Any) -> None:
    for call in (
        lambda: ktask.run(0, 1, wrong),
        lambda: ktask.run_numa([node()], wrong),
        lambda: ktask.ktask_run(0, 1, wrong),
        lambda: ktask.ktask_run_numa([node()], wrong),
    ):
        with pytest.raises(TypeError, match=rf"ctl must be a ktask.Ctl, not {type(wrong).__name__}"):
            call()


def test_a_function_that_is_missing_is_told_what_to_pass() -> None:
    with pytest.raises(TypeError, match=r"^the thread function is None; pass a callable"):
        ktask.Ctl(None)


@pytest.mark.parametrize("wrong", [None, "f", 1.5, {}, True, [never]])
def test_functions_that_are_none(wrong: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^the thread function .*" + ("None" if wrong is None else type(wrong).__name__)
    ):
        ktask.Ctl(wrong)
    with pytest.raises(TypeError, match=r"^the thread function"):
        ktask.parallel_for(wrong, 3)
    if wrong is not None:
        with pytest.raises(TypeError, match=r"^the iterator"):
            ktask.Ctl(never, iter_func=wrong)
        with pytest.raises(TypeError, match=r"^the undo function"):
            ktask.Ctl(never, undo_func=wrong)


@pytest.mark.parametrize("wrong", [0, -1, 2**64])
def test_addresses_that_are_none(wrong: int) -> None:
    with pytest.raises(ValueError, match=rf"address of a C function, not {wrong}"):
        ktask.Ctl(wrong)


class OfTwo:
    def method(self, start: int, end: int) -> None: ...

    def __call__(self, start: int, end: int) -> None: ...


def keyword_only(start: int, end: int, *, arg: object) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        lambda: 0,
        lambda start: 0,
        lambda start, end: 0,
        lambda start, end, arg, more: 0,
        OfTwo().method,
        OfTwo(),
        keyword_only,
        len,
        divmod,
    ],
)
def test_wrong_numbers_of_arguments(function: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match=r"thread function\(start, end, arg\) is called with 3 arguments"):
        ktask.Ctl(function)
    with pytest.raises(TypeError, match=r"undo function\(start, end, arg\) is called with 3 arguments"):
        ktask.Ctl(never, undo_func=function)


@pytest.mark.parametrize("function", [lambda: 0, lambda start: 0, lambda a, b, c, d: 0, keyword_only])
def test_wrong_numbers_of_arguments_of_loop_bodies(function: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match="is called with 2 arguments"):
        ktask.parallel_for(function, 3)


@pytest.mark.parametrize("function", [lambda position: 0, lambda position, size, more: 0, never])
def test_wrong_numbers_of_arguments_of_iterators(function: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match=r"iterator\(position, size\) is called with 2 arguments"):
        ktask.Ctl(never, iter_func=function)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("takes_two", "takes 2 arguments"),
        ("takes_double", "takes a double as start"),
        ("takes_short", "takes a short as end"),
        ("gives_double", "returns double"),
        ("gives_nothing", "returns void"),
    ],
)
def test_wrong_cffi_functions(clib: CLib, name: str, message: str) -> None:
    for function in (clib.pointer(name), clib.dlopened(name)):
        with pytest.raises(TypeError, match=rf"int\(void \*start, void \*end, void \*arg\), but .*{message}"):
            ktask.Ctl(function)


@pytest.mark.parametrize("name", ["gives_double_position", "gives_int_position", "add_one"])
def test_wrong_cffi_iterators(clib: CLib, name: str) -> None:
    with pytest.raises(TypeError, match=r"the iterator must be a C function"):
        ktask.Ctl(never, iter_func=clib.pointer(name))


def test_null_and_other_cffi_pointers(clib: CLib) -> None:
    with pytest.raises(ValueError, match="NULL"):
        ktask.Ctl(clib.lib.no_function)
    with pytest.raises(ValueError, match="NULL"):
        ktask.Ctl(clib.ffi.NULL)
    with pytest.raises(TypeError, match="int"):
        ktask.Ctl(clib.ffi.new("int *"))
    with pytest.raises(TypeError, match="struct item"):
        ktask.Ctl(clib.ffi.new("struct item *")[0])


def of_ctypes(result: Any, *arguments: Any) -> Any:
    return ctypes.CFUNCTYPE(result, *arguments)(lambda *_: 0)


P = ctypes.c_void_p

WRONG_CTYPES: dict[str, tuple[Any, str]] = {
    "two": (of_ctypes(ctypes.c_int, P, P), "takes 2 arguments"),
    "four": (of_ctypes(ctypes.c_int, P, P, P, P), "takes 4 arguments"),
    "double": (of_ctypes(ctypes.c_int, P, ctypes.c_double, P), "c_double as end"),
    "short": (of_ctypes(ctypes.c_int, P, P, ctypes.c_short), "c_short as arg"),
    "no result": (of_ctypes(None, P, P, P), "None"),
    "long result": (of_ctypes(ctypes.c_long, P, P, P), "c_long"),
    "float result": (of_ctypes(ctypes.c_float, P, P, P), "c_float"),
}


@pytest.mark.parametrize("kind", WRONG_CTYPES)
def test_wrong_ctypes_functions(kind: str) -> None:
    function, message = WRONG_CTYPES[kind]
    with pytest.raises(TypeError, match=rf"the thread function must .*{message}"):
        ktask.Ctl(function)


@pytest.mark.parametrize("result", [ctypes.c_int, ctypes.c_double])
def test_wrong_ctypes_iterators(result: Any) -> None:
    with pytest.raises(TypeError, match=r"the iterator must "):
        ktask.Ctl(never, iter_func=of_ctypes(result, P, ctypes.c_size_t))


def test_ctypes_null() -> None:
    with pytest.raises(ValueError, match="NULL"):
        ktask.Ctl(THREAD())


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("int32(int64, int64)", "takes 2 arguments"),
        ("int32(int64, int32, voidptr)", "takes a int32 as end"),
        ("int32(float64, int64, voidptr)", "takes a float64 as start"),
        ("int64(int64, int64, voidptr)", "returns int64"),
        ("float32(int64, int64, voidptr)", "returns float32"),
    ],
)
def test_wrong_numba_functions(signature: str, message: str) -> None:
    function = numba.cfunc(signature)((lambda a, b: 0) if signature.count(",") == 1 else (lambda a, b, c: 0))
    with pytest.raises(TypeError, match=rf"the thread function must be a C function .*{message}"):
        ktask.Ctl(function)


@pytest.mark.parametrize("signature", ["int32(int64, int64)", "float64(int64, int64)"])
def test_wrong_numba_iterators(signature: str) -> None:
    with pytest.raises(TypeError, match=r"the iterator must be a C function"):
        ktask.Ctl(never, iter_func=numba.cfunc(signature)(lambda position, size: 0))


def test_other_options() -> None:
    with pytest.raises(TypeError, match=r"progress .*int: 3"):
        ktask.Ctl(never, progress=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"trace .*list"):
        ktask.Ctl(never, trace=[])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"capacity .*0"):
        ktask.Trace(0)


def test_a_cffi_callback_of_another_type() -> None:
    ffi = cffi.FFI()
    with pytest.raises(TypeError, match="takes 1 arguments"):
        ktask.Ctl(ffi.callback("int(void *)", lambda start: 0))


def test_a_range_with_steps_for_a_c_function() -> None:
    with pytest.raises(ValueError, match=r"range\(0, 10, 2\)"):
        ktask.parallel_for(c_never, range(0, 10, 2))


async def coroutine(start: int, end: int, arg: object) -> None:
    raise AssertionError


def generator(start: int, end: int, arg: object) -> Iterator[None]:
    yield None


@pytest.mark.parametrize("function", [coroutine, generator])
def test_functions_that_would_do_nothing(function: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match="coroutine or generator"):
        ktask.Ctl(function)
    with pytest.raises(TypeError, match="coroutine or generator"):
        ktask.parallel_for(function, 3, arg=0)


def test_progress_that_cannot_be_called() -> None:
    with pytest.raises(TypeError, match=r"progress\(done, total\)"):
        ktask.Ctl(never, progress=lambda done: None)  # type: ignore[misc, arg-type]


def test_ranges_that_are_too_long() -> None:
    for too_long in (range(2**70), range(0, -(2**70), -1), range(MAX_SIZE + 1)):
        with pytest.raises(OverflowError, match="n_or_range"):
            ktask.parallel_for(never, too_long)


def test_the_longest_range_is_allowed() -> None:
    def fail(start: int, end: int) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        ktask.parallel_for(fail, range(MAX_SIZE))


def test_so_are_parts_that_add_up_to_it() -> None:
    def fail(start: int, end: int, _: None) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        ktask.run_numa([node(0, MAX_SIZE - 1), node(0, 1)], ktask.Ctl(fail))


def test_a_node_alone() -> None:
    with pytest.raises(TypeError, match="several"):
        ktask.run_numa(ktask.Node(0, 5), ktask.Ctl(never))  # type: ignore[arg-type]


def test_tuples_are_no_functions() -> None:
    """Though those that SciPy makes are."""
    with pytest.raises(TypeError, match=r"must be a callable, .*, not tuple: \(1, 2, 3\)"):
        ktask.Ctl((1, 2, 3))
