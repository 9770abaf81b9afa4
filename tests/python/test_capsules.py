# SPDX-License-Identifier: BSD-3-Clause
"""C functions that come in capsules: of anybody, Cython, SciPy, Pythran. Their signatures are checked first."""

from __future__ import annotations

import ctypes
import datetime
import gc
import importlib.util
import subprocess
import sysconfig
import weakref
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import pytest
from clib import CLib

import ktask

SIZE = 1000

_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_names: list[bytes] = []  # capsules only point to theirs


def capsule_of(address: int, name: str | None) -> Any:
    if name is None:
        return _new(address, None, None)
    _names.append(name.encode())
    return _new(address, _names[-1], None)


RIGHT = [
    "int (void *, void *, void *)",
    "int(intptr_t, intptr_t, int*)",
    "int (Py_ssize_t, Py_ssize_t, struct numbers *)",
    "int (npy_intp, npy_intp, int const *)",
    "signed int (long, unsigned long int, int [])",
    "int (unsigned PY_LONG_LONG, PY_LONG_LONG, int (*)(int, int))",
    "int (*)(size_t, uintptr_t, const volatile int *)",
    "int (void *, void *, void *) noexcept nogil",
    "add_one(int64, int, int32*)",
    "add_one(intp, uint64, int32*)",
    None,
]


@pytest.mark.parametrize("name", RIGHT)
def test_a_capsule(clib: CLib, name: str | None) -> None:
    numbers = np.zeros(SIZE, np.int32)
    capsule = capsule_of(clib.address("add_one"), name)
    ktask.run(0, SIZE, ktask.Ctl(capsule, numbers))
    ktask.parallel_for(capsule, SIZE, arg=numbers)
    assert (numbers == 2).all()


WRONG = [
    ("int (void *, void *)", "takes 2 arguments"),
    ("int (void)", "takes 0 arguments"),
    ("int ()", "takes 0 arguments"),
    ("int (long, long, long, int __pyx_skip_dispatch)", "takes 4 arguments"),
    ("int (void *, int, void *)", "takes a int as end"),
    ("int (double, void *, void *)", "takes a double as start"),
    ("int (void *, void *, float)", "takes a float as arg"),
    ("int (long, long, unknown_t)", "takes a unknown_t as arg"),
    ("int (PyObject *, void *, void *)", "takes a PyObject \\*, for which it needs the GIL, as start"),
    ("int (void *, void *, const PyArrayObject *)", "needs the GIL, as arg"),
    ("long (void *, void *, void *)", "returns long"),
    ("void (void *, void *, void *)", "returns void"),
    ("double (void *, void *, void *)", "returns double"),
    ("void *(void *, void *, void *)", "returns void \\*"),
    ("unknown_t (void *, void *, void *)", "returns unknown_t"),
    ("add_one(int32, int64, int32*)", "takes a int32 as start"),
    ("add_one(int64, int64, float64)", "takes a float64 as arg"),
    ("add_one(int64, int64)", "takes 2 arguments"),
    ("add_one", "whose name is the signature"),
    ("datetime.datetime_CAPI", "whose name is the signature"),
    ("", "whose name is the signature"),
]


@pytest.mark.parametrize(("name", "why"), WRONG)
def test_wrong_signatures_are_refused(clib: CLib, name: str, why: str) -> None:
    capsule = capsule_of(clib.address("add_one"), name)
    with pytest.raises(TypeError, match=r"the thread function must be a .*int\(void \*start, ") as raised:
        ktask.Ctl(capsule)
    raised.match(why)
    with pytest.raises(TypeError, match=why):
        ktask.parallel_for(capsule, SIZE)


def test_capsules_with_something_else(clib: CLib) -> None:
    with pytest.raises(TypeError, match="not <capsule object"):
        ktask.Ctl(vars(datetime)["datetime_CAPI"])


def test_undo_functions_and_iterators(clib: CLib) -> None:
    record = clib.ffi.new("struct record *", {"fail": [70], "nr_fail": 1, "code": 7})
    ctl = ktask.Ctl(
        capsule_of(clib.address("record_chunk"), "int (void *, void *, void *)"),
        record,
        10,
        undo_func=capsule_of(clib.address("record_undo"), "void (void *, void *, void *)"),
        iter_func=capsule_of(clib.address("position_after"), "void *(void *, size_t)"),
        max_threads=1,
    )
    assert ktask.ktask_run(0, 70, ctl) == 0
    assert ktask.ktask_run_numa([ktask.Node(0, 70), ktask.Node(70, 10)], ctl) == 7
    assert record.nr_undone >= 1
    with pytest.raises(TypeError, match=r"iterator must be a C function void \*.* takes 3 arguments"):
        ctl.set_iter_func(capsule_of(clib.address("position_after"), "void *(void *, void *, void *)"))
    with pytest.raises(TypeError, match=r"iterator must be a C function .* returns int"):
        ctl.set_iter_func(capsule_of(clib.address("gives_int_position"), "int (void *, size_t)"))


