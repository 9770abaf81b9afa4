# SPDX-License-Identifier: BSD-3-Clause
"""What Python hands over, turned into what C can take: functions, arguments, positions, sizes.

Everything here either succeeds or raises before any work starts, with a message that names the value.
"""

from __future__ import annotations

import ctypes
import inspect
import operator
import re
from collections.abc import Callable, Sequence
from numbers import Integral
from types import FunctionType
from typing import Any, NamedTuple, TypeGuard

from ktask._capsule import is_capsule, name_of, pointer_of, signature_of
from ktask._core import ffi, lib

ADDRESSES = 1 << (8 * ffi.sizeof("void *"))


def size_of(value: object, what: str, *, least: int = 0) -> int:
    """Returns ``value`` as a number of units from ``least`` up to ktask's largest size."""
    try:
        n = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{what} must be an int, not {type(value).__name__}: {value!r}") from None
    if n < least:
        raise ValueError(f"{what} must be at least {least}, not {n}")
    if n > lib.KTASK_MAX_SIZE:
        raise OverflowError(f"{what} must be at most {lib.KTASK_MAX_SIZE}, not {n}")
    return n


def count_of(value: object, what: str, *, least: int = 0) -> int:
    """Returns ``value`` as a number of units or threads, where all that is beyond the largest task is the same."""
    if isinstance(value, int) and lib.KTASK_MAX_SIZE < value < ADDRESSES:
        return lib.KTASK_MAX_SIZE
    return size_of(value, what, least=least)


def address_of(value: object, what: str) -> tuple[int, object]:
    """Returns where ``value`` is in memory, as C wants it, and what has to stay alive for as long.

    None is NULL; an int is an address (or a number that the function knows what to do with); pointers and arrays of
    cffi and ctypes, capsules, and writable contiguous buffers (NumPy arrays, bytearray, array.array, mmap) are where
    their data are.
    """
    if value is None:
        return 0, None
    if isinstance(value, ffi.CData):
        kind = ffi.typeof(value).kind
        if kind in ("pointer", "array"):
            return int(ffi.cast("uintptr_t", value)), value
        raise TypeError(f"{what} must be a cffi pointer or array, not {value!r}; pass ffi.addressof(it)")
    if isinstance(value, ctypes.c_void_p):
        return value.value or 0, value
    if isinstance(value, (ctypes._Pointer, ctypes.c_char_p)):
        return ctypes.cast(value, ctypes.c_void_p).value or 0, value
    if isinstance(value, (ctypes.Structure, ctypes.Union, ctypes.Array, ctypes._SimpleCData)):
        return ctypes.addressof(value), value
    if is_capsule(value):
        return pointer_of(value), value
    if isinstance(value, Integral):  # NumPy's too, which are read-only buffers as well
        n = int(value)
        if not -ADDRESSES // 2 <= n < ADDRESSES:
            raise OverflowError(f"{what} does not fit into a pointer: {n}")
        return n % ADDRESSES, None
    return _address_of_buffer(value, what)


def _address_of_buffer(value: object, what: str) -> tuple[int, object]:
    try:
        view = memoryview(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # ValueError: released, or a type that memoryview does not know
        raise TypeError(
            f"{what} must be None, an address, a buffer, a capsule or a cffi or ctypes pointer for a C function, "
            f"not {type(value).__name__}: {value!r}"
        ) from None
    if view.readonly:
        raise BufferError(
            f"{what} is a read-only {type(value).__name__}, and a C function could write to it; "
            "pass a writable one or, if the function only reads, its address as an int"
        )
    if not view.c_contiguous and not (view.f_contiguous and hasattr(value, "__array_interface__")):
        raise BufferError(
            f"{what} is a {type(value).__name__} that is not contiguous (shape {view.shape}, "
            f"strides {view.strides}); pass a contiguous copy"
        )
    if view.nbytes == 0:
        return 0, value
    if not view.c_contiguous:  # a NumPy array in Fortran order: cffi takes C order only
        return int(value.__array_interface__["data"][0]), value  # type: ignore[attr-defined]
    data = ffi.from_buffer(value, require_writable=True)
    return int(ffi.cast("uintptr_t", data)), data


class Function(NamedTuple):
    """A thread, undo or iterator function, ready to be called: from C by its address, or as a Python callable."""

    address: int  # 0: Python's
    python: Callable[..., Any] | None
    keep: object  # alive for as long as the address is used
    takes_arg: bool = True  # a Python thread function's third argument
    any_result: bool = False  # a Python thread function may return anything; what is no int is no failure
    user_data: object = None  # what comes with the function to be its argument, if nobody gives another

    @property
    def identity(self) -> int:
        """A number for the kind of work, by which its cost is remembered."""
        if self.address:
            return self.address
        function: Any = self.python
        while hasattr(function, "__wrapped__"):  # decorators have code of their own, which is the same for all
            function = function.__wrapped__
        return id(getattr(function, "__code__", function))


class Role(NamedTuple):
    """What a function is for, and so what it must look like."""

    name: str
    parameters: tuple[str, ...]
    result: str  # of the C function
    result_size: int  # in bytes; 0: void, where any result is ignored

    def __str__(self) -> str:
        """The function as Python sees it."""
        return f"{self.name}({', '.join(self.parameters)})"

    @property
    def c_type(self) -> str:
        """The function as C sees it."""
        types = ("size_t " if p == "size" else "void *" for p in self.parameters)
        return f"{self.result}({', '.join(t + p for t, p in zip(types, self.parameters, strict=True))})"


INT, POINTER = ffi.sizeof("int"), ffi.sizeof("void *")
THREAD = Role("thread function", ("start", "end", "arg"), "int", INT)
LOOP_BODY = Role("function", ("start", "end"), "int", INT)
UNDO = Role("undo function", ("start", "end", "arg"), "void", 0)
ITER = Role("iterator", ("position", "size"), "void *", POINTER)


def function_of(value: object, role: Role) -> Function:
    """Turns anything that can play ``role`` into a Function, or raises TypeError."""
    if isinstance(value, Function):
        return value
    if isinstance(value, ffi.CData):
        return _from_cffi(value, role)
    if isinstance(value, ctypes._CFuncPtr):  # type: ignore[attr-defined]
        return _from_ctypes(value, role)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return _from_address(int(value), role)
    if _is_numba(value):
        return _from_numba(value, role)
    if is_capsule(value):
        return _from_capsule(value, role, name_of(value))
    if _is_scipy(value):
        return _from_scipy(value, role)
    if callable(value):
        _check_python(value, role)
        return Function(0, value, value)
    if value is None:
        raise TypeError(f"the {role.name} is None; pass a callable, a C function pointer or an address")
    raise TypeError(
        f"the {role.name} must be a callable, a cffi or ctypes function, a numba cfunc, a capsule, a "
        f"scipy.LowLevelCallable or an address, not {type(value).__name__}: {value!r}"
    )


def loop_body_of(value: object, *, takes_arg: bool) -> Function:
    """Turns the function of a ``parallel_for`` into a Function: as a thread function, but less strict.

    A Python callable is called with two arguments, unless ``takes_arg`` says that there is a third, or it wants one.
    """
    if not is_python(value):
        return function_of(value, THREAD)._replace(any_result=True)
    if takes_arg:
        _check_python(value, THREAD)
    elif accepts(value, 2):
        _check_works(value, LOOP_BODY)
        return Function(0, value, value, False, True)
    else:
        _check_python(value, THREAD if accepts(value, 3) else LOOP_BODY)
    return Function(0, value, value, True, True)


def is_python(value: object) -> TypeGuard[Callable[..., Any]]:
    """Is it a callable that only Python can call?"""
    if type(value) is FunctionType:
        return True
    c_kinds = (ffi.CData, ctypes._CFuncPtr)  # type: ignore[attr-defined]
    return callable(value) and not isinstance(value, c_kinds) and not _is_numba(value)


def _is_numba(value: object) -> bool:
    return hasattr(value, "native_name") and isinstance(getattr(value, "address", None), int)


def _is_scipy(value: object) -> bool:
    """Is it a scipy.LowLevelCallable? It is a tuple; SciPy need not be imported to see that."""
    return isinstance(value, tuple) and all(hasattr(value, name) for name in ("function", "user_data", "signature"))


def accepts(function: Callable[..., Any], nr: int) -> bool:
    """Can ``function`` be called with ``nr`` positional arguments? Yes where that cannot be known."""
    if type(function) is FunctionType:  # in a hundredth of the time that inspect takes
        code = function.__code__
        if not code.co_flags & inspect.CO_VARARGS and not function.__defaults__ and not code.co_kwonlyargcount:
            return code.co_argcount == nr
    try:
        inspect.signature(function).bind(*range(nr))
    except TypeError:
        return False
    except ValueError:  # no signature, as for some functions made in C
        pass
    return True


def _check_python(function: Callable[..., Any], role: Role) -> None:
    """Raises TypeError if a Python callable cannot take the role's arguments, or does no work."""
    if not accepts(function, len(role.parameters)):
        raise TypeError(
            f"the {role} is called with {len(role.parameters)} arguments, which {function!r} does not take"
            f"{_signature(function)}"
        )
    _check_works(function, role)


def _check_works(function: Callable[..., Any], role: Role) -> None:
    """Raises TypeError if a Python callable would not do anything if called."""
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    if flags & (inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR):
        raise TypeError(
            f"the {role.name} must do its work when it is called, but {function!r} is a coroutine or generator function"
        )


def _signature(function: Callable[..., Any]) -> str:
    try:
        return f": its signature is {inspect.signature(function)}"
    except (TypeError, ValueError):
        return ""


def _from_address(value: int, role: Role) -> Function:
    if not 0 < value < ADDRESSES:
        raise ValueError(f"the {role.name} must be the address of a C function, not {value}")
    return Function(value, None, None)


def _check_c_types(value: object, role: Role, arguments: Sequence[CType], result: CType) -> None:
    """Raises TypeError unless the arguments are pointers, or integers as wide, and the result is the role's."""
    problem = None
    if len(arguments) != len(role.parameters):
        problem = f"takes {len(arguments)} arguments"
    else:
        for name, argument in zip(role.parameters, arguments, strict=True):
            if argument.is_float or argument.size != POINTER:
                problem = f"takes a {argument.name} as {name}"
                break
        else:
            if role.result_size and (result.is_float or result.size != role.result_size):
                problem = f"returns {result.name}"
    if problem:
        raise TypeError(f"the {role.name} must be a C function {role.c_type}, but {value!r} {problem}")


class CType(NamedTuple):
    """As much of a C type as matters for a call."""

    name: str
    size: int  # in bytes; 0: void
    is_float: bool


def _from_cffi(value: Any, role: Role) -> Function:
    c_type = ffi.typeof(value)
    if value == ffi.NULL:
        raise ValueError(f"the {role.name} is a NULL pointer: {value!r}")
    if c_type.kind == "function":
        _check_c_types(value, role, [_cffi_type(t) for t in c_type.args], _cffi_type(c_type.result))
    elif c_type.kind != "pointer" or c_type.item.kind != "void":
        raise TypeError(f"the {role.name} must be a pointer to a C function {role.c_type}, not {value!r}")
    return Function(int(ffi.cast("uintptr_t", value)), None, value)


def _cffi_type(t: Any) -> CType:
    size = 0 if t.kind == "void" else ffi.sizeof(t)
    return CType(t.cname, size, t.cname in ("float", "double", "long double") or t.kind in ("struct", "union"))


def _from_ctypes(value: Any, role: Role) -> Function:
    address = ctypes.cast(value, ctypes.c_void_p).value
    if not address:
        raise ValueError(f"the {role.name} is a NULL pointer: {value!r}")
    if value.argtypes is not None:  # a function of a library whose types nobody has told is taken on trust
        _check_c_types(value, role, [_ctypes_type(t) for t in value.argtypes], _ctypes_type(value.restype))
    return Function(address, None, value)


def _ctypes_type(t: Any) -> CType:
    if t is None:
        return CType("None", 0, False)
    is_float = t in (ctypes.c_float, ctypes.c_double, ctypes.c_longdouble)
    return CType(t.__name__, ctypes.sizeof(t), is_float)


def _from_numba(value: Any, role: Role) -> Function:
    signature = getattr(value, "_sig", None)
    if signature is not None:
        try:
            _check_c_types(value, role, [_numba_type(t) for t in signature.args], _numba_type(signature.return_type))
        except TypeError as error:
            numba_type = {"int": "int32", "void": "void", "void *": "intp"}[role.result]
            arguments = ", ".join("intp" for _ in role.parameters)
            raise TypeError(f'{error}; decorate it with, say, @numba.cfunc("{numba_type}({arguments})")') from None
    return Function(value.address, None, value)


def _numba_type(t: Any) -> CType:
    name = str(t)
    if name == "none":
        return CType(name, 0, False)
    if type(t).__name__ in ("RawPointer", "CPointer", "Opaque", "EphemeralPointer"):
        return CType(name, POINTER, False)
    return CType(name, getattr(t, "bitwidth", 0) // 8, type(t).__name__ != "Integer")


def _from_capsule(value: object, role: Role, signature: str | None) -> Function:
    if signature is not None:  # a capsule without a name is taken on trust, like an address
        types = signature_of(signature)
        if types is None:
            raise TypeError(
                f"the {role.name} must be a capsule whose name is the signature of a C function {role.c_type}, "
                f"not {value!r}"
            )
        result, arguments = types
        of_pythran = signature.startswith(f"{result}(") and _known_type(result) is None
        if of_pythran:  # the function's name in place of the result, which is not told
            arguments, result = [PYTHRAN_NAMES.get(t, t) for t in arguments], role.result
        _check_c_types(value, role, [_named_type(t) for t in arguments], _named_type(result))
    return Function(pointer_of(value), None, value)


PYTHON_NAMES = {"Py_ssize_t": "ssize_t", "Py_intptr_t": "intptr_t", "npy_intp": "intptr_t", "npy_uintp": "uintptr_t"}
PYTHON_NAMES |= {"PY_LONG_LONG": "long long"} | dict.fromkeys(("const", "volatile", "restrict"), "")
"""What cffi does not know, in its words."""

PYTHRAN_NAMES = {"int": "long", "int64": "int64_t", "uint64": "uint64_t", "intp": "intptr_t", "uintp": "uintptr_t"}
"""Pythran's names of the integers that are as wide as a pointer."""


def _named_type(name: str) -> CType:
    """A C type by its name. One that nobody knows here has the size 0, which no argument has."""
    if re.search(r"\bPy\w*Object\b", name):
        return CType(f"{name}, for which it needs the GIL,", 0, False)
    if set(name) & set("*[("):
        return CType(name, POINTER, False)
    return _known_type(name) or CType(name, 0, False)


def _known_type(name: str) -> CType | None:
    in_cffi_words = re.sub(r"\w+", lambda word: PYTHON_NAMES.get(word[0], word[0]), name)
    try:
        return _cffi_type(ffi.typeof(in_cffi_words))._replace(name=name)
    except ffi.error:  # type: ignore[attr-defined]
        return None


def _from_scipy(value: Any, role: Role) -> Function:
    """A scipy.LowLevelCallable: a function of another kind, perhaps with a signature and an argument."""
    if value.user_data is not None and role is not THREAD:
        raise TypeError(f"the {role.name} must come without user_data, since it gets what the run has: {value!r}")
    if is_capsule(value.function):
        function = _from_capsule(value.function, role, value.signature)
    else:
        function = function_of(value.function, role)
    return function._replace(keep=value, user_data=value.user_data)