def test_a_capsule_as_the_argument(clib: CLib) -> None:
    numbers = np.zeros(SIZE, np.int32)
    ktask.run(0, SIZE, ktask.Ctl(clib.pointer("add_one"), capsule_of(numbers.ctypes.data, "some data")))
    assert (numbers == 1).all()


# ---- Cython -----------------------------------------------------------------------------------------------------

CYTHON = """
# cython: language_level=3
cdef api int add_one(Py_ssize_t start, Py_ssize_t end, int *numbers) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(start, end):
        numbers[i] += 1
    return 0

cdef api void take_one(void *start, void *end, void *numbers) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(<Py_ssize_t>start, <Py_ssize_t>end):
        (<int *>numbers)[i] -= 1

cdef api int fail_at_500(unsigned long long start, unsigned long long end, void *numbers) noexcept nogil:
    if start <= 500 and 500 < end:
        return 5
    return add_one(start, end, <int *>numbers)

cdef api int with_objects(object start, Py_ssize_t end, void *numbers) noexcept:
    return 0

cdef api int with_float(float start, Py_ssize_t end, void *numbers) noexcept nogil:
    return 0

cpdef api int with_python_too(Py_ssize_t start, Py_ssize_t end, Py_ssize_t number) noexcept nogil:
    return 0
"""


@pytest.fixture(scope="module")
def cython_module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    compiler = pytest.importorskip("Cython.Compiler.Main")
    folder = tmp_path_factory.mktemp("cython")
    source, module = folder / "in_cython.pyx", folder / "in_cython.so"
    source.write_text(CYTHON)
    assert compiler.compile(str(source)).num_errors == 0
    include = sysconfig.get_path("include")
    subprocess.run(
        ["cc", "-O1", "-shared", "-fPIC", f"-I{include}", str(source.with_suffix(".c")), "-o", str(module)], check=True
    )
    spec = importlib.util.spec_from_file_location("in_cython", module)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_cython(cython_module: Any) -> None:
    functions = cython_module.__pyx_capi__
    numbers = np.zeros(SIZE, np.int32)
    ktask.run(0, SIZE, ktask.Ctl(functions["add_one"], numbers))
    assert (numbers == 1).all()
    ctl = ktask.Ctl(functions["fail_at_500"], numbers, undo_func=functions["take_one"])
    with pytest.raises(ktask.TaskError) as raised:
        ktask.run(0, SIZE, ctl)
    assert raised.value.code == 5
    assert (numbers == 1).all()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("take_one", "returns void"),
        ("with_objects", "needs the GIL, as start"),
        ("with_float", "takes a float as start"),
        ("with_python_too", "takes 4 arguments"),
    ],
)
def test_wrong_functions_of_cython(cython_module: Any, name: str, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        ktask.Ctl(cython_module.__pyx_capi__[name])


# ---- SciPy ------------------------------------------------------------------------------------------------------


def ctypes_function(clib: CLib, name: str = "add_one") -> Any:
    function = ctypes.CDLL(str(clib.path))[name]
    function.argtypes, function.restype = [ctypes.c_void_p] * 3, ctypes.c_int
    return function


@pytest.mark.parametrize("kind", ["ctypes", "cffi", "capsule", "capsule with another signature", "numba", "cython"])
def test_scipy(clib: CLib, cython_module: Any, kind: str) -> None:
    scipy = pytest.importorskip("scipy")
    if kind == "ctypes":
        callable_ = scipy.LowLevelCallable(ctypes_function(clib))
    elif kind == "cffi":
        callable_ = scipy.LowLevelCallable(clib.pointer("add_one"))
    elif kind == "capsule":
        callable_ = scipy.LowLevelCallable(capsule_of(clib.address("add_one"), "int (long, long, int *)"))
    elif kind == "capsule with another signature":
        capsule = capsule_of(clib.address("add_one"), "not one")
        callable_ = scipy.LowLevelCallable(capsule, signature="int (npy_intp, npy_intp, void *)")
    elif kind == "numba":
        numba = pytest.importorskip("numba")

        @numba.cfunc("int32(intp, intp, CPointer(int32))")
        def add_one(start, end, numbers):  # type: ignore[no-untyped-def]
            for i in range(start, end):
                numbers[i] += 1
            return 0

        callable_ = scipy.LowLevelCallable(add_one.ctypes)
    else:
        callable_ = scipy.LowLevelCallable.from_cython(cython_module, "add_one")
    numbers = np.zeros(SIZE, np.int32)
    ktask.run(0, SIZE, ktask.Ctl(callable_, numbers))
    ktask.parallel_for(callable_, SIZE, arg=numbers)
    assert (numbers == 2).all()


@pytest.mark.parametrize("kind", ["ctypes", "cffi", "capsule"])
def test_user_data_is_the_argument_if_there_is_no_other(clib: CLib, kind: str) -> None:
    scipy = pytest.importorskip("scipy")
    numbers, others = np.zeros(SIZE, np.int32), np.zeros(SIZE, np.int32)
    user_data = {
        "ctypes": numbers.ctypes.data_as(ctypes.c_void_p),
        "cffi": cffi.FFI().cast("void *", numbers.ctypes.data),
        "capsule": capsule_of(numbers.ctypes.data, "numbers"),
    }[kind]
    callable_ = scipy.LowLevelCallable(clib.pointer("add_one"), user_data)
    ktask.run(0, SIZE, ktask.Ctl(callable_))
    ktask.parallel_for(callable_, SIZE)
    ktask.run(0, SIZE, ktask.Ctl(callable_, others))
    ktask.parallel_for(callable_, SIZE, arg=others)
    assert (numbers == 2).all()
    assert (others == 2).all()
    ctl = ktask.Ctl(callable_)
    ctl.set_max_threads(2)  # makes a new plan of the old one
    ktask.run(0, SIZE, ctl)
    assert (numbers == 3).all()


def test_a_python_undo_function_gets_the_user_data(clib: CLib) -> None:
    scipy = pytest.importorskip("scipy")
    seen: list[object] = []
    ctl = ktask.Ctl(
        scipy.LowLevelCallable(clib.pointer("record_chunk"), record := clib.ffi.new("struct record *")),
        undo_func=lambda start, end, arg: seen.append(arg),
        max_threads=1,
    )
    record.fail[0], record.nr_fail, record.code = 10, 1, 3
    assert ktask.ktask_run_numa([ktask.Node(0, 10), ktask.Node(10, 1)], ctl) == 3
    assert seen
    assert all(arg is record for arg in seen)


def test_wrong_callables_of_scipy(clib: CLib, cython_module: Any) -> None:
    scipy = pytest.importorskip("scipy")
    new = scipy.LowLevelCallable
    with pytest.raises(TypeError, match="takes 2 arguments"):
        ktask.Ctl(new(clib.pointer("takes_two")))
    with pytest.raises(TypeError, match="returns double"):
        ktask.Ctl(new(clib.pointer("gives_double")))
    with pytest.raises(TypeError, match="takes a double as end"):
        ktask.Ctl(new(capsule_of(clib.address("add_one"), None), signature="int (long, double, void *)"))
    with pytest.raises(TypeError, match="needs the GIL"):
        ktask.Ctl(new.from_cython(cython_module, "with_objects"))
    with pytest.raises(TypeError, match="the undo function must come without user_data"):
        ktask.Ctl(max, undo_func=new(clib.pointer("record_undo"), clib.ffi.cast("void *", 1)))


def test_all_is_kept_alive(clib: CLib) -> None:
    scipy = pytest.importorskip("scipy")

    class Data(ctypes.c_void_p):
        """Can be referred to weakly."""

    thread = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    seen: set[int] = set()

    def see(start: int, end: int, arg: int) -> int:
        seen.add(arg)
        return 0

    function = thread(see)
    data = Data(42)
    kept = weakref.ref(function), weakref.ref(data)
    ctl = ktask.Ctl(scipy.LowLevelCallable(function, data))
    del function, data
    gc.collect()
    assert all(ref() is not None for ref in kept)
    ktask.run(0, 10, ctl)
    assert seen == {42}
    del ctl
    gc.collect()
    assert all(ref() is None for ref in kept)


def test_a_capsule_is_kept_alive(tmp_path: Path) -> None:
    """Its destructor runs when the last Ctl that knows it goes, not before."""
    destroyed: list[int] = []
    destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(lambda capsule: destroyed.append(1))
    thread = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    function = thread(lambda start, end, arg: 0)
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    name = b"int (void *, void *, void *)"
    ctl = ktask.Ctl(_new(address, name, ctypes.cast(destructor, ctypes.c_void_p)))
    gc.collect()
    ktask.run(0, 10, ctl)
    assert destroyed == []
    del ctl
    gc.collect()
    assert destroyed == [1]
